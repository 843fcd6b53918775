"""Metrics against closed forms, their definitions computed naively in exact fractions, and properties."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from minadv import metrics
from minadv.report import curves

INF, NAN = math.inf, math.nan

# eighths, so that float arithmetic on them is exact where it matters
distance = st.one_of(st.just(INF), st.just(0.0), st.integers(1, 64).map(lambda n: n / 8))
several = st.lists(distance, min_size=1, max_size=12)


@st.composite
def attacks_and_best(draw: st.DrawFn) -> NDArray[np.float64]:
    """(attacks, samples): where one attack says 0, the original was adversarial already, so all say 0."""
    samples = draw(st.integers(1, 10))
    positive = st.one_of(st.just(INF), st.integers(1, 64).map(lambda n: n / 8))
    found = draw(st.lists(st.lists(positive, min_size=samples, max_size=samples), min_size=1, max_size=4))
    already = draw(st.lists(st.booleans(), min_size=samples, max_size=samples))
    return np.where(already, 0.0, np.array(found))


def naive_local_optimality(distances: NDArray[np.float64], best: NDArray[np.float64]) -> float:
    """Section 20's four numbers, one after the other."""
    pairs = [(d, Fraction(b)) for d, b in zip(distances.tolist(), best.tolist(), strict=True) if b < INF]
    if not pairs:
        return NAN
    n, e0 = len(pairs), max(b for _, b in pairs)
    accuracy = Fraction(sum(b > 0 for _, b in pairs), n)
    area = sum(e0 if d >= e0 else Fraction(d) for d, _ in pairs) / n
    area_best = sum(b for _, b in pairs) / n
    if accuracy * e0 == area_best:
        return NAN
    return float(1 - (area - area_best) / (accuracy * e0 - area_best))


# medians, success, means


@pytest.mark.parametrize(
    ("distances", "median", "asr", "mean"),
    [
        ([3.0, 1.0, 2.0], 2.0, 1.0, 2.0),
        ([4.0, 1.0, 3.0, 2.0], 2.0, 1.0, 2.5),  # the lower middle
        ([1.0, INF], 1.0, 0.5, 1.0),
        ([INF, 1.0, INF], INF, 1 / 3, 1.0),
        ([INF, INF], INF, 0.0, NAN),
        ([0.0, 2.0, INF], 2.0, 2 / 3, 1.0),
        ([], NAN, NAN, NAN),
    ],
)
def test_median_success_and_mean(distances: list[float], median: float, asr: float, mean: float) -> None:
    array = np.array(distances)
    assert metrics.lower_median(array) == pytest.approx(median, nan_ok=True)
    assert metrics.asr(array) == pytest.approx(asr, nan_ok=True)
    assert metrics.mean_found(array) == pytest.approx(mean, nan_ok=True)


@given(several)
def test_lower_median_is_the_smallest_distance_within_which_half_are_found(distances: list[float]) -> None:
    halves = [d for d in distances if 2 * sum(other <= d for other in distances) >= len(distances)]
    assert metrics.lower_median(np.array(distances)) == min(halves)
    assert (metrics.lower_median(np.array(distances)) == INF) == (metrics.asr(np.array(distances)) < 0.5)


@pytest.mark.parametrize("bad", [-1.0, NAN, -INF])
def test_impossible_distances_are_refused(bad: float) -> None:
    wrong, right = np.array([1.0, bad]), np.ones(2)
    calls = [metrics.lower_median, metrics.asr, metrics.mean_found, metrics.robust_accuracy]
    for call in (*calls, lambda d: metrics.area(d, 1.0), lambda d: metrics.local_optimality(d, right)):
        with pytest.raises(ValueError, match="distances must be ≥ 0"):
            call(wrong)
    with pytest.raises(ValueError, match="best must be ≥ 0"):
        metrics.local_optimality(right, wrong)
    with pytest.raises(ValueError, match="distances must be ≥ 0"):
        metrics.envelope(wrong[None])
    with pytest.raises(ValueError, match=r"1 dimensions, got shape \(1, 2\)"):
        metrics.asr(right[None])


# robust accuracy and its area


def test_robust_accuracy_by_hand() -> None:
    at, robust = metrics.robust_accuracy(np.array([2.0, 0.0, INF, 0.5, 0.5]))
    assert at.tolist() == [0.0, 0.5, 2.0]
    assert robust == pytest.approx([0.8, 0.4, 0.2])
    assert curves.robust_accuracy is metrics.robust_accuracy
    with pytest.raises(ValueError, match="at least one sample"):
        metrics.robust_accuracy(np.array([]))


def test_robust_accuracy_at_radii_by_hand() -> None:
    distances = np.array([2.0, 0.0, INF, 0.5, 0.5])
    assert metrics.robust_accuracy_at(distances, [2.5, 0, 0.5, 1]) == pytest.approx([0.2, 0.8, 0.4, 0.4])
    assert metrics.robust_accuracy_at(distances, []).shape == (0,)
    assert np.isnan(metrics.robust_accuracy_at([], [1.0])).all()
    for radii in ([-1.0], [NAN], [INF], np.ones((1, 1))):
        with pytest.raises(ValueError, match="radii must be one dimension of finite numbers ≥ 0"):
            metrics.robust_accuracy_at(distances, radii)


@pytest.mark.parametrize("radius", [1 / 255, 8 / 255, 0.3])
def test_an_adversarial_on_the_ball_is_within_it(radius: float) -> None:
    """As an image's entries are float32, ℓ∞ of what was projected onto a ball is often a little more."""
    x0 = torch.linspace(0, 1 - radius, 1001)
    distances = ((x0 + radius) - x0).abs().double()
    assert (distances > radius).any()
    assert metrics.robust_accuracy_at(distances, [radius, radius * (1 - 1e-4)]).tolist() == [0, 1]


def test_small_radii_are_not_lost_in_rounding() -> None:
    found = [8e-11, 1.7e-9, 5e-8, 1e-3]  # of 1 − SSIM
    assert metrics.robust_accuracy_at(found, [0, 1e-10, 1e-8, 1e-7]).tolist() == [1, 0.75, 0.5, 0.25]
    assert metrics.robust_accuracy_at([1e-8 * (1 + 5e-5)], [1e-8]).tolist() == [0]


def test_area_by_hand() -> None:
    distances = np.array([2.0, 0.0, INF, 0.5])
    assert metrics.area(distances, 1.0) == (1 + 0 + 1 + 0.5) / 4
    assert metrics.area(distances, 4.0) == (2 + 0 + 4 + 0.5) / 4
    assert metrics.area(distances, 0.0) == 0
    assert metrics.area(distances, INF) == INF
    assert math.isnan(metrics.area(np.array([]), 1.0))
    for upper in (-1.0, NAN):
        with pytest.raises(ValueError, match="upper must be ≥ 0"):
            metrics.area(distances, upper)


@given(several, st.integers(0, 80).map(lambda n: n / 8))
def test_area_is_the_integral_of_the_step_function(distances: list[float], upper: float) -> None:
    at, robust = metrics.robust_accuracy(np.array(distances))
    # the steps are at eighths: the value at the middle of each eighth, looked up, is exact for the whole of it
    middles = (np.arange(round(8 * upper)) + 0.5) / 8
    integral = robust[np.searchsorted(at, middles, side="right") - 1].sum() / 8
    assert metrics.area(np.array(distances), upper) == pytest.approx(integral, abs=1e-12)


# geometric mean


@pytest.mark.parametrize(
    ("values", "mean"),
    [
        ([2.0, 8.0], 4.0),
        ([1.0, 10.0, 100.0], 10.0),
        ([0.09, 0.67, 0.92], (0.09 * 0.67 * 0.92) ** (1 / 3)),
        ([5.0, 0.0], 0.0),
        ([1e300, 1e308], 1e304),  # their product overflows
        ([], NAN),
        ([1.0, INF], NAN),
        ([0.0, INF], NAN),
        ([1.0, NAN], NAN),
    ],
)
def test_geometric_mean_by_hand(values: list[float], mean: float) -> None:
    assert metrics.geometric_mean(values) == pytest.approx(mean, rel=1e-12, nan_ok=True)


def test_geometric_mean_of_negative_values_is_refused() -> None:
    with pytest.raises(ValueError, match="values must be ≥ 0, got -2"):
        metrics.geometric_mean([1.0, -2.0])


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=6), st.floats(1e-3, 1e3))
def test_geometric_mean_scales_and_is_between(values: list[float], factor: float) -> None:
    mean = metrics.geometric_mean(values)
    assert min(values) * (1 - 1e-12) <= mean <= max(values)
    assert metrics.geometric_mean([factor * value for value in values]) == pytest.approx(factor * mean, rel=1e-9)
    assert metrics.geometric_mean(values[:1] * 7) == values[0]


# envelope and optimality


def test_envelope_by_hand() -> None:
    distances = np.array([[1.0, INF, 0.0, INF], [2.0, 3.0, 0.0, INF]])
    assert metrics.envelope(distances).tolist() == [1.0, 3.0, 0.0, INF]
    assert metrics.envelope(np.empty((0, 2))).tolist() == [INF, INF]


def test_local_optimality_by_hand() -> None:
    best = np.array([0.0, 1.0, 2.0, 4.0])
    # e0 = 4, A = 3/4, area* = 7/4, A·e0 = 3: the denominator is 5/4
    assert metrics.local_optimality(best, best) == 1
    assert metrics.local_optimality(np.array([0.0, 2.0, 2.0, 4.0]), best) == pytest.approx(1 - (1 / 4) / (5 / 4))
    assert metrics.local_optimality(np.array([0.0, INF, 2.0, 4.0]), best) == pytest.approx(1 - (3 / 4) / (5 / 4))
    assert metrics.local_optimality(np.array([0.0, 9.0, 2.0, INF]), best) == pytest.approx(1 - (3 / 4) / (5 / 4))
    assert metrics.local_optimality(np.array([0.0, INF, INF, INF]), best) == 0


def test_local_optimality_leaves_out_samples_that_no_attack_breaks() -> None:
    best, found = np.array([1.0, 2.0, 4.0]), np.array([2.0, 2.0, 4.0])
    unbroken = np.array([INF, INF])
    expected = metrics.local_optimality(found, best)
    assert 0 < expected < 1
    assert metrics.local_optimality(np.append(found, unbroken), np.append(best, unbroken)) == expected


def test_local_optimality_counts_samples_that_were_adversarial_already_as_0() -> None:
    best = np.array([0.0, 1.0, 4.0])
    assert metrics.local_optimality(np.array([3.0, 1.0, 4.0]), best) == 1
    assert metrics.local_optimality(np.array([INF, INF, INF]), best) == 0


@pytest.mark.parametrize(
    "best",
    [[], [0.0, 0.0], [3.0], [3.0, 3.0, 0.0], [3.0, INF], [INF, INF], [0.0, INF]],
    ids=["none", "all already", "single", "equal", "single broken", "none broken", "already or unbroken"],
)
def test_local_optimality_with_nothing_to_compare_is_nan(best: list[float]) -> None:
    array = np.array(best)
    assert math.isnan(metrics.local_optimality(array, array))
    assert math.isnan(metrics.local_optimality(np.where(array > 0, INF, 0.0), array))


def test_local_optimality_needs_the_best_distances() -> None:
    best = np.array([1.0, 2.0, 4.0])
    with pytest.raises(ValueError, match=r"got 2 > 1\.5 at sample 1 \(1 such samples\)"):
        metrics.local_optimality(np.array([1.0, 1.5, 4.0]), best)
    with pytest.raises(ValueError, match="got inf > 7 at sample 0"):
        metrics.local_optimality(np.array([7.0]), np.array([INF]))
    with pytest.raises(ValueError, match=r"same shape, got \(2,\) and \(3,\)"):
        metrics.local_optimality(best[:2], best)
    assert metrics.local_optimality(best * (1 - 1e-12), best) == 1  # rounding
    thirds = best / 3
    assert metrics.local_optimality(thirds.astype(np.float32).astype(np.float64), thirds) == pytest.approx(
        1, abs=1e-6
    )
    with pytest.raises(ValueError, match=r"got 1\.00001 > 1 at sample 0"):
        metrics.local_optimality(np.array([1.0]), np.array([1.00001]))


def test_tensors_are_taken_as_arrays() -> None:
    single = torch.tensor([2.0, 0.0, INF, 0.5])
    array = single.double().numpy()
    for call in (metrics.lower_median, metrics.asr, metrics.mean_found):
        assert call(single) == pytest.approx(call(array), nan_ok=True)
    assert metrics.area(single, 1.0) == metrics.area(array, 1.0)
    for ours, theirs in zip(metrics.robust_accuracy(single), metrics.robust_accuracy(array), strict=True):
        assert np.array_equal(ours, theirs)
    best = metrics.envelope(torch.stack([single, single + 1]))
    assert np.array_equal(best, array)
    assert metrics.local_optimality(single, best) == 1


@given(attacks_and_best())
def test_local_optimality_is_its_definition(distances: NDArray[np.float64]) -> None:
    best = metrics.envelope(distances)
    for attack in distances:
        expected = naive_local_optimality(attack, best)
        assert metrics.local_optimality(attack, best) == pytest.approx(expected, abs=1e-12, nan_ok=True)


@given(attacks_and_best())
def test_local_optimality_properties(distances: NDArray[np.float64]) -> None:
    best = metrics.envelope(distances)
    assume(not math.isnan(naive_local_optimality(best, best)))
    largest = best[np.isfinite(best)].max()
    for attack in distances:
        value = metrics.local_optimality(attack, best)
        assert 0 <= value <= 1
        compared = np.isfinite(best)
        assert (value == 1) == bool((np.minimum(attack, largest) == best)[compared].all())
    assert metrics.local_optimality(best, best) == 1
    assert metrics.local_optimality(np.where(best > 0, INF, 0.0), best) == 0


@given(attacks_and_best(), st.data())
def test_local_optimality_does_not_depend_on_the_order(
    distances: NDArray[np.float64], data: st.DataObject
) -> None:
    order = np.array(data.draw(st.permutations(range(distances.shape[1]))))
    best = metrics.envelope(distances)
    for attack in distances:
        shuffled = metrics.local_optimality(attack[order], best[order])
        assert shuffled == pytest.approx(metrics.local_optimality(attack, best), abs=1e-12, nan_ok=True)


@given(attacks_and_best())
def test_local_optimality_never_rises_with_a_distance(distances: NDArray[np.float64]) -> None:
    best = metrics.envelope(distances)
    assume(not math.isnan(naive_local_optimality(best, best)))
    worse = np.where(distances[0] > 0, distances[0] + 1, 0.0)
    assert metrics.local_optimality(worse, best) <= metrics.local_optimality(distances[0], best)


def test_global_optimality() -> None:
    assert metrics.global_optimality([0.5, 1.0]) == 0.75
    assert metrics.global_optimality([0.5, NAN]) == 0.5
    assert math.isnan(metrics.global_optimality([NAN]))
    assert math.isnan(metrics.global_optimality([]))

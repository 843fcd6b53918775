"""Auto's random moves: what they change, and what they find where gradients say nothing."""

import math

import pytest
import torch
from torch import Tensor

from minadv import Auto
from minadv.attacks.auto.moves import (
    NEARER,
    NUMBERS,
    as_planes,
    exchange,
    move_about,
    rearrangement,
    window,
    within,
)
from minadv.distances import get
from minadv.goals import Untargeted
from minadv.oracle import Oracle
from minadv.random import keys, uniform
from minadv.verification import Settings
from tests.networks import convolutional, generator, images, predictions

pytestmark = pytest.mark.usefixtures("as_given")


def drawn(x: Tensor, stream: int) -> Tensor:
    return uniform(keys(x, 0), NUMBERS, stream).T


def test_a_window_is_a_square_of_the_full_size_with_one_sign_a_channel() -> None:
    x = torch.rand(5, 3, 12, 9, generator=generator(0))
    delta, radius = 0.01 * (x - 0.5), torch.linspace(0.1, 0.5, 5)
    sides = set[int]()
    for stream in range(40):
        left = 1 - stream / 40
        moved = window(delta, radius, drawn(x, stream), left)
        for one, before, bound in zip(moved, delta, radius, strict=True):
            changed = one != before
            rows, columns = changed.any(dim=2).any(dim=0), changed.any(dim=1).any(dim=0)
            assert torch.equal(changed, (rows[:, None] & columns).expand_as(changed))
            assert rows.sum() == columns.sum()
            for channel in range(3):
                assert one[channel][changed[channel]].unique().abs().tolist() == [bound]
        sides.add(int((moved[0, 0] != delta[0, 0]).any(dim=1).sum()))
    assert max(sides) > 1
    assert min(sides) == 1


@pytest.mark.parametrize(("kind", "what"), [(0.1, "moved"), (0.5, "left out"), (0.9, "resized")])
def test_a_rearrangement_changes_one_entry(kind: float, what: str) -> None:
    x = torch.rand(6, 2, 5, 4, generator=generator(1))
    delta = torch.where(torch.rand(x.shape, generator=generator(2)) < 0.3, x - 0.5, 0.0)
    for stream in range(30):
        numbers = drawn(x, stream)
        numbers[1] = kind
        for one, before in zip(rearrangement(delta, delta, numbers, 1.0), delta, strict=True):
            places = torch.nonzero(one != before)
            if what == "resized":
                (place,) = places.tolist()
                assert 0.5 <= one[tuple(place)] / before[tuple(place)] <= 1.5
            elif what == "left out":
                (place,) = places.tolist()
                assert one[tuple(place)] == 0
            elif len(places):  # at an edge it may stay where it is
                here, there = sorted(places.tolist(), key=lambda place: abs(one[tuple(place)]))
                assert one[tuple(here)] == 0
                assert one[tuple(there)] == before[tuple(here)]
                assert here[0] == there[0]
                assert max(abs(a - b) for a, b in zip(here, there, strict=True)) == 1


@pytest.mark.parametrize(("kind", "near"), [(0.1, True), (0.9, False)])
def test_an_exchange_changes_another_entry_to_the_same_face(kind: float, near: bool) -> None:
    x = torch.rand(6, 2, 5, 4, generator=generator(1))
    delta = torch.where(torch.rand(x.shape, generator=generator(2)) < 0.3, x - 0.5, 0.0)
    far = 0
    for stream in range(30):
        numbers = drawn(x, stream)
        numbers[1] = kind
        for one, before in zip(exchange(delta, delta, numbers, 1.0), delta, strict=True):
            assert (one != 0).sum() <= (before != 0).sum()
            (there,) = torch.nonzero((one != before) & (one != 0)).tolist()
            assert abs(one[tuple(there)]) == 1
            left = torch.nonzero((one == 0) & (before != 0)).tolist()
            if not left:  # at an edge it may stay where it is
                assert one[tuple(there)].sign() == before[tuple(there)].sign()
                continue
            (here,) = left
            assert one[tuple(there)].sign() == before[tuple(here)].sign()
            apart = max(abs(a - b) for a, b in zip(here, there, strict=True))
            assert apart == 1 or not near
            far = max(far, apart)
    assert (far > 1) is not near


def test_perturbations_within_a_norm() -> None:
    delta, radius = torch.randn(4, 3, 5, generator=generator(3)), torch.tensor([0.1, 1.0, 3.0, 0.0])
    for p in (1, 2):
        torch.testing.assert_close(within(delta, radius, p).flatten(1).norm(p, dim=1), radius)
    few = within(delta, torch.tensor([1.9, 3.0, 0.998, 40.0]), 0).flatten(1)
    sizes = delta.flatten(1).abs()
    for row, all_of_it, count in zip(few.abs(), sizes, (1, 3, 0, 15), strict=True):
        assert torch.equal(row[row != 0].sort().values, all_of_it.sort().values[15 - count :])
    cut = within(delta, radius, math.inf)
    assert torch.equal(cut, torch.stack([d.clamp(-r, r) for d, r in zip(delta, radius, strict=True)]))


def test_data_of_any_shape_have_planes() -> None:
    shapes = {
        (2, 7): (2, 1, 1, 7),
        (2, 4, 5): (2, 1, 4, 5),
        (2, 3, 4, 5): (2, 3, 4, 5),
        (2, 3, 4, 5, 6): (2, 12, 5, 6),
    }
    for shape, planes in shapes.items():
        assert as_planes(torch.zeros(shape)).shape == planes


def thresholds(x: Tensor) -> Tensor:
    """Class 1 once four of the first eight entries are above 0.55, without a gradient that says which."""
    count = (x.flatten(1)[:, :8] > 0.55).to(x.dtype).sum(dim=1)
    return torch.stack((torch.full_like(count, 3.5), count), dim=1)


def answered(x: Tensor, first: Tensor, distance: str, levels: int | None = None) -> Oracle:
    labels = torch.zeros(len(x), dtype=torch.int64)
    settings = Settings(budget=2 * 10_000, fill_up=False, levels=levels)
    oracle = Oracle(thresholds, x, {"labels": labels}, Untargeted(labels), get(distance), settings)
    oracle.probe(first, differentiate=False)
    return oracle


@pytest.mark.parametrize(("distance", "p"), [("l0", 0), ("l1", 1), ("l2", 2), ("linf", math.inf)])
def test_moves_come_nearer_by_forwards_alone_and_for_each_sample_alike(distance: str, p: float) -> None:
    x = 0.5 + 0.01 * torch.rand(4, 1, 4, 4, generator=generator(4))
    first = x + 0.2 * torch.rand(x.shape, generator=generator(5)) + 0.06
    oracle, live = answered(x, first, distance), torch.tensor([True, True, False, True])
    before = oracle.best_distance.clone()
    move_about(oracle, 600, p, 1e-4, live)
    after = oracle.best_distance
    assert after[2] == before[2]
    assert (after[live] < 0.8 * before[live]).all()
    result = oracle.result()
    assert result.success.all()
    assert result.forwards.tolist() == [601, 601, 1, 601]
    assert (result.backwards == 0).all()
    alone = answered(x[1:2], first[1:2], distance)
    move_about(alone, 600, p, 1e-4, live[1:2])
    assert torch.equal(alone.best_distance, after[1:2])


@pytest.mark.parametrize(("distance", "p"), [("l0", 0), ("l1", 1), ("l2", 2)])
def test_moves_come_nearer_on_a_grid(distance: str, p: float) -> None:
    x = ((0.5 + 0.01 * torch.rand(4, 1, 4, 4, generator=generator(4))) * 255).round() / 255
    first = ((x + 0.2 * torch.rand(x.shape, generator=generator(5)) + 0.06) * 255).round() / 255
    oracle = answered(x, first, distance, 256)
    before = oracle.best_distance.clone()
    move_about(oracle, 600, p, 1e-4, torch.ones(4, dtype=torch.bool))
    assert (oracle.best_distance < 0.8 * before).all()
    best = oracle.best * 255
    torch.testing.assert_close(best, best.round())


def test_a_step_nearer_is_made_at_once_where_the_boundary_is_far() -> None:
    x = torch.full((1, 1, 4, 4), 0.5)
    oracle = answered(x, x + 0.4, "linf")
    move_about(oracle, 1, math.inf, 1e-4, torch.tensor([True]))
    torch.testing.assert_close(oracle.best_distance, torch.tensor([0.4 * (1 - NEARER)]))


def spread(x: Tensor) -> Tensor:
    """Classes by the mean of all entries: carried by all, the gradient can be trusted."""
    mean = x.flatten(1).mean(dim=1)
    return torch.stack((0 * mean, mean - 0.6, mean - 0.8), dim=1)


def masked(x: Tensor) -> Tensor:
    """The same by few entries, each of which counts beyond a threshold."""
    few = (x.flatten(1)[:, ::16] - 0.5).relu().sum(dim=1)
    return torch.stack((torch.full_like(few, 0.2), few, few - 1), dim=1)


@pytest.mark.parametrize("distance", ["l0", "l1", "l2", "linf"])
def test_only_where_gradients_are_masked_do_moves_take_rounds(distance: str) -> None:
    x, labels = 0.5 + 0.05 * images(4, 1, 8), torch.zeros(4, dtype=torch.int64)
    for model, moves in ((spread, False), (masked, True)):
        with_them, without = (
            Auto(distance=distance, budget=500, moves=either, stop_early=False)(model, x, labels)
            for either in (True, False)
        )
        assert with_them.success.all()
        assert (without.backwards > 480).all()
        assert ((with_them.backwards < 450) == moves).all()
        assert (with_them.forwards == 500).all()
        if not moves:
            assert torch.equal(with_them.adversarials, without.adversarials)


def test_samples_without_an_answer_and_other_distances_make_no_moves() -> None:
    def constant(x: Tensor) -> Tensor:
        return masked(x) * 0 + torch.tensor([2.0, 0.0, 0.0])

    x, labels = images(2, 1, 8), torch.zeros(2, dtype=torch.int64)
    with pytest.warns(UserWarning, match="gradient was exactly 0"):
        never = Auto(distance="linf", budget=500)(constant, x, labels)
    assert not never.success.any()
    assert (never.backwards > 480).all()
    net, x = convolutional(), images(2)
    for distance in ("l0", "ssim"):
        settings = {"distance": distance, "budget": 400}
        one, two = (Auto(moves=either, **settings)(net, x, predictions(net, x)) for either in (True, False))
        assert torch.equal(one.adversarials, two.adversarials)

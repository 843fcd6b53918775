import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minadv import metrics, report
from minadv.report import curves, gallery, penalties, pictures, summary
from minadv.result import Trace
from tests.runs_by_hand import INF, run

# the curve


def test_robust_accuracy_is_the_exact_step_function():
    at, robust = curves.robust_accuracy(np.array([0.5, 0.25, 0.0, INF, 0.5]))
    assert at.tolist() == [0, 0.25, 0.5]
    assert robust.tolist() == pytest.approx([0.8, 0.6, 0.2])


@pytest.mark.parametrize(
    ("distances", "at", "robust"),
    [([INF, INF], [0], [1]), ([0.0, 0.0], [0], [0]), ([2.0], [0, 2], [1, 0])],
)
def test_robust_accuracy_at_the_extremes(distances: list[float], at: list[float], robust: list[float]):
    found = curves.robust_accuracy(np.array(distances))
    assert found[0].tolist() == at
    assert found[1].tolist() == robust


@given(st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.7, 3.0, INF]), min_size=1, max_size=30), st.floats(0, 4))
def test_robust_accuracy_is_the_fraction_beyond(distances: list[float], epsilon: float):
    at, robust = curves.robust_accuracy(np.array(distances))
    value = robust[np.searchsorted(at, epsilon, side="right") - 1]
    assert value == pytest.approx(np.mean(np.array(distances) > epsilon))


@pytest.mark.parametrize("distances", [[0.0, 0.0], [INF, INF], [0.0, 1e-9], [0.5, 1.0, INF]])
def test_the_curve_can_always_be_drawn(distances: list[float]):
    drawn = curves.robust_accuracy_svg(np.array(distances), "lpips[demo,none] $x_1$")
    assert drawn.startswith("<svg")
    assert "lpips[demo,none] $x_1$ distance" in drawn
    assert "currentColor" in drawn
    assert drawn == curves.robust_accuracy_svg(np.array(distances), "lpips[demo,none] $x_1$")


def test_progress_is_the_median_over_samples():
    trace = Trace(torch.tensor([[1, 1, 1], [3, 3, 3]]), torch.tensor([[INF, INF, 0.0], [2.0, 1.0, 0.0]]))
    spent, median = curves.progress(trace)
    assert spent.tolist() == [1, 3]
    assert median.tolist() == [INF, 1]
    assert curves.progress_svg(trace, "l2") is not None
    never = Trace(trace.propagations, torch.full((2, 3), INF))
    assert curves.progress_svg(never, "l2") is None


@given(st.integers(0, 1000))
def test_progress_counts_what_each_sample_has_spent_itself(seed: int):
    g = torch.Generator().manual_seed(seed)
    spent = torch.randint(0, 4, (12, 5), generator=g).cumsum(dim=0) + 1  # some leave the batch for a while
    best = torch.rand(12, 5, generator=g).cummin(dim=0).values
    best[:3, ::2] = INF
    at, median = curves.progress(Trace(spent, best))
    assert at.tolist() == sorted({*spent.flatten().tolist()})
    for x, y in zip(at, median, strict=True):
        own = torch.where(spent <= x, best, INF).amin(dim=0)
        assert y == pytest.approx(own.median().item())


@pytest.mark.parametrize("last", [3.3, 2.9, 1.7, 0.6, 0.02])
def test_a_progress_axis_has_labels_enough_to_read(last: float):
    trace = Trace(torch.tensor([[1], [3], [5]]), torch.tensor([[INF], [3.4], [last]]))
    drawn = curves.progress_svg(trace, "l2")
    assert drawn is not None
    ticks = drawn[drawn.index('id="progress-ytick_1"') : drawn.index("median l2 so far")]
    assert len(re.findall(r">[\d.]+</text>", ticks)) >= 3


def test_a_misclassified_sample_is_not_robust_however_far_answers_have_to_be_beyond():
    found = run(confidence=50.0)
    rows = found.results.with_columns(
        pl.when(pl.col("status") == "already adversarial").then(INF).otherwise("distance").alias("distance")
    )
    assert summary.to_a_change(replace(found, results=rows)).tolist() == [0.5, 0.25, 0.0, INF, INF, 1.0]
    assert "misclassified\nbefore the attack" in report.render(found)
    targeted = replace(run(target=0), results=rows)
    assert summary.to_a_change(targeted).tolist() == [0.0, 0.25, INF, INF, 0.0, 1.0]


# the numbers


def test_summary_of_a_run_by_hand():
    facts = summary.of(run())
    assert (facts.samples, facts.successes, facts.survivors) == (6, 4, 3)
    assert facts.median == 0.5
    assert facts.mean == pytest.approx((0.5 + 0.25 + 1) / 3)
    assert facts.largest == 1
    assert facts.forwards == 11.8  # of the five that were attacked
    assert facts.backwards == 12
    assert facts.correct == 5
    assert facts.statuses == {"already adversarial": 1, "found": 3, "not found": 1, "non-finite": 1}
    assert facts.success_rate == "66.7 % (4 of 6)"
    assert dict(facts.lines())["time"] == "1 min 1 s"


@given(st.lists(st.floats(0, 5) | st.just(INF), min_size=1, max_size=20))
def test_the_median_is_that_of_results(values: list[float]):
    assert metrics.lower_median(np.array(values)) == torch.tensor(values, dtype=torch.float64).median().item()


def test_a_fixed_radius_is_said_and_ends_the_curve():
    found = run(attack="APGD", settings={"radius": None, "fixed_radius": 1.5, "levels": None, "budget": None})
    facts = summary.of(found)
    assert facts.headline.endswith("no ball but that of ℓ2\N{NO-BREAK SPACE}1.5 was searched.")
    said = dict(facts.lines())
    assert said["robust accuracy at ℓ2 1.5"].startswith("33.3 % (2 of 6), the only radius that was searched")
    assert "median ℓ2" not in said
    page = report.render(found)
    assert "searches a ball of ℓ2 radius 1.5" in page
    assert "minimises" not in page[: page.index("</header>")]
    at, robust = curves.drawn(np.array([0.0, 1.0, INF]), 1.5)
    assert (at[-1], robust[-1]) == (1.5, pytest.approx(1 / 3))


def test_a_model_that_is_mostly_wrong_makes_numbers_doubtful():
    found = run()
    assert summary.of(found).doubt is None
    half = found.results.with_columns(clean_prediction=pl.Series([0, 1, 0, 3, 3, 3]))
    assert summary.of(replace(found, results=half)).doubt is None
    fewer = found.results.with_columns(clean_prediction=pl.Series([0, 1, 3, 3, 3, 3]))
    doubtful = replace(found, results=fewer)
    said = summary.of(doubtful).doubt
    assert said is not None
    assert "only 2 of 6 samples are classified correctly" in said
    page = report.render(doubtful)
    assert f"<li>{said}</li>" in page[: page.index("</header>")]


def test_other_distances_leave_out_the_minimised_one():
    rows = run().results
    assert summary.other_distances(rows, "l2") == [("ℓ1", "5", "5.833")]
    assert summary.other_distances(rows, "l1") == []


def test_classes_without_a_name_have_their_number():
    names = [summary.class_name(("cat", "dog"), label) for label in (0, 1, 2, 999)]
    assert names == ["cat", "dog", "class 2", "class 999"]


def test_distances_are_written_as_in_benchmarks():
    facts = summary.of(run(distance="ssim"))
    assert dict(facts.lines())["median 1 − SSIM"] == "0.5"
    page = report.render(run(distance="ssim"))
    assert "minimises 1 − SSIM" in page
    assert "1 − SSIM distance ε" in page
    assert "· 1 − SSIM 0.25 ·" in page
    assert ">ssim<" not in page


def test_a_run_whose_settings_lack_levels_is_shown():
    bare = run()
    bare = replace(bare, configuration=bare.configuration.model_copy(update={"settings": {}}))
    assert "on a grid of" not in report.render(bare)


def test_a_run_without_any_success_has_a_summary():
    failed = run()
    rows = failed.results.filter(failed.results["status"] == "not found")
    facts = summary.of(replace(failed, results=rows))
    assert facts.median == INF
    assert "fewer than half" in facts.headline
    assert dict(facts.lines())["mean ℓ2 of found"] == "– (largest –)"
    assert summary.other_distances(rows, "l2") == [("ℓ1", "∞", "–")]


# the gallery


def test_every_kind_of_outcome_is_shown():
    chosen = gallery.choose(run().results, 24)
    assert chosen == {"Found": [1, 0, 5], "No adversarial found": [3, 4], "Wrong before the attack": [2]}


def test_failures_are_counted_and_their_original_is_not_called_adversarial():
    found = run()
    chosen = gallery.choose(pl.concat([found.results] * 3), 24)
    assert (len(chosen["No adversarial found (4 of 6)"]), len(chosen["Wrong before the attack (2 of 3)"])) == (
        4,
        2,
    )
    page = report.render(found)
    for sample, status in zip(found.results["sample"], found.results["status"], strict=True):
        assert f'alt="original {sample}"' in page
        assert (f'alt="adversarial {sample}"' in page) == (status in ("found", "already adversarial"))


def test_many_samples_are_shown_from_both_ends_and_the_middle():
    assert gallery.ends_and_middle(range(100), 3) == ([0, 1, 2], [48, 49, 50], [97, 98, 99])
    assert gallery.ends_and_middle(range(9), 3) == (list(range(9)), [], [])


def test_large_images_are_fewer_on_a_page():
    assert [gallery.places(side, side) for side in (28, 32, 64, 224, 299, 1024)] == [24, 24, 24, 11, 6, 6]


def test_pictures_show_the_pixels():
    found = run()
    shown = gallery.groups(found)[0].cards[0]
    assert shown.sample == 11
    assert (shown.label, shown.before, shown.after) == ("dog", "dog", "cat")
    assert np.array_equal(_decoded(shown.adversarial), pictures.pixels(found.adversarials[1]))
    assert np.array_equal(_decoded(shown.original), pictures.pixels(found.originals[1]))


def test_grey_images_are_pictures_and_other_tensors_are_not():
    grey = run(channels=1)
    assert _decoded(gallery.groups(grey)[0].cards[0].original).shape == (12, 12)
    flat = replace(grey, originals=grey.originals.flatten(1), adversarials=grey.adversarials.flatten(1))
    assert gallery.groups(flat) == ()
    assert "not pictures" in report.render(flat)
    with pytest.raises(ValueError, match="--png needs images"):
        pictures.check(flat.originals)


def test_the_difference_is_magnified_until_it_just_fits():
    original = torch.full((1, 2, 2), 0.5)
    adversarial = original + torch.tensor([[[0.0, 0.01], [-0.005, 0.0]]])
    shown, factor = pictures.difference(adversarial, original)
    assert factor == pytest.approx(50, rel=1e-5)
    assert shown.flatten().tolist() == pytest.approx([0.5, 1.0, 0.25, 0.5], abs=1e-5)
    same, none = pictures.difference(original, original)
    assert none is None
    assert (same == 0.5).all()


def test_pngs_are_lossless_and_only_of_successes(tmp_path: Path):
    found = run()
    (tmp_path / "000099.png").write_bytes(b"of an earlier run")
    (tmp_path / "mine.txt").write_text("not ours")
    assert pictures.write_all(tmp_path, found) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *(f"{sample:06d}.png" for sample in (10, 11, 12, 15)),
        "mine.txt",
    ]
    with Image.open(tmp_path / "000011.png") as image:
        assert np.array_equal(np.asarray(image), pictures.pixels(found.adversarials[1]))


def _decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


# the figure


@pytest.mark.parametrize("ending", ["svg", "pdf", "png"])
def test_the_penalties_figure_is_written(tmp_path: Path, ending: str):
    path = tmp_path / "new" / f"figure.{ending}"
    penalties.save(path)
    assert path.read_bytes().startswith({"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}[ending])


def test_the_penalties_figure_draws_the_penalties():
    axes = penalties.draw().axes[0]
    lines = {str(line.get_label()): line for line in axes.get_lines()}
    x, y = lines["PHR"].get_data()
    assert np.allclose(
        y, np.maximum(-0.5, np.where(np.asarray(x) < -1, -0.5, np.asarray(x) + np.asarray(x) ** 2 / 2))
    )
    assert set(lines) >= {"PHR", "$P_1$", "$P_2$", "$P_3$"}


def test_an_unknown_ending_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"choose one of \.svg"):
        penalties.save(tmp_path / "figure.doc")

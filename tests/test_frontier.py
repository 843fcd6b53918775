"""The frontier: small models that train and load, bounds that hold, and tables that say what the attacks found."""

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.frontier import __main__ as command
from benchmarks.frontier import crops, interval, models, run, suites, table, train
from PIL import Image
from rich.console import Console
from torch import nn

import minadv
from minadv import FMN, Auto
from tests import benches
from tests.shared import SHARED, needs_shared

SPEC = "python:benchmarks.frontier.models:digits_mlp"
RECIPE = replace(train.RECIPES[0], epochs=3)
TEXTS = ("auto:budget=20", "fmn:steps=20")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    (line,) = train.made(folder, (RECIPE,))
    assert line.startswith("digits_mlp: accuracy ")
    return folder


@pytest.fixture
def here(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(models.VARIABLE, str(trained))
    return trained


def compute(out: Path, texts: tuple[str, ...] = TEXTS, samples: int = 8) -> list[run.Ran]:
    chosen = suites.candidates(texts, [20])
    wanted = suites.suites(chosen, ["l1", "l2", "ciede2000"], ["digits_mlp"], samples)
    return list(run.run(wanted, out, (), Console(quiet=True)))


def correct(folder: Path, count: int) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    model = minadv.models.load(SPEC)
    images, labels = minadv.data.load(f"npz:{folder / 'digits.npz'}").tensors()
    right = (model(images).argmax(1) == labels).nonzero()[:count, 0]
    return model, images[right], labels[right]


def test_a_trained_model_is_loaded_by_its_spec_and_knows_held_out_digits(here: Path):
    model, (images, labels) = minadv.models.load(SPEC), train.digits()[1]
    stored, same = minadv.data.load(f"npz:{here / 'digits.npz'}").tensors()
    assert torch.equal(stored, images)
    assert torch.equal(same, labels)
    assert images.shape == (597, 1, 8, 8)
    assert (model(images).argmax(1) == labels).float().mean() > 0.6
    held_out = {image.numpy().tobytes() for image in images}
    seen = {image.numpy().tobytes() for image in train.digits()[0][0]}
    assert not held_out & seen


def test_training_again_writes_the_same_file(here: Path, tmp_path: Path):
    before = torch.random.get_rng_state()
    list(train.made(tmp_path, (RECIPE,)))
    name = "digits_mlp.safetensors"
    assert (tmp_path / name).read_bytes() == (here / name).read_bytes()
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(("name", "epochs"), [("digits_l2_at", 2), ("digits_linf_at", 2), ("digits_ibp", 12)])
def test_every_digits_recipe_learns_and_loads(
    name: str, epochs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    recipe = next(recipe for recipe in train.RECIPES if recipe.name == name)
    (line,) = train.made(tmp_path, (replace(recipe, epochs=epochs),))
    assert "within" in line
    monkeypatch.setenv(models.VARIABLE, str(tmp_path))
    _, (images, labels) = train.digits()
    model = minadv.models.load(f"python:benchmarks.frontier.models:{name}")
    assert (model(images).argmax(1) == labels).float().mean() > 0.3
    if not recipe.provable:
        return
    # what is certified cannot be attacked
    kept = interval.worst(model, images, labels, recipe.epsilon).argmax(1) == labels
    share = interval.certified(model, images, labels, recipe.epsilon)
    assert 0.1 < share < 1
    assert share == pytest.approx(kept.float().mean().item())
    moved = train.worst_nearby(model, images, labels, recipe.epsilon, "linf", 20)
    still = model(moved).argmax(1) == labels
    assert still[kept].all()
    assert not still.all()


def test_what_has_no_images_here_is_not_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(train, "SHARED", tmp_path / "nowhere")
    unseen = tuple(recipe for recipe in train.RECIPES if recipe.data == "mnist")
    lines = list(train.made(tmp_path, unseen))
    assert len(lines) == len(unseen) == 5
    assert all("left out" in line and "nowhere" in line for line in lines)
    assert not list(tmp_path.glob("*.safetensors"))


@needs_shared
@pytest.mark.parametrize(("name", "epochs"), [("unseen_ibp", 4), ("unseen_vit", 2)])
def test_networks_learn_from_the_images_that_are_not_attacked(
    name: str, epochs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    recipe = next(recipe for recipe in train.RECIPES if recipe.name == name)
    monkeypatch.setattr(train, "SHARED", SHARED)
    (line,) = train.made(tmp_path, (replace(recipe, epochs=epochs),))
    assert ("proven" in line) == recipe.provable
    monkeypatch.setenv(models.VARIABLE, str(tmp_path))
    learned, (images, labels) = train.mnist()
    model = minadv.models.load(f"python:benchmarks.frontier.models:{name}")
    assert (model(images).argmax(1) == labels).float().mean() > 0.3
    (target,) = (each for each in suites.targets() if each.name == "unseen")
    attacked, _ = minadv.data.load(f"npz:{SHARED / target.data.removeprefix('npz:')}").tensors(limit=1000)
    assert torch.equal(attacked, images)
    assert len(learned[0]) == 9000


def test_trades_weighs_how_far_predictions_are_moved(here: Path):
    model, x, labels = correct(here, 32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        worst = train.worst_nearby(model, x, labels, 0.1, "linf", 5)
        torch.manual_seed(0)
        loss = train.trades(0.1, "linf", 5, 3.0)(model, x, labels, 1.0)
        nowhere = train.trades(0.0, "linf", 5, 3.0)(model, x, labels, 1.0)
    p, q = model(x).softmax(1), model(worst).softmax(1)
    apart = (p * (p / q).log()).sum(dim=1).mean()
    assert apart > 0.01
    clean = nn.functional.cross_entropy(model(x), labels)
    assert loss.item() == pytest.approx((clean + 3 * apart).item(), rel=1e-4)
    assert nowhere.item() == pytest.approx(clean.item(), rel=1e-5)


@pytest.mark.parametrize("build", [models.residual, models.Attending])
def test_networks_of_other_kinds_have_gradients_and_do_not_mix_samples(build: Callable[[], nn.Module]):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build().eval()
    x = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0)).requires_grad_()
    logits = network(x)
    assert logits.shape == (3, 10)
    (slope,) = torch.autograd.grad(logits[0].logsumexp(0), x)
    assert slope[0].abs().amax() > 0
    assert not slope[1:].any()


@pytest.mark.parametrize(("p", "order", "epsilon"), [("l2", 2.0, 0.5), ("linf", math.inf, 0.1)])
def test_worst_points_are_near_and_worse(p: str, order: float, epsilon: float, here: Path):
    model, x, labels = correct(here, 64)
    worse = train.worst_nearby(model, x, labels, epsilon, p, 5)
    assert (worse - x).flatten(1).norm(order, dim=1).max() <= epsilon + 1e-6
    assert ((worse >= 0) & (worse <= 1)).all()
    losses = [nn.functional.cross_entropy(model(points), labels) for points in (x, worse)]
    assert losses[1] > 1.1 * losses[0]


def test_bounds_hold_for_every_point_and_are_exact_for_one_layer():
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(3, 1, 8, 8, generator=generator)
    high = low + 0.2 * torch.rand(3, 1, 8, 8, generator=generator)
    network = models.cnn().requires_grad_(False)
    least, most = interval.bounds(network, low, high)
    for _ in range(300):
        corner = torch.where(torch.rand(low.shape, generator=generator) < 0.5, low, high)
        inside = low + (high - low) * torch.rand(low.shape, generator=generator)
        for point in (corner, inside):
            logits = network(point)
            assert (least <= logits + 1e-6).all()
            assert (logits <= most + 1e-6).all()
    first, last = interval.bounds(network, low, low)
    assert torch.allclose(first, network(low), atol=1e-6)
    assert torch.allclose(last, network(low), atol=1e-6)
    layer = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).requires_grad_(False)
    weight = layer[1].weight
    reached = [
        [layer(torch.where(row.view(1, 1, 8, 8) > 0, *ends))[:, number] for number, row in enumerate(weight)]
        for ends in ((low, high), (high, low))
    ]
    for bound, exact in zip(interval.bounds(layer, low, high), reached, strict=True):
        assert torch.allclose(bound, torch.stack(exact, dim=1), atol=1e-5)
    with pytest.raises(TypeError, match="MaxPool2d"):
        interval.bounds(nn.Sequential(nn.MaxPool2d(2)), low, high)


def test_the_tables_say_what_direct_evaluation_finds(here: Path, tmp_path: Path):
    (ran,) = compute(tmp_path)
    assert ran.report is not None
    assert (ran.report.computed, ran.report.failed, ran.left_out) == (4, 0, ())
    model, x, labels = correct(here, 8)
    results = {
        (name, attack): found(model, x, labels)
        for name in ("l1", "l2")
        for attack, found in {
            "Auto 20": Auto(distance=name, budget=20, seed=42),
            "FMN 20": FMN(distance=name, steps=20, seed=42),
        }.items()
    }
    rows = {(row.distance, row.attack): row for row in table.stored(tmp_path)}
    assert list(rows) == list(results)
    for (name, attack), result in results.items():
        line, found = rows[name, attack].line, result.distances.double().numpy()
        assert line.median == pytest.approx(np.sort(found)[3])
        assert line.asr == result.success.float().mean()
        assert line.forwards == result.forwards.double().mean()
        assert line.backwards == result.backwards.double().mean()
        # every adversarial counts, whatever was minimised
        known = [
            np.where(other.success, (other.adversarials - x).flatten(1).norm(int(name[1]), dim=1), math.inf)
            for other in results.values()
        ]
        best = np.min(known, axis=0)
        area, least, end = np.minimum(found, best.max()).mean(), best.mean(), best.max()
        assert line.optimality == pytest.approx(1 - (area - least) / (end - least), abs=1e-5)


def test_own_distances_are_among_the_lines(here: Path, tmp_path: Path):
    wanted = suites.suites(suites.candidates(TEXTS, [20]), ["own"], ["digits_mlp"], 8)
    assert [ran.report and ran.report.failed for ran in run.run(wanted, tmp_path, (), Console(quiet=True))] == [0]
    rows = table.stored(tmp_path)
    assert [(row.distance, row.attack) for row in rows] == [(name, "Auto 20") for name in suites.BY_HAND]
    model, x, y = correct(here, 8)
    for row in rows:
        own = minadv.distances.get(f"python:benchmarks.frontier.distances:{row.distance}")
        found = Auto(distance=own, budget=20, seed=42)(model, x, y)
        assert row.line.median == pytest.approx(found.distances.median().item(), rel=1e-4)


def test_resuming_computes_nothing_and_a_new_candidate_only_itself(here: Path, tmp_path: Path):
    compute(tmp_path, TEXTS[:1])
    before = benches.stamps(tmp_path / "digits")
    (again,) = compute(tmp_path, TEXTS[:1])
    assert again.report is not None
    assert (again.report.computed, again.report.before) == (0, 2)
    (more,) = compute(tmp_path)
    assert more.report is not None
    assert (more.report.computed, more.report.before) == (2, 2)
    after = benches.stamps(tmp_path / "digits")
    assert before.items() < after.items()


def test_the_summary_puts_auto_beside_the_best_peer(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def say(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["frontier", *map(str, words)])
        command.main()
        return capsys.readouterr().out

    common = ("--budgets", 20, "--out", tmp_path)
    asked = ("--targets", "digits_mlp", "--distances", "l2", "--samples", 8)
    said = say("run", *common, *asked, "--attacks", "auto", "fmn:steps=20", "ddn:steps=20", "fmn:steps=40")
    assert "4 shards computed, 0 were there" in said
    rows = {row.attack: row.line for row in table.stored(tmp_path)}
    lines = say("table", *common, "--summary", "--markdown").splitlines()
    cells = [part.strip() for part in next(line for line in lines if "digits_mlp" in line).split("|")]
    peer = min("FMN 20", "DDN 20", key=lambda name: rows[name].median)
    assert cells[3:6] == [
        f"{rows['Auto 20'].median:.4g}",
        f"{rows['Auto 20'].optimality:.3f}",
        f"{rows[peer].median:.4g} ({peer})",
    ]
    full = say("table", "--out", tmp_path)
    assert all(name in full for name in ("FMN 40", "DDN 20", "global optimality", "digits_mlp, ℓ2"))


def test_what_is_not_there_is_left_out_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(models.VARIABLE, str(tmp_path))
    chosen = suites.candidates(TEXTS[:1], [20])
    wanted = suites.suites(chosen, ["l2"], ["digits_mlp", "demo_linf_at"], 2)
    ran = {each.name: each for each in run.run(wanted, tmp_path / "out", (), Console(quiet=True))}
    assert ran["digits"].report is None
    for name in ("digits", "demo"):
        (why,) = ran[name].left_out
        assert "benchmarks.frontier train writes it" in why
    with pytest.raises(FileNotFoundError, match="frontier run"):
        table.stored(tmp_path / "nothing")


def test_candidates_are_read_from_text():
    alma = suites.Candidate.of("alma.paper:steps=100,alpha=0.8")
    assert alma.label == "ALMA.paper 100 alpha=0.8"
    entry = alma.entry(["l2"])
    assert (entry.attack, entry.paper, entry.steps, entry.options) == ("alma", True, (100,), {"alpha": "0.8"})
    assert [alma.fits(name) for name in ("ssim", "ciede2000", "ciede2000:scale=paper")] == [True, False, True]
    assert suites.Candidate.of("auto:budget=50").entry(["l2"]).budgets == (50,)
    for wrong in ("almo", "alma.papre:steps=1", "alma:steps", "alma:steps="):
        with pytest.raises(ValueError, match=r"unknown attack|key=value"):
            suites.Candidate.of(wrong)
    with pytest.raises(ValueError, match="whole number"):
        suites.Candidate.of("alma:steps=1.5").entry(["l2"])
    with pytest.raises(ValueError, match="unknown distance 'l7'"):
        list(suites.suites([alma], ["l7"]))


def test_groups_spend_at_most_the_budget_and_name_each_candidate_once():
    from minadv.attacks import find
    from minadv.bench import costs

    for budget in (100, 1000):
        for candidate in suites.candidates(("auto", "alma", "peers", "more"), [budget]):
            distance = next(name for name in suites.DISTANCES if candidate.fits(name))
            given = {key: int(value) for key, value in candidate.options}
            attack = find(candidate.attack)(distance=distance, **given)
            most = costs.at_most(candidate.attack, attack, 10)
            assert candidate.attack == "auto" or (most is not None and max(most) <= budget), (candidate, most)
    labels = [candidate.label for candidate in suites.candidates(suites.GROUPS, [100, 1000])]
    assert len(labels) == len(set(labels))
    assert {"Auto 10000", "ALMA.paper 1000", "FAB 100", "SigmaZero 10000"} <= set(labels)


def test_crops_take_turns_and_are_the_same_each_time():
    images, labels = crops.crops(2, training=False)
    again, _ = crops.crops(2, training=False)
    assert images.shape == (20, 224, 224, 3)
    assert labels.tolist() == [*range(10), *range(10)]
    assert np.array_equal(images, again)
    assert len({image.tobytes() for image in images}) == 20
    assert models.large()(crops.tensors(1, training=False)[0][:2]).shape == (2, 10)


@pytest.mark.parametrize("training", [True, False])
def test_no_pixel_is_both_to_train_and_to_test_with(training: bool):
    halves = np.zeros((300, 500, 3), dtype=np.uint8)
    halves[:, 300:] = 255
    photograph, random = Image.fromarray(halves), np.random.default_rng(0)
    values = {int(value) for _ in range(20) for value in np.unique(crops._crop(photograph, training, random))}
    assert values == {0 if training else 255}


def test_large_images_are_attacked_where_they_are_named():
    chosen = suites.candidates(["auto"], [100])
    every = [name for name, _ in suites.suites(chosen, suites.DISTANCES)]
    assert every == ["demo", "digits", "mnist", "unseen", "cifar10"]
    ((name, suite),) = suites.suites(chosen, suites.DISTANCES, ["large_std"])
    assert name == "large"
    assert [model.name for model in suite.models] == ["large_std"]

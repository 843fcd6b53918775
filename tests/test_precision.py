"""Searches in lower precision and on channels-last images: what the model sees, and what may be believed of it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from minadv import ALMA, DDN, Result, Targeted, Untargeted, attacks, cli, distances, evaluate
from minadv.attacks.base import Attack
from minadv.guard import alike
from minadv.oracle import Oracle
from minadv.precision import LOOKS, ROUNDINGS, check_passes, handicap, land, searched
from minadv.verification import Precision, Settings
from tests.networks import Linear, convolutional, generator, images, linear, predictions, with_absent_classes
from tests.shared import SHARED, needs_shared

pytestmark = pytest.mark.usefixtures("as_given")

MODEL = convolutional()
X = images(8)
Y = predictions(MODEL, X)
STEPS = 30
ATTACK = ALMA(steps=STEPS)
CONFIDENCE, SLACK = 1e-4, 5e-5
LOWER = (("bfloat16", torch.bfloat16), ("float16", torch.float16))


@dataclass(frozen=True)
class Seen:
    """What a model saw in one pass."""

    autocast: bool
    features: torch.dtype
    inputs: torch.dtype
    channels_last: bool
    graph: bool


class Witness(nn.Module):
    """Takes down how each pass is computed."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.first, self.rest = network[0], network[1:]  # type: ignore[index]
        self.passes: list[Seen] = []

    def forward(self, x: Tensor) -> Tensor:
        features = self.first(x)
        layout = x.is_contiguous(memory_format=torch.channels_last)
        enabled = torch.is_autocast_enabled(x.device.type)
        self.passes.append(Seen(enabled, features.dtype, x.dtype, layout, x.requires_grad))
        return self.rest(features)


FULL = Seen(autocast=False, features=torch.float32, inputs=torch.float32, channels_last=False, graph=False)


def margins(x: Tensor, y: Tensor) -> Tensor:
    """z_y − max of the others, computed here, in float32."""
    with torch.no_grad():
        z = MODEL(x)
    own = z[torch.arange(len(y)), y]
    z[torch.arange(len(y)), y] = -torch.inf
    return own - z.amax(dim=1)


def same(first: Result, second: Result) -> bool:
    tensors = ("adversarials", "success", "distances", "forwards", "backwards", "margins")
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in tensors)


# what the model sees


@pytest.mark.parametrize(("precision", "dtype"), LOWER)
@pytest.mark.parametrize("channels_last", [False, True])
def test_only_the_search_is_in_lower_precision(precision: Precision, dtype: torch.dtype, channels_last: bool):
    model = Witness(MODEL).eval()
    result = ATTACK(model, X, Y, precision=precision, channels_last=channels_last)
    clean, *search = model.passes[:STEPS]
    assert clean == replace(FULL, graph=True)
    assert set(search) == {Seen(True, dtype, torch.float32, channels_last, graph=True)}
    assert model.passes[STEPS:] == [FULL] * (LOOKS + 1)
    assert (result.forwards == STEPS + LOOKS).all()
    assert (result.backwards == STEPS).all()


def test_channels_last_alone_changes_the_layout_alone():
    model = Witness(MODEL).eval()
    ATTACK(model, X, Y, channels_last=True)
    clean, *search = model.passes[:STEPS]
    assert clean == replace(FULL, graph=True)
    assert set(search) == {replace(FULL, graph=True, channels_last=True)}
    assert model.passes[STEPS:] == [FULL]


@pytest.mark.parametrize(("precision", "seen"), [(None, torch.bfloat16), ("float32", torch.float32)])
def test_under_the_callers_own_autocast(precision: Precision | None, seen: torch.dtype):
    model = Witness(MODEL).eval()
    with torch.autocast("cpu", torch.bfloat16), pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # some answers of the bfloat16 search are lost
        ATTACK(model, X, Y, precision=precision)
    assert {look.features for look in model.passes[:STEPS]} == {seen}
    assert model.passes[STEPS].features is torch.float32  # the verification


def test_the_default_is_untouched():
    assert searched(MODEL, Settings()) is MODEL
    assert searched(MODEL, Settings(precision="float32")) is MODEL
    assert handicap(Untargeted(Y), MODEL(X), Settings()) is None
    model = Witness(MODEL).eval()
    default = ATTACK(model, X, Y)
    assert len(model.passes) == STEPS + 1
    assert set(model.passes[:STEPS]) == {replace(FULL, graph=True)}
    assert model.passes[STEPS:] == [FULL]
    assert same(default, ATTACK(MODEL, X, Y, precision=None, channels_last=False))
    assert same(default, ATTACK(MODEL, X, Y, precision="float32"))


@pytest.mark.parametrize("precision", [None, "bfloat16", "float16"])
def test_the_model_is_left_as_it_was(precision: Precision | None):
    model = convolutional()
    before = {name: (value.clone(), value.stride()) for name, value in model.state_dict().items()}
    ATTACK(model, X, Y, precision=precision, channels_last=True)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name][0])
        assert value.stride() == before[name][1]
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


def test_models_that_work_in_place():
    def in_place(x: Tensor) -> Tensor:
        return MODEL(x.sub_(0.0))

    for options in ({"precision": "bfloat16"}, {"precision": "float16"}, {"channels_last": True}):
        assert same(ATTACK(in_place, X, Y, **options), ATTACK(MODEL, X, Y, **options))  # type: ignore[arg-type]


# what comes back


def oracle(**options: Any) -> Oracle:
    return Oracle(MODEL, X, {"labels": Y}, Untargeted(Y), distances.get("l2"), Settings(**options))


@pytest.mark.parametrize("live", [None, torch.arange(8) >= 3])
@pytest.mark.parametrize("precision", [None, "bfloat16", "float16"])
def test_logits_and_gradients_are_like_the_inputs(precision: Precision | None, live: Tensor | None):
    x = (X + 0.1 * images(8, seed=5)).clamp(0, 1)
    full, door = oracle(), oracle(precision=precision, channels_last=True)
    for look in (full.probe(x, live), door.probe(x, live)):
        assert look.logits.dtype == torch.float32
    expected, found = (
        who.gradient(probe, who.goal.margin(probe.logits))
        for who, probe in ((who, who.probe(x, live)) for who in (full, door))
    )
    assert found.dtype == torch.float32
    assert found.is_contiguous()
    # roundings turn some of the network's kinks around
    assert (found - expected).norm() <= (0.1 if precision == "bfloat16" else 0.03) * expected.norm()
    if precision is None:
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-7)


def test_the_handicap_is_that_of_each_row():
    live, settings = torch.arange(8) % 2 == 1, Settings(precision="bfloat16")
    with torch.no_grad():
        clean = MODEL(X)
        expected = torch.where(live[:, None], searched(alike(MODEL), settings)(1 - X), clean)
    raised = handicap(Untargeted(Y), clean, settings)
    assert raised is not None
    found = oracle(precision="bfloat16").probe(1 - X, live).logits
    assert torch.allclose(found - expected, raised, atol=1e-5)


@pytest.mark.parametrize("precision", [None, "bfloat16", "float16"])
def test_the_layout_ends_at_the_model(precision: Precision | None):
    leaf = X.clone().requires_grad_()
    seen = Witness(MODEL).eval()
    logits = searched(alike(seen), Settings(precision=precision, channels_last=True))(leaf.clone())
    (gradient,) = torch.autograd.grad(logits.sum(), leaf)
    assert seen.passes[0].channels_last
    assert gradient.is_contiguous()


@pytest.mark.parametrize("factor", [1e-12, 1e-6, 1.0, 1e6, 1e12])
def test_float16_gradients_neither_vanish_nor_overflow(factor: float):
    def gradient(model: Callable[[Tensor], Tensor]) -> Tensor:
        leaf = X.clone().requires_grad_()
        values = (model(leaf.clone()) * torch.linspace(1, 2, 5)).sum(dim=1)
        weights = factor * torch.logspace(-3, 3, len(X))
        (found,) = torch.autograd.grad(values, leaf, grad_outputs=weights)
        return found.double()

    expected, found = gradient(MODEL), gradient(searched(alike(MODEL), Settings(precision="float16")))
    for one, other in zip(expected, found, strict=True):
        assert (one - other).norm() <= 0.01 * one.norm()


# what counts


@pytest.mark.parametrize(("precision", "dtype"), LOWER)
def test_the_handicap_is_the_roundoff_of_the_margins_larger_logit(precision: Precision, dtype: torch.dtype):
    logits = torch.tensor([[3.0, -7.0, 1.0], [0.5, 0.25, -0.25]])
    settings = Settings(precision=precision)
    roundoff = {"bfloat16": 2**-8, "float16": 2**-11}[precision]
    assert (1 + torch.tensor(roundoff)).to(dtype) == 1  # half of the distance to the next number
    slack = ROUNDINGS * roundoff
    raised = handicap(Untargeted(torch.tensor([0, 1])), logits, settings)
    assert raised is not None
    assert torch.equal(raised, slack * torch.tensor([[3.0, 0, 0], [0, 0.5, 0]]))
    lowered = handicap(Targeted(torch.tensor([2, 0])), logits, settings)
    assert lowered is not None
    assert torch.equal(lowered, -slack * torch.tensor([[0, 0, 3.0], [0.5, 0, 0]]))


def test_masked_classes_are_no_handicap():
    found = ATTACK(lambda x: with_absent_classes(MODEL(x)), X, Y, precision="bfloat16")
    assert found.success.all()
    assert same(found, ATTACK(MODEL, X, Y, precision="bfloat16"))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("attack", [ATTACK, ALMA(distance="l1", steps=STEPS, levels=256), DDN(steps=STEPS)])
def test_successes_are_verified_in_float32(attack: Attack, targeted: bool, precision: Precision):
    targets = (Y + 1) % 5 if targeted else None
    result = attack(MODEL, X, Y, targets=targets, precision=precision)
    full = attack(MODEL, X, Y, targets=targets)
    assert result.success.all()
    adversarials = result.adversarials
    if targets is None:
        assert (margins(adversarials, Y) < -(CONFIDENCE - SLACK)).all()
        assert torch.allclose(result.margins, margins(adversarials, Y), atol=1e-6)
    else:
        assert (-margins(adversarials, targets) < -(CONFIDENCE - SLACK)).all()
    assert ((adversarials >= 0) & (adversarials <= 1)).all()
    if attack.levels is not None:
        assert torch.equal((adversarials * 255).round() / 255, adversarials)
    p = 1 if attack.distance == "l1" else 2
    expected = (adversarials.double() - X.double()).flatten(1).norm(p, dim=1).float()
    assert torch.allclose(result.distances, expected)
    assert (result.distances / full.distances).median() < 1.1


def test_answers_end_on_the_boundary_of_float32():
    """Without the landing, margins would be those that the search demanded: the handicap, some 0.02 logits."""
    result = ATTACK(MODEL, X, Y, precision="bfloat16")
    with torch.no_grad():
        slack = ROUNDINGS * 2**-8 * MODEL(X).abs().amax(dim=1)
    assert (result.margins > -slack - CONFIDENCE).all()


@pytest.mark.parametrize("reach", [0.6, 1.7])
@pytest.mark.parametrize("targeted", [False, True])
def test_landing_on_a_linear_boundary(targeted: bool, reach: float):
    model = linear(entries=12, classes=4)
    x = 0.5 + 0.1 * torch.rand(6, 12, generator=generator(3))
    y = predictions(model, x)
    with torch.no_grad():
        targets = model(x).topk(2).indices[:, 1]
    goal = Targeted(targets) if targeted else Untargeted(y)
    w, b = model.layer.weight.detach().double(), model.layer.bias.detach().double()
    # the step that crosses the boundary between the two largest logits at 1/reach of its length
    rows = torch.arange(len(x))
    difference = (x.double() @ w.T + b)[rows, y] - (x.double() @ w.T + b)[rows, targets]
    normal = w[targets] - w[y]
    exact = ((difference + CONFIDENCE) / normal.square().sum(dim=1))[:, None] * normal
    moved = land(model, x, (x + exact / reach).float(), goal, Settings(precision="bfloat16"))
    share = (moved - x).double().norm(dim=1) / exact.norm(dim=1)
    # never short of the boundary, and beyond it by no more than the last bisection's interval
    assert (share > 1 - 1e-5).all()
    assert (share < 1 + 2 / 2**LOOKS / reach + 1e-5).all()


def test_what_float32_does_not_confirm_is_a_failure():
    """A model that only lower precision can fool: no answer may pass, and it is said why."""

    class Torn(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            z = MODEL(x)
            return z if torch.is_autocast_enabled("cpu") else z + 100 * nn.functional.one_hot(Y, 5)

    with pytest.warns(UserWarning, match=r"8 of 8 adversarials.*precision='bfloat16' can be left out"):
        result = ATTACK(Torn().eval(), X, Y, precision="bfloat16")
    assert not result.success.any()
    assert torch.equal(result.adversarials, X)
    assert result.distances.isinf().all()


@pytest.mark.parametrize("name", attacks.names())
def test_every_attack(name: str):
    few = {"steps": 5} if "steps" in attacks.find(name).__dataclass_fields__ else {}
    more = {"lpa": {"distance": "lpips:trunk=demo"}}.get(name, {})
    attack = attacks.get(name, budget=60, **few, **more)
    x = images(4, side=32) if name in ("lpa", "pqp") else X[:4]
    model = MODEL if x.shape[-1] == 16 else nn.Sequential(nn.AvgPool2d(2), MODEL).eval()
    y = predictions(model, x)
    result = attack(model, x, y, precision="bfloat16", channels_last=True)
    # Auto's budget is one of each
    spent = (
        torch.maximum(result.forwards, result.backwards) if name == "auto" else result.forwards + result.backwards
    )
    assert (spent <= 60).all()
    assert torch.equal(predictions(model, result.adversarials) != y, result.success)


@pytest.mark.parametrize("budget", [1, LOOKS, LOOKS + 2, 25])
def test_budgets_hold_the_landing(budget: int):
    result = ALMA(steps=100, budget=budget)(MODEL, X, Y, precision="bfloat16")
    assert (result.forwards + result.backwards <= budget).all()
    assert bool(result.success.any()) == (budget > LOOKS + 2)


def test_the_trace_ends_at_the_result():
    result = ATTACK(MODEL, X, Y, precision="bfloat16", trace=True)
    assert result.trace is not None
    assert torch.allclose(result.trace.distances[-1], result.distances, rtol=1e-5)
    assert torch.equal(result.trace.propagations[-1], result.forwards + result.backwards)


@pytest.mark.parametrize("options", [{"precision": "bfloat16"}, {"channels_last": True}])
def test_a_sample_does_not_depend_on_its_batch(options: dict[str, Any]):
    whole = ATTACK(MODEL, X, Y, **options)
    for row in (0, 3):
        alone = ATTACK(MODEL, X[row : row + 1], Y[row : row + 1], **options)
        assert torch.equal(alone.adversarials[0], whole.adversarials[row])


@pytest.mark.filterwarnings("ignore:a clean image is .* logits from the boundary")
def test_already_adversarial_is_decided_in_float32():
    """A margin that bfloat16 rounds to a tie, or turns around, is what float32 says it is."""
    # logits of 1 and 1 ± 2^-9, which bfloat16 cannot tell apart
    weight = torch.zeros(3, 4)
    model = Linear(weight, torch.tensor([1.0, 1 + 2**-9, 0.0])).eval()
    x = torch.full((2, 4), 0.5)
    with pytest.warns(UserWarning, match="gradient was exactly 0 .* for 1 of 2"):
        result = ALMA(steps=3, constraint="margin")(model, x, torch.tensor([0, 1]), precision="bfloat16")
    assert result.success.tolist() == [True, False]
    assert result.clean_predictions.tolist() == [1, 1]


@needs_shared
def test_on_a_real_network_nearly_all_pass_as_near_as_in_float32():
    from benchmarks.targets import load

    model, x, y = load("cifar_resnet4b", SHARED, 24)
    attack = ALMA(steps=60)
    full, lower = attack(model, x, y), attack(model, x, y, precision="bfloat16", channels_last=True)
    assert full.success.all()
    assert lower.success.sum() >= 23
    assert lower.median < 1.1 * full.median


# errors, and the ways in


def test_unknown_precisions_name_the_known():
    with pytest.raises(ValueError, match="must be None or one of 'float32', 'bfloat16', 'float16', got 'fp16'"):
        check_passes("fp16", False, X)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_float64_has_no_lower_precision(precision: Precision):
    model, x = linear(entries=12, dtype=torch.float64), images(2, side=2).double()
    with pytest.raises(ValueError, match=rf"precision='{precision}' is for .*float32, got torch.float64: leave"):
        ATTACK(model, x, predictions(model, x), precision=precision)
    assert ATTACK(model, x, predictions(model, x)).success.all()


def test_channels_last_needs_channels():
    model = linear(entries=12, classes=5)
    x = torch.rand(3, 12, generator=generator(1))
    with pytest.raises(ValueError, match=r"channels_last is for inputs of shape \(batch, .*got \(3, 12\): leave"):
        ATTACK(model, x, predictions(model, x), channels_last=True)
    assert ATTACK(model, x, predictions(model, x), precision="bfloat16").success.all()


def test_evaluate_passes_them_on():
    model = Witness(MODEL).eval()
    result = evaluate(model, (X, Y), ATTACK, precision="bfloat16", channels_last=True, progress=False)
    assert same(result, ATTACK(MODEL, X, Y, precision="bfloat16", channels_last=True))
    assert Seen(True, torch.bfloat16, torch.float32, channels_last=True, graph=True) in model.passes


def network() -> nn.Module:
    return convolutional()


def test_on_the_command_line(tmp_path: Path):
    path = tmp_path / "images.npz"
    stored = (X * 255).round().to(torch.uint8)
    labels = predictions(network(), stored.float() / 255)
    np.savez(path, images=stored.permute(0, 2, 3, 1).numpy(), labels=labels.numpy())

    def run(out: Path, *words: str) -> Any:
        common = ["attack", "--model", "python:tests.test_precision:network", "--data", f"npz:{path}"]
        return CliRunner().invoke(cli.app, [*common, "--steps", "20", "--out", str(out), *words])

    done = run(tmp_path / "low", "--precision", "bfloat16", "--channels-last")
    assert done.exit_code == 0, done.output
    asked = json.loads((tmp_path / "low" / "run.json").read_text())
    assert asked["settings"]["precision"] == "bfloat16"
    assert asked["settings"]["channels_last"] is True
    assert asked["dtype"] == "float32"
    page = (tmp_path / "low" / "report.html").read_text()
    assert "bfloat16" in page
    assert "channels_last" in page

    done = run(tmp_path / "plain")
    assert done.exit_code == 0, done.output
    asked = json.loads((tmp_path / "plain" / "run.json").read_text())
    assert not {"precision", "channels_last"} & set(asked["settings"])

    done = run(tmp_path / "wrong", "--precision", "fp16")
    assert done.exit_code == 2
    assert all(name in done.stderr for name in ("'fp16'", "float32", "bfloat16", "float16"))

"""Bad input gets an error that names the argument, what it got and the remedy; never a silent wrong answer."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from minadv import ALMA, CW, DDN, Attack, Status, attacks
from minadv.result import concatenate
from tests.networks import convolutional, generator, images, linear, predictions

pytestmark = pytest.mark.usefixtures("as_given")

ATTACK = ALMA(distance="l2", steps=5)
MODEL = convolutional()
X = images(4)
Y = predictions(MODEL, X)


def spoilt(row: int, value: float) -> Tensor:
    x = X.clone()
    x[row, 0, 0, 0] = value
    return x


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        (
            X * 255,
            ValueError,
            r"inputs must be finite and in \[0, 1\], got values from .* to 25.*: divide by 255$",
        ),
        (X - 0.5, ValueError, r"inputs must be .* in \[0, 1\], got values from -0.4.*: rescale .*normalisation"),
        (spoilt(1, float("nan")), ValueError, r"inputs must be finite.*got NaN: leave these images out"),
        (spoilt(1, float("inf")), ValueError, r"inputs must be finite.*inf"),
        ((X * 255).to(torch.uint8), TypeError, r"inputs must be floating point.*torch.uint8.*/ 255"),
        (
            X * 0 + (1 + 1e-6),
            ValueError,
            r"got values from 1.00000095\d* to 1.00000095\d*: .*clamp\(0, 1\)",
        ),
        (
            X.to_sparse(),
            TypeError,
            r"inputs must be a dense tensor, .*: use inputs.to_dense\(\)",
        ),
        (X.to("meta"), ValueError, r"inputs must hold values, got a tensor on the meta device"),
        (X[0, 0, 0], ValueError, r"inputs must have shape \(batch, ...\).*got \(16,\).*unsqueeze"),
        (X[:0], ValueError, r"at least one sample, got \(0, 3, 16, 16\)"),
    ],
)
def test_inputs(inputs: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ATTACK(MODEL, inputs, Y)


@pytest.mark.parametrize("argument", ["labels", "targets"])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda y: y + 5, ValueError, r"must be in \[0, 5\) for a model with 5 .* at row 0: .*counted from 0"),
        (lambda y: y * 0 - 1, ValueError, r"must be in \[0, 5\).*got -1 at row 0"),
        (lambda y: y[:3], ValueError, r"must have shape \(4,\), one class index per input, got \(3,\)"),
        (lambda y: y[:, None], ValueError, r"must have shape \(4,\).*got \(4, 1\)"),
        (lambda y: y.float(), TypeError, r"must be int64 class indices, got dtype torch.float32: use"),
        (lambda y: y.int(), TypeError, r"must be int64.*torch.int32"),
        (lambda y: y.to("meta"), ValueError, r"inputs are on cpu but (labels|targets) on meta.*\.to\(device\)"),
    ],
)
def test_classes(argument: str, change: Callable[[Tensor], Any], error: type[Exception], message: str) -> None:
    given = {"labels": Y, "targets": (Y + 1) % 5}
    given[argument] = change(given[argument])
    labels = given.pop("labels")
    with pytest.raises(error, match=f"(?s){argument} {message}|{message}"):
        ATTACK(MODEL, X, labels, **given if argument == "targets" else {})


def test_targets_equal_to_labels() -> None:
    targets = (Y + 1) % 5
    targets[2] = Y[2]
    with pytest.raises(
        ValueError, match=r"targets must differ from labels, got class \d for both at row 2 \(1 such"
    ):
        ATTACK(MODEL, X, Y, targets=targets)


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (
            lambda x: x,
            ValueError,
            r"logits of shape \(4, classes ≥ 2\), got torch.float32 \(4, 3, 16, 16\): logits of every pixel.*"
            r"mean\(dim=\(2, 3\)\)",
        ),
        (lambda x: x[:, 0], ValueError, r"\(4, 16, 16\): wrap the model"),
        (lambda x: MODEL(x)[:, 0], ValueError, r"\(4,\): a single logit z"),
        (lambda x: MODEL(x)[:, :1], ValueError, r"classes ≥ 2.*\(4, 1\).*torch.stack\(\(-z, z\)"),
        (lambda x: MODEL(x)[:2], ValueError, r"returned 2 rows of logits for a batch of 4 inputs: return one row"),
        (
            lambda x: MODEL(x) * float("nan"),
            ValueError,
            r"model returned NaN or infinite logits for 4 of 4 inputs",
        ),
        (
            lambda x: MODEL(x).argmax(dim=1, keepdim=True).expand(-1, 5),
            ValueError,
            r"floating-point logits.*int64.*: return the logits, not the class",
        ),
        (lambda x: MODEL(x).detach(), ValueError, r"without a gradient to its inputs.*\.detach\(\)"),
        (lambda x: MODEL(x).detach().requires_grad_(), ValueError, r"without a gradient to its inputs"),
        (
            lambda x: (MODEL(x), x),
            TypeError,
            r"must return a tensor of logits or an object with .logits, got tuple",
        ),
        (
            lambda x: {"aux": x, "logits": MODEL(x)},
            TypeError,
            r"got dict of 'aux', 'logits': wrap it, e.g. lambda x: model\(x\)\['logits'\]",
        ),
        (
            lambda x: {"out": MODEL(x)},
            TypeError,
            r"dict of 'out': wrap it, e.g. lambda x: model\(x\)\['out'\]",
        ),
        (convolutional().to("meta"), ValueError, r"inputs are on cpu but the model's parameters on meta"),
    ],
)
def test_models(model: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"(?s){message}"):
        ATTACK(model, X, Y)


def own_images(x: Tensor) -> Tensor:
    torch._assert(x.shape[-1] == 16, "Wrong image size")
    return MODEL(x)


@pytest.mark.parametrize(
    ("model", "inputs", "error", "rows"),
    [
        (MODEL, X[0], RuntimeError, ", a batch of 3, filled up with copies to 4: "),
        (MODEL, X[:, :1], RuntimeError, ", a batch of 4: "),
        (nn.Sequential(nn.Flatten(), nn.Linear(768, 5)).eval(), X[..., :8, :8], RuntimeError, ", a batch of 4: "),
        (own_images, X[..., :8], AssertionError, ", a batch of 4: "),
    ],
    ids=["no batch", "channels", "size", "own"],
)
def test_what_a_model_raises_at_first_tells_which_inputs_it_was_given(
    model: Any, inputs: Tensor, error: type[Exception], rows: str
) -> None:
    with pytest.raises(error) as raised:
        ATTACK(model, inputs, Y[: len(inputs)])
    (note,) = raised.value.__notes__
    assert note.startswith(f"the model was given torch.float32 inputs of shape {tuple(inputs.shape)}{rows}")
    assert "a single image becomes a batch with inputs.unsqueeze(0)" in note


def test_precisions_do_not_mix() -> None:
    with pytest.raises(TypeError, match=r"inputs are torch.float64 but the model is torch.float32.*: use inputs"):
        ATTACK(MODEL, X.double(), Y)
    with pytest.raises(TypeError, match=r"inputs must be float32 or float64, got torch.float16"):
        ATTACK(MODEL, X.half(), Y)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("network", [convolutional, lambda: nn.Sequential(nn.Flatten(), nn.Linear(768, 5))])
def test_half_precision_that_does_not_cast(dtype: torch.dtype, network: Callable[[], nn.Module]) -> None:
    model = network().eval().to(dtype)
    name = str(dtype).removeprefix("torch.")
    message = rf"inputs are torch.float32 but the model is torch.{name}.*cast inside.*precision='{name}'"
    with pytest.raises(TypeError, match=f"(?s){message}"):
        ATTACK(model, X, Y)
    assert ATTACK(lambda x: model(x.to(dtype)), X, Y).forwards.all()  # its own casts are fine

    def broken(x: Tensor) -> Tensor:
        return model(x.to(dtype)) @ torch.ones(7, 7, dtype=dtype)

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        ATTACK(broken, X, Y)


@pytest.mark.parametrize(
    ("inner", "named"),
    [((), "Linear"), ((nn.Flatten(),), "Sequential and 2 more modules")],
)
def test_how_much_of_a_model_is_in_training_mode(inner: tuple[nn.Module, ...], named: str) -> None:
    linear = nn.Linear(768, 5)
    model = nn.Sequential(*inner, linear).train() if inner else linear
    with pytest.warns(UserWarning, match=rf"in training mode \({named}\): it is attacked"):
        ATTACK(model, X if inner else X.flatten(1), Y)


def test_models_that_work_in_place() -> None:
    def in_place(x: Tensor) -> Tensor:
        return MODEL(x.sub_(0.0))

    before = X.clone()
    assert torch.equal(ATTACK(in_place, X, Y).distances, ATTACK(MODEL, X, Y).distances)

    def behind_the_scenes(x: Tensor) -> Tensor:
        logits = MODEL(x)
        x.detach().numpy()[:] = 0  # no version counter sees it
        return logits

    assert torch.equal(ATTACK(behind_the_scenes, X, Y).distances, ATTACK(MODEL, X, Y).distances)
    assert torch.equal(X, before)


@pytest.mark.parametrize("attack", [ATTACK, attacks.get("pqp", steps=3)])
def test_models_that_work_in_place_at_times_are_an_error(attack: Attack) -> None:
    passes: list[int] = []

    def at_times(x: Tensor) -> Tensor:
        passes.append(1)
        return MODEL(x.mul_(0.5) if len(passes) > 1 else x)

    with pytest.raises((ValueError, RuntimeError), match=r"in.place"):
        attack(at_times, X, Y)


def test_distances_that_are_none() -> None:
    with pytest.raises(ValueError, match=r"total must return one value per sample, shape \(4,\), got \(\)"):
        ALMA(distance=total, steps=5)(MODEL, X, Y)


@pytest.mark.parametrize("given", ["nan", "inf", "-0.5", "1"])
def test_distances_that_are_not_0_at_the_original(given: str) -> None:
    def own(x: Tensor, x0: Tensor) -> Tensor:
        length = (x - x0).flatten(1).norm(dim=1)
        others = {"nan": length / (length * 0), "inf": 1 / length, "-0.5": length - 0.5, "1": (-length).exp()}
        return others[given]

    message = f"distance own must be finite, and 0 from an image to itself, got {given} there and .* for 4 of 4"
    with pytest.raises(ValueError, match=message):
        ALMA(distance=own, steps=5)(MODEL, X, Y)


def test_distances_with_an_offset_beside_their_answers_are_told() -> None:
    def own(x: Tensor, x0: Tensor) -> Tensor:
        return (x - x0).flatten(1).square().sum(dim=1) + 0.1

    with pytest.warns(UserWarning, match=r"distance own is 0\.1 from an image to itself, where its answer is"):
        ALMA(distance=own, steps=30)(MODEL, X, Y)


def test_distances_in_large_units_that_are_nearly_0_are_fine() -> None:
    def own(x: Tensor, x0: Tensor) -> Tensor:
        return 1e4 * ((x - x0).flatten(1).square().sum(dim=1) + 1e-8).sqrt()

    assert ALMA(distance=own, steps=5)(MODEL, X, Y).distances.isfinite().any()


@pytest.mark.parametrize(
    ("over", "samples"), [("mean", 4), ("sum", 4), ("amax", 4), ("amin", 4), ("mean", 1), ("sum", 1), ("amin", 1)]
)
def test_distances_that_depend_on_the_batch_are_an_error(over: str, samples: int) -> None:
    def own(x: Tensor, x0: Tensor) -> Tensor:
        d = (x - x0).flatten(1).square().sum(dim=1)
        return d / (0.01 + getattr(d, over)())

    with pytest.raises(ValueError, match=r"distance own must be a sample's own, got .* it depends on the batch"):
        ALMA(distance=own, steps=5)(MODEL, X[:samples], Y[:samples])


@pytest.mark.parametrize("beyond", [torch.nan, torch.inf, -1.0])
def test_distances_that_end_somewhere_are_warned_about(beyond: float) -> None:
    def ends(x: Tensor, x0: Tensor) -> Tensor:
        length = (x - x0).flatten(1).norm(dim=1)
        return torch.where(length > 1e-4, beyond, length)

    with pytest.warns(UserWarning, match="distance ends was NaN, infinite or negative in the search for"):
        result = ALMA(distance=ends, steps=5)(MODEL, X, Y)
    assert not result.distances.isnan().any()


def total(x: Tensor, x0: Tensor) -> Tensor:
    return (x - x0).abs().sum()


def test_probabilities_are_warned_about() -> None:
    with pytest.warns(UserWarning, match=r"look like probabilities.*logits.*take the softmax out"):
        ATTACK(lambda x: MODEL(x).softmax(dim=1), X, Y)


@pytest.mark.parametrize("scale", [2e-3, 1e-2])
def test_logits_beside_which_the_confidence_is_not_small_are_warned_about(scale: float) -> None:
    small = linear(40)
    with torch.no_grad():
        small.layer.weight.mul_(scale)
        small.layer.bias.mul_(scale)
    inputs = torch.rand(8, 40, generator=generator(1))
    labels = predictions(small, inputs)
    with pytest.warns(
        UserWarning, match=r"logits from the boundary \(median\).*confidence=0.0001.*smaller confidence"
    ):
        DDN(steps=3)(small, inputs, labels)
    DDN(steps=3, confidence=1e-4 * scale)(small, inputs, labels)  # without a warning
    DDN(steps=3, confidence=0.05)(MODEL, X, Y)  # as asked for


def test_training_mode_is_warned_about_and_restored() -> None:
    network = nn.Sequential(convolutional(), nn.Dropout(0.5)).train()
    frozen_norm = nn.BatchNorm2d(3).eval()
    network.insert(0, frozen_norm)
    network[1].eval()
    before = [module.training for module in network.modules()]
    statistics = frozen_norm.running_mean.clone()  # type: ignore[union-attr]
    with pytest.warns(UserWarning, match=r"training mode \(Sequential and 1 more module\).*model.eval\(\)"):
        result = ATTACK(network, X, Y)
    assert [module.training for module in network.modules()] == before
    assert torch.equal(frozen_norm.running_mean, statistics)  # type: ignore[arg-type]
    assert result.success.any()


def test_a_model_that_raises_is_restored_too() -> None:
    class Fails(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("no")

    model = Fails().train()
    with pytest.warns(UserWarning, match="training mode"), pytest.raises(RuntimeError, match="no"):
        ATTACK(model, X, Y)
    assert model.training
    assert model.weight.requires_grad


def test_non_finite_logits_during_the_search_end_one_sample_only() -> None:
    def breaks(x: Tensor) -> Tensor:
        moved = (x - X[: len(x)]).abs().flatten(1).sum(dim=1) > 0
        bad = moved & (torch.arange(len(x)) == 1)
        return torch.where(bad[:, None], torch.nan, MODEL(x))

    result = ALMA(distance="l2", steps=40)(breaks, X, Y)
    assert result.status[1] is Status.NON_FINITE
    assert torch.equal(result.adversarials[1], X[1])
    others = ALMA(distance="l2", steps=40)(MODEL, X, Y)
    assert torch.equal(result.adversarials[[0, 2, 3]], others.adversarials[[0, 2, 3]])


def test_random_models_are_told_apart_from_successes() -> None:
    """What a second pass does not confirm is a failure, and said to be one."""
    calls = {"n": 0}

    def forgetful(x: Tensor) -> Tensor:
        calls["n"] += 1
        z = MODEL(x)
        return z if calls["n"] <= 20 else z.detach() + 100 * nn.functional.one_hot(Y[: len(x)], 5)

    with pytest.warns(UserWarning, match=r"4 of 4 adversarials were not classified the same way by a second"):
        result = ALMA(distance="l2", steps=20)(forgetful, X, Y)
    assert not result.success.any()
    assert torch.equal(result.adversarials, X)
    assert result.distances.isinf().all()


def test_hyper_parameters_have_names() -> None:
    with pytest.raises(
        TypeError, match=r"ALMA takes its hyper-parameters by name, e\.g\. ALMA\(distance='l2'\), got 'l1'"
    ):
        ALMA("l1")  # pyright: ignore[reportCallIssue]


def test_results_that_do_not_belong_together() -> None:
    with pytest.raises(ValueError, match="at least one, got none"):
        concatenate([])
    model, inputs = convolutional(), images(2)
    found = [DDN(steps=2)(model, inputs, predictions(model, inputs)) for _ in range(2)]
    assert len(concatenate(found)) == 4
    with pytest.raises(ValueError, match="under one distance, got l1, l2"):
        concatenate([found[0], dataclasses.replace(found[1], distance="l1")])


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown attack 'amla'; did you mean 'alma'\? known: .*alma, apgd"):
        attacks.get("amla")
    with pytest.raises(ValueError, match="unknown hyper-parameter of alma 'step'; did you mean 'steps'"):
        attacks.get("alma", step=10)
    with pytest.raises(ValueError, match=r"unknown attack 'autoattack'; did you mean 'auto'\?"):
        attacks.get("autoattack")
    with pytest.raises(ValueError, match=r"of ddn 'norm'; did you mean 'distance'\?"):
        attacks.get("ddn", norm="l2")
    with pytest.raises(ValueError, match="unknown hyper-parameter of auto 'eps'; known"):
        attacks.get("auto", eps=1)
    with pytest.raises(ValueError, match="unknown attack 'fgsm'; known"):
        attacks.get("fgsm")
    with pytest.raises(ValueError, match="unknown distance 'l3'; known"):
        ALMA(distance="l3")
    assert attacks.get("alma", steps=10) == ALMA(steps=10)
    assert attacks.names()[0] == "alma"


PAIR = "(torch.rand(2, 3), torch.tensor([0, 1]))"
NO_ATTACK = "attack must be one with its hyper-parameters, e.g. minadv.Auto() or minadv.attacks.get('auto')"
NO_IMAGES = "this model takes inputs of shape (batch, 3, height, width), got"
NO_DATA = "data must be a data set with len(data) and data[i] = (image, label), or a pair (inputs, labels), got"
HYPER_PARAMETERS = {
    "ALMA(steps=0)": "steps must be a whole number ≥ 1, got 0",
    "ALMA(steps='10')": "steps must be a whole number ≥ 1, got '10'",
    "ALMA(seed=numpy.float32(0.5))": "seed must be a whole number, got 0.5",
    "ALMA(budget=numpy.int64(0))": "budget must be None or ≥ 1 propagations, got 0",
    "ALMA(step=3)": "unknown hyper-parameter of alma 'step'; did you mean 'steps'",
    f"minadv.minimise(None, *{PAIR}, budgett=3)": "unknown option of minimise 'budgett'; did you mean 'b",
    f"minadv.minimise(None, *{PAIR}, steps=3)": "unknown option of minimise 'steps'; did you mean 'on_step'",
    "ALMA(seed=0.5)": "seed must be a whole number, got 0.5",
    "ALMA(seed=None)": "seed must be a whole number, got None",
    "ALMA(soft_gates='no')": "soft_gates must be True or False, got 'no'",
    "minadv.attacks.get('fab', differences=1)": "differences must be True or False, got 1",
    "ALMA(penalty=3)": "penalty must be one of PHR, P1, P2, P3 or have a derivative, got 3",
    "ALMA.paper('l2', source='book')": "source must be one of table, scripts, scripts-imagenet, got 'book'",
    "minadv.evaluate(None, 'demo', ALMA())": "data must be loaded, got 'demo': give minadv.data.load('demo')",
    f"minadv.evaluate(None, {PAIR}, ALMA(), device='cudda')": "device='cudda' cannot be used here (",
    f"minadv.evaluate(None, {PAIR}, ALMA(), device='cuda:99')": "device='cuda:99' cannot be used here (",
    "minadv.evaluate(None, 3, ALMA())": "data must be a data set with len(data)",
    "ALMA(confidence=-1)": "confidence must be ≥ 0 logits, got -1",
    "ALMA(confidence='a')": "confidence must be ≥ 0 logits, got 'a'",
    "ALMA(confidence=float('inf'))": "confidence must be ≥ 0 logits, got inf",
    "minadv.Auto(memory='x')": "memory must be in [0, 1), got 'x'",
    "minadv.Auto(explored='x')": "explored must be None or in (0, 1], got 'x'",
    "minadv.DDN(gamma='x')": "gamma must be in (0, 1), got 'x'",
    "minadv.models.load('python:os.path:join')": "python:os.path:join is called without arguments, to build",
    "ALMA(levels=1)": "levels must be None or ≥ 2 (256 for 8 bits), got 1",
    "ALMA(budget=0)": "budget must be None or ≥ 1 propagations, got 0",
    "ALMA(alpha=1.0)": "alpha must be None or in [0, 1), got 1.0",
    "ALMA(final_step=0.0)": "final_step must be None or > 0, got 0.0",
    "ALMA(first_distance=-1.0)": "first_distance must be None or > 0, got -1.0",
    "ALMA(constraint='ce')": "constraint must be 'dlr' or 'margin', got 'ce'",
    "ALMA(penalty='P7')": "unknown penalty 'P7'; known: P1, ",
    "ALMA(distance=3)": "distance must be a name",
    "minadv.distances.get('ciede2000', scale='big')": "scale must be 'correct' or 'paper', got 'big'",
    "minadv.distances.get('lpips', trunk='demo', linear='some')": "linear must be 'learned', 'none' or 'paper'",
    "ALMA()(None, [0.5], None)": "inputs must be a torch.Tensor, got list: use torch.as_tensor",
    f"ALMA()(None, *{PAIR}, targets=3)": "targets must be a torch.Tensor, got int: use torch.full((",
    "ALMA()(None, torch.rand(1, 3), [0])": "labels must be a torch.Tensor, got list: use torch.as_tensor",
    "ALMA()('net', torch.rand(1, 3), torch.tensor([0]))": "model must be callable, from inputs to logits, got str",
    f"ALMA()(torch.nn.Linear, *{PAIR})": "model must be one that is built, got the class Linear: build it",
    "minadv.models.Softened(torch.nn.Linear)": "model must be one that is built, got the class Linear",
    f"ALMA()(None, torch.rand(3, 8, 8), {PAIR}[1][0])": (
        "labels must have shape (3,), one class index per input, got (): a single image becomes a batch with "
        "inputs.unsqueeze(0) and labels.unsqueeze(0)"
    ),
    "minadv.DDN(distance='lpips')": "ddn minimises l2, not lpips: attacks that minimise lpips are alma",
    "minadv.data.load('demo')[1:3]": (
        "one sample is read at a time, got a slice: use .select(range(1, 3)) or .batch(range(1, 3))"
    ),
    "minadv.models.load('demo', files=[3])": "files must be a folder or several, as strings or paths, got [3]",
    "minadv.models.load('demo', files=3)": "files must be a folder or several, as strings or paths, got 3",
    "minadv.models.Softened('demo')": "model must be callable, from inputs to logits, got str",
    "minadv.evaluate(None, (torch.rand(0, 3), torch.zeros(0)), ALMA())": "evaluate needs at least one sample",
    "minadv.evaluate(None, ([], []), ALMA())": "inputs and labels must be tensors, got list and list: use torch",
    f"minadv.evaluate(None, {PAIR}, 'auto')": f"{NO_ATTACK}, got 'auto'",
    f"minadv.evaluate(None, {PAIR}, minadv.Auto)": NO_ATTACK,
    f"minadv.evaluate(None, {PAIR}, ALMA(), limit=2.5)": "limit must be None or a whole number ≥ 1, got 2.5",
    f"minadv.evaluate(None, {PAIR}, ALMA(), targets=[1, 1])": "targets must be one class for all samples, an int",
    f"minadv.evaluate(None, {PAIR}, ALMA(), targets=numpy.int64(9))": "model must be callable",  # targets are fine
    f"minadv.evaluate(None, {PAIR} + (1,), ALMA())": f"{NO_DATA} a tuple of 3",
    f"minadv.evaluate(None, torch.utils.data.DataLoader(list(zip(*{PAIR}))), ALMA())": (
        f"{NO_DATA} DataLoader: give its .dataset, evaluate makes its own batches"
    ),
    "minadv.evaluate(None, ['a'], ALMA())": "data[0] must be (image, label) with a tensor as image, got str",
    "minadv.evaluate(None, [('a', 1)], ALMA())": "data[0] must be (image, label) with a tensor as image",
    "minadv.models.load('demo')(torch.rand(2, 1, 32, 32))": (
        f"{NO_IMAGES} (batch, 1, 32, 32): repeat a grey channel with inputs.expand(-1, 3, -1, -1), or store "
        "images with 3 channels (of a folder: leave out ?mode=L)"
    ),
    "minadv.models.load('demo')(torch.rand(3, 32, 32))": f"{NO_IMAGES} (batch, 32, 32): a single image becomes a",
    "minadv.models.load('demo')(torch.rand(2, 32, 32, 3))": f"{NO_IMAGES} (batch, 32, 32, 3): put channels first",
    "minadv.models.load('demo')(torch.rand(2, 3072))": f"{NO_IMAGES} (batch, 3072): choose another model",
    "minadv.distances.get('l2')(torch.rand(4, 3), torch.rand(1, 3))": "l2 compares images of one shape",
    "minadv.distances.get('l2')(numpy.ones((1, 3)), numpy.ones((1, 3)))": (
        "l2 compares tensors, got ndarray and ndarray: use torch.as_tensor"
    ),
}


def test_hyper_parameters_without_a_type_checker() -> None:
    """As a user meets them: the tests' own type checks would come first here."""
    script = (
        "import json, sys, minadv, numpy, torch\nfrom minadv import ALMA\nout = {}\n"
        "for call in json.load(sys.stdin):\n"
        "    try:\n        eval(call)\n        out[call] = 'accepted'\n"
        "    except (TypeError, ValueError) as error:\n        out[call] = str(error)\n"
        "print(json.dumps(out))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(list(HYPER_PARAMETERS)),
        capture_output=True,
        text=True,
        check=True,
    )
    for call, message in json.loads(done.stdout).items():
        assert message.startswith(HYPER_PARAMETERS[call]), f"{call}: {message}"


def test_numbers_of_numpy() -> None:
    """Without the type checks of the tests: they are numbers, and an attack has them as Python's."""
    script = (
        "import json, numpy as np, minadv\nfrom minadv import ALMA\nfrom minadv.hyper_parameters import as_plain\n"
        "attack = ALMA(confidence=np.float32(0.5), budget=np.int64(20), steps=np.int32(5), seed=np.int8(3))\n"
        "assert attack == ALMA(confidence=0.5, budget=20, steps=5, seed=3)\n"
        "assert not any(isinstance(value, np.generic) for value in vars(attack).values()), vars(attack)\n"
        "json.dumps(as_plain(attack))\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_cw_says_that_it_does_not_count_entries() -> None:
    model, inputs = convolutional(), images(2)
    with pytest.warns(UserWarning, match="in tanh space no entry stays as it was.*auto"):
        CW(distance="l0", steps=2, searches=1)(model, inputs, predictions(model, inputs))

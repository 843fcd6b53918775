"""Models and distances that work, but not as usual: answers as good as elsewhere, or an error that says why."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import minadv
from minadv import ALMA, CW, DDN, EAD, FAB, FMN, PDGD, PDPGD, Attack, Auto, DeepFool, SuperDeepFool
from minadv.distances.checks import check_pair
from tests.networks import convolutional, images, predictions

pytestmark = pytest.mark.usefixtures("as_given")

MODEL = convolutional()
X = images(6)
Y = predictions(MODEL, X)
SHORT: tuple[Attack, ...] = (Auto(budget=30), ALMA(steps=20), FMN(steps=20), PDGD(steps=20), PDPGD(steps=20))


def black(x: Tensor) -> Tensor:
    return torch.where(x < 0.3, torch.zeros(()), x)


@pytest.mark.parametrize("attack", SHORT, ids=lambda attack: attack.name)
def test_single_entries_without_a_finite_gradient_do_not_stop_the_others(attack: Attack) -> None:
    """√x has an infinite slope where a pixel is black; everything else of the image still has its own."""
    x = black(X)
    y = MODEL(x.sqrt()).argmax(dim=1)
    found = attack(lambda image: MODEL(image.sqrt()), x, y)
    without = attack(lambda image: MODEL(image.clamp_min(1e-12).sqrt()), x, y)
    assert found.success.all()
    assert without.success.all()
    assert found.distances.median() < 1.3 * without.distances.median()


@pytest.mark.parametrize("attack", SHORT, ids=lambda attack: attack.name)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_models_that_compute_in_another_precision(attack: Attack, dtype: torch.dtype) -> None:
    other = copy.deepcopy(MODEL).to(dtype)

    def model(x: Tensor) -> Tensor:
        return other(x.to(dtype))

    y = model(X).argmax(dim=1)
    found = attack(model, X, y)
    assert found.success.all()
    assert (model(found.adversarials).argmax(dim=1) != y).all()
    assert found.adversarials.dtype == torch.float32


@pytest.mark.parametrize("attack", [*SHORT, EAD(steps=5)], ids=lambda attack: attack.name)
def test_the_default_dtype_changes_nothing(attack: Attack) -> None:
    expected = attack(MODEL, X, Y, trace=True)
    try:
        torch.set_default_dtype(torch.float64)
        found = attack(MODEL, X, Y, trace=True)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found.adversarials, expected.adversarials)
    assert found.trace is not None
    assert found.trace.distances.dtype == torch.float32


@pytest.mark.filterwarnings("ignore:.*not classified the same way:UserWarning")
@pytest.mark.parametrize("attack", SHORT, ids=lambda attack: attack.name)
def test_success_is_that_of_the_batch_as_it_is_returned(attack: Attack) -> None:
    """A model that normalises by its batch decides otherwise with other images in it."""
    model = nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), MODEL).eval()
    y = model(X).argmax(dim=1)
    with pytest.warns(UserWarning, match="normalises by its batch"):
        found = attack(model, X, y)
    wrong = model(found.adversarials).argmax(dim=1) != y
    assert torch.equal(found.success, wrong)


def test_samples_without_budget_left_end_a_nested_search() -> None:
    """One sample is adversarial before its budget is spent; the others must not wait for it in empty loops."""
    model, calls = convolutional(), list[int]()
    found = SuperDeepFool(budget=20)(model, X, predictions(model, X), on_step=lambda _: calls.append(1))
    assert len(calls) < 300
    assert (found.forwards + found.backwards <= 20).all()


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # torch itself looks
@pytest.mark.parametrize("attack", [Auto(budget=20), FAB(steps=2), DeepFool(steps=2)], ids=lambda one: one.name)
def test_compiled_models_are_attacked_or_refused(attack: Attack) -> None:
    """Torch settles at the first backward whether there may be a second; what it does depends on its caches."""
    torch._dynamo.reset()
    compiled = torch.compile(copy.deepcopy(MODEL), backend="aot_eager")
    assert ALMA(steps=10)(compiled, X, Y).success.any()
    try:
        found = attack(compiled, X, Y)
    except ValueError as error:
        if "pass the model as it was before" not in str(error):
            raise
    else:
        assert torch.equal(found.success, attack(MODEL, X, Y).success)


def test_a_model_that_can_be_differentiated_once_is_refused() -> None:
    class Once(torch.autograd.Function):
        """Says what torch says of compiled graphs whose memory was given away."""

        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.calls = 0
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *grad_outputs: Any) -> Any:
            ctx.calls += 1
            if ctx.calls > 1:
                raise RuntimeError("This backward function was compiled with non-empty donated buffers")
            return grad_outputs[0]

    def model(x: Tensor) -> Tensor:
        return MODEL(Once.apply(x))

    assert ALMA(steps=10)(model, X, Y).success.any()
    with pytest.raises(ValueError, match=r"torch\.compile.*pass the model as it was before"):
        Auto(budget=20)(model, X, Y)


def test_models_made_in_inference_mode() -> None:
    with torch.inference_mode():
        model = copy.deepcopy(MODEL)
    before = [parameter.requires_grad for parameter in model.parameters()]
    with pytest.raises(ValueError, match=r"parameters were made under torch\.inference_mode.*outside of it"):
        Auto(budget=5)(model, X, Y)
    assert [parameter.requires_grad for parameter in model.parameters()] == before


def test_a_model_with_one_parameter_of_another_precision() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))
            self.model = copy.deepcopy(MODEL)

        def forward(self, x: Tensor) -> Tensor:
            return self.model(x) * self.scale.float()

    assert ALMA(steps=20)(Scaled().eval(), X, Y).success.all()


@pytest.mark.parametrize(
    ("distance", "error", "message"),
    [
        (lambda x, x0: x0.sub_(x).flatten(1).norm(dim=1), ValueError, r"changed its images in place"),
        (lambda x, x0: x.sub_(x0).flatten(1).norm(dim=1), ValueError, r"changed its images in place"),
        (lambda x, x0: 1.0, TypeError, r"must return a tensor of shape \(6,\), got float"),
        (lambda x, x0: ((x - x0).flatten(1).norm(dim=1),), TypeError, r"must return a tensor .* got tuple"),
    ],
)
def test_distances_that_are_none(
    distance: Callable[[Tensor, Tensor], Tensor], error: type[Exception], message: str
) -> None:
    x = X.clone()
    with pytest.raises(error, match=message):
        minadv.minimise(MODEL, x, Y, distance, 20)
    assert torch.equal(x, X)


def test_a_distance_in_double_precision() -> None:
    found = minadv.minimise(MODEL, X, Y, lambda x, x0: (x.double() - x0.double()).flatten(1).norm(dim=1), 30)
    plain = minadv.minimise(MODEL, X, Y, lambda x, x0: (x - x0).flatten(1).norm(dim=1), 30)
    torch.testing.assert_close(found.distances, plain.distances, rtol=0.02, atol=0)


def test_distances_compare_floating_point_images() -> None:
    image = torch.zeros(1, 3, 16, 16, dtype=torch.int64)
    with pytest.raises(TypeError, match=r"ssim compares floating-point images.*torch\.int64.*/ 255"):
        check_pair("ssim", image, image)


def test_minimise_takes_the_options_of_a_call() -> None:
    steps = list[int]()
    found = minadv.minimise(MODEL, X, Y, budget=10, trace=True, on_step=lambda _: steps.append(1), fill_up=False)
    assert found.trace is not None
    assert steps


@pytest.mark.parametrize("attack", SHORT, ids=lambda attack: attack.name)
def test_the_trace_of_a_search_that_ends_before_its_first_query(attack: Attack) -> None:
    labels = torch.cat(((Y[:1] + 1) % 5, Y[1:]))  # the first is adversarial already
    found = attack(MODEL, X, labels, trace=True, on_step=lambda _: True)
    assert found.trace is not None
    assert torch.equal(found.trace.distances[-1], found.distances)


@pytest.mark.parametrize("attack", SHORT, ids=lambda attack: attack.name)
def test_gradients_that_are_zero_are_warned_about(attack: Attack) -> None:
    """Rounding within a model leaves no gradient: what is found then is chance, and looks like robustness."""
    with pytest.warns(UserWarning, match=r"gradient was exactly 0 .* for 6 of 6 samples.*minadv diagnose"):
        attack(lambda image: MODEL((image * 255).round() / 255), X, Y)


def test_one_gradient_that_is_zero_among_others_is_counted_alone() -> None:
    def model(image: Tensor) -> Tensor:
        first = torch.arange(len(image))[:, None, None, None] == 0
        return MODEL(torch.where(first, image.detach(), image))

    with pytest.warns(UserWarning, match="for 1 of 6 samples"):
        found = ALMA(steps=20)(model, X, Y, fill_up=False)
    assert found.success[1:].all()


@pytest.mark.filterwarnings("ignore:the gradient was exactly 0")
@pytest.mark.parametrize("scale", [0.0, 1e-7])
def test_logits_that_hardly_differ_are_warned_about(scale: float) -> None:
    with pytest.warns(UserWarning, match="confidence=0.0001 .* scale the model's logits"):
        found = ALMA(steps=10)(lambda image: scale * MODEL(image), X, Y * 0)
    assert not found.success.any()


@pytest.mark.parametrize("distance", ["l2", "ssim", "ciede2000", "lpips:trunk=demo"])
def test_only_the_models_passes_are_in_the_callers_autocast(distance: str) -> None:
    attack = Auto(distance=distance, budget=30)
    seen: list[bool] = []

    def model(x: Tensor) -> Tensor:
        seen.append(torch.is_autocast_enabled("cpu"))
        with torch.autocast("cpu", enabled=False):
            return MODEL(x)

    expected = attack(model, X, Y)
    del seen[:]
    with torch.autocast("cpu", torch.bfloat16):
        found = attack(model, X, Y)
    assert torch.equal(found.adversarials, expected.adversarials)
    assert torch.equal(found.distances, expected.distances)
    assert all(seen[:-1])
    assert not seen[-1]  # the verification


@pytest.mark.parametrize("kind", [torch.tensor, np.bool_, bool])
@pytest.mark.parametrize(("answer", "most"), [(True, 1), (False, 40)])
def test_a_callback_ends_a_search_with_any_kind_of_true(
    kind: Callable[[bool], object], answer: bool, most: int
) -> None:
    steps: list[int] = []
    DDN(steps=40)(MODEL, X, Y, on_step=lambda _: steps.append(1) or kind(answer))
    assert len(steps) == most


@pytest.mark.parametrize("kind", [torch.tensor, np.int64, int])
def test_what_else_a_callback_returns_means_nothing(kind: Callable[[int], object]) -> None:
    steps: list[int] = []
    DDN(steps=40)(MODEL, X, Y, on_step=lambda _: steps.append(1) or kind(1))
    assert len(steps) == 40


@pytest.mark.parametrize("attack", [Auto(budget=20), ALMA(steps=20), CW(steps=20, searches=2)], ids=repr)
def test_a_distance_of_your_own_may_know_one_precision_alone(attack: Attack) -> None:
    features = nn.Linear(X[0].numel(), 7)  # of float32

    def perceived(x: Tensor, x0: Tensor) -> Tensor:
        return (features(x.flatten(1)) - features(x0.flatten(1))).norm(dim=1) + (x - x0).flatten(1).norm(dim=1)

    found = replace(attack, distance=perceived)(MODEL, X, Y)
    assert found.success.any()
    expected = perceived(found.adversarials, X)
    torch.testing.assert_close(found.distances[found.success], expected.detach()[found.success])

    def broken(x: Tensor, x0: Tensor) -> Tensor:
        return perceived(x, x0) if torch.is_grad_enabled() or len(x) > 2 else perceived(x[:, :1], x0)

    with pytest.raises(RuntimeError):  # what is wrong in both is not hidden
        replace(attack, distance=broken)(MODEL, X[:2], Y[:2])


def test_what_has_a_negative_distance_is_no_success() -> None:
    def partly(x: Tensor, x0: Tensor) -> Tensor:
        delta = (x - x0).flatten(1)
        return delta.norm(dim=1) - 8 * delta[:, 0].abs()

    with pytest.warns(UserWarning, match=r"negative in the search for \d of 6 .* count as failures: it has to"):
        found = ALMA(steps=40, distance=partly)(MODEL, X, Y)
    assert (found.distances >= 0).all()
    lost = ~found.success
    assert lost.any()
    assert torch.equal(found.adversarials[lost], X[lost])
    assert found.distances[lost].isinf().all()


def test_gradients_that_are_nan_are_warned_about() -> None:
    def model(x: Tensor) -> Tensor:
        return MODEL(x) + (0 * (0 * x.flatten(1).sum(dim=1)).sqrt())[:, None]

    assert model(X).isfinite().all()
    with pytest.warns(UserWarning, match=r"exactly 0 \(or not finite\) .* for 6 of 6"):
        FMN(steps=10)(model, X, Y)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("distance", ["l1", "l2", "linf"])
def test_the_margin_has_no_scale(distance: str, classes: int) -> None:
    model = convolutional(classes=classes)
    y = predictions(model, X)
    found = [
        ALMA(distance=distance, steps=100, constraint="margin", confidence=1e-4 * scale)(
            lambda x, scale=scale: scale * model(x), X, y
        )
        for scale in (0.25, 1, 64)
    ]
    assert all(one.success.all() for one in found)
    for other in found[1:]:
        assert torch.equal(found[0].adversarials, other.adversarials)


@pytest.mark.parametrize("p", [3, 0.5, -1, float("nan")])
def test_orders_that_are_not_known_are_refused(p: float) -> None:
    with pytest.raises(ValueError, match=r"p must be 0, 1, 2 or math\.inf, got"):
        minadv.distances.Lp(p)

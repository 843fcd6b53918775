"""What holds for every attack, looked at closely on ALMA with many settings: verified answers, per-sample
independence, honest counts, no side effects. Every other attack is in test_conformance.
"""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from minadv import ALMA, FAB, Result, Status, distances
from minadv.attacks.base import Attack
from minadv.goals import Untargeted
from minadv.oracle import Oracle
from minadv.verification import Settings
from tests.networks import convolutional, generator, images, linear, predictions, with_absent_classes

pytestmark = pytest.mark.usefixtures("as_given")

ATTACKS: list[Attack] = [
    ALMA(distance="l2", steps=40),
    ALMA.paper("l2", 40),
    ALMA(distance="l1", steps=40),
    ALMA(distance="l0", steps=40),
    ALMA(distance="linf", steps=40),
    ALMA(distance="ssim", steps=40),
    ALMA(distance="ciede2000", steps=40),
    ALMA(distance=distances.get("lpips", trunk="demo"), steps=40),
    ALMA(distance="l2", steps=40, levels=256),
    ALMA(distance="l2", steps=40, confidence=0.3),
    ALMA(distance="l2", steps=40, constraint="margin", penalty="PHR"),
]


def label(attack: Attack) -> str:
    return f"{distances.resolve(attack.distance).name}-{attack.levels}-{attack.confidence}"


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return convolutional()


def batch(model: nn.Module, count: int = 8) -> tuple[Tensor, Tensor]:
    x = images(count)
    return x, predictions(model, x)


@pytest.mark.parametrize("attack", ATTACKS, ids=label)
@pytest.mark.parametrize("targeted", [False, True])
def test_answers_are_what_they_say(attack: Attack, targeted: bool, model: nn.Module) -> None:
    x, labels = batch(model)
    targets = (labels + 1) % 5 if targeted else None
    result = attack(model, x, labels, targets=targets)
    assert isinstance(result, Result)
    assert result.success.float().mean() >= 0.5
    a = result.adversarials
    assert a.shape == x.shape
    assert ((a >= 0) & (a <= 1)).all()
    assert torch.equal(a[~result.success], x[~result.success])
    with torch.no_grad():
        z = model(a)
    met = z.argmax(dim=1) == targets if targets is not None else z.argmax(dim=1) != labels
    assert torch.equal(met[result.success], torch.ones_like(met[result.success]))
    assert (result.margins[result.success] < -max(attack.confidence - 1e-4, 0)).all()
    assert torch.equal(result.predictions, z.argmax(dim=1))
    recomputed = distances.resolve(attack.distance)(a, x)
    torch.testing.assert_close(result.distances[result.success], recomputed[result.success], rtol=1e-4, atol=1e-7)
    assert (result.distances[~result.success] == math.inf).all()
    assert result.status == tuple(Status.FOUND if s else Status.NOT_FOUND for s in result.success)
    assert (result.forwards == 40).all()
    assert (result.backwards == 40).all()
    assert "adversarial (ASR" in str(result)
    assert f"{attack.confidence:g} logits beyond" in str(result)
    assert repr(result) == f"<Result: {result}>"


@pytest.mark.parametrize("attack", ATTACKS, ids=label)
def test_a_sample_does_not_depend_on_its_batch(attack: Attack, model: nn.Module) -> None:
    x, labels = batch(model)
    together = attack(model, x, labels)
    order = torch.tensor([5, 2, 7, 0, 1, 6, 4, 3])
    permuted = attack(model, x[order], labels[order])
    # not close but equal: the smallest difference in rounding would grow with every step
    assert torch.equal(permuted.adversarials, together.adversarials[order])
    for i in (0, 3):
        alone = attack(model, x[i : i + 1], labels[i : i + 1])
        assert torch.equal(alone.adversarials[0], together.adversarials[i])


@pytest.mark.parametrize("attack", ATTACKS, ids=label)
def test_same_seed_same_result_and_no_side_effects(attack: Attack, model: nn.Module) -> None:
    x, labels = batch(model)
    x.requires_grad_()
    for parameter in model.parameters():
        parameter.requires_grad_()
        parameter.grad = torch.ones_like(parameter)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rng, x_before, labels_before = torch.random.get_rng_state(), x.detach().clone(), labels.clone()
    results = [attack(model, x, labels) for _ in range(2)]
    assert torch.equal(results[0].adversarials, results[1].adversarials)
    assert torch.equal(torch.random.get_rng_state(), rng)
    assert torch.equal(x.detach(), x_before)
    assert torch.equal(labels, labels_before)
    assert x.grad is None
    assert x.requires_grad
    assert not results[0].adversarials.requires_grad
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    for parameter in model.parameters():
        assert parameter.requires_grad
        assert parameter.grad is not None
        assert (parameter.grad == 1).all()
        parameter.grad = None


@pytest.mark.parametrize("budget", [1, 2, 3, 20, 21, 79, 80, 1000])
def test_budget_is_respected_and_the_best_so_far_comes_back(budget: int, model: nn.Module) -> None:
    x, labels = batch(model)
    calls = {"forward": 0}
    handle = model.register_forward_hook(lambda *_: calls.update(forward=calls["forward"] + 1))
    limited = ALMA(distance="l2", steps=40, budget=budget)(model, x, labels, trace=True)
    handle.remove()
    spent = limited.forwards + limited.backwards
    assert (spent == min(budget, 80)).all()
    # what was counted is what happened: one call per forward, and one more to verify
    assert calls["forward"] == int(limited.forwards[0]) + 1
    full = ALMA(distance="l2", steps=40)(model, x, labels, trace=True)
    assert full.trace is not None
    seen = int(limited.forwards[0])
    best = full.trace.distances[seen - 1]
    torch.testing.assert_close(limited.distances, best, rtol=1e-4, atol=1e-5)
    assert (full.trace.distances.diff(dim=0).nan_to_num(0) <= 0).all()
    assert full.trace.propagations[:, 0].tolist() == list(range(1, 80, 2))


def test_already_adversarial_samples_cost_one_forward(model: nn.Module) -> None:
    x, labels = batch(model)
    wrong = torch.tensor([True, False, False, True, False, False, False, False])
    labels = torch.where(wrong, (labels + 1) % 5, labels)
    result = ALMA(distance="l2", steps=40)(model, x, labels, trace=True)
    assert result.success[wrong].all()
    assert (result.distances[wrong] == 0).all()
    assert torch.equal(result.adversarials[wrong], x[wrong])
    assert (result.forwards[wrong] == 1).all()
    assert (result.backwards[wrong] == 0).all()
    assert (result.forwards[~wrong] == 40).all()
    assert {result.status[i] for i in wrong.nonzero().flatten()} == {Status.ALREADY}
    assert result.trace is not None
    assert (result.trace.distances[:, wrong] == 0).all()
    # and the others do as well as without them
    others = ALMA(distance="l2", steps=40)(model, x[~wrong], labels[~wrong])
    assert torch.equal(result.adversarials[~wrong], others.adversarials)


@pytest.mark.parametrize("distance", ["l2", "ssim", "ciede2000", "lpips:trunk=demo"])
def test_a_batch_that_is_all_adversarial(model: nn.Module, distance: str) -> None:
    x, labels = batch(model, 3)
    result = ALMA(distance=distance)(model, x, (labels + 1) % 5)
    assert result.status == (Status.ALREADY,) * 3
    assert result.median == 0
    assert result.forwards.tolist() == [1, 1, 1]
    assert result.clean_predictions.tolist() == labels.tolist()


def test_failures_are_the_original_and_never_count() -> None:
    """Defect D1 of other libraries: failed rows as black images, some of them counted as successes."""
    weight = torch.zeros(3, 12)
    constant = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).eval()
    constant.load_state_dict({"1.weight": weight, "1.bias": torch.tensor([1.0, 0.0, -1.0])})
    x = torch.rand(4, 3, 2, 2, generator=generator())
    with pytest.warns(UserWarning, match="gradient was exactly 0 .* for 4 of 4"):
        result = ALMA(distance="l2", steps=20)(constant, x, torch.zeros(4, dtype=torch.int64))
    assert not result.success.any()
    assert torch.equal(result.adversarials, x)
    assert (result.distances == math.inf).all()
    assert result.status == (Status.NOT_FOUND,) * 4
    assert result.asr == 0
    assert "– (ASR below 50 %)" in str(result)


@pytest.mark.parametrize("distance", ["l1", "l2"])
def test_success_survives_another_classification(distance: str) -> None:
    """Defect D4: points on the boundary flip when classified again in another batch."""
    model = convolutional(classes=10, seed=3)
    x = images(64, seed=11)
    labels = predictions(model, x)
    result = ALMA(distance=distance, steps=60)(model, x, labels)
    assert result.success.all()
    for size in (1, 7, 64):
        again = torch.cat([predictions(model, part) for part in result.adversarials.split(size)])
        assert (again != labels).all()
    assert (result.margins <= -4e-5).all()


def test_levels_survive_eight_bits_and_others_say_when_they_do_not(model: nn.Module) -> None:
    """Defect D5: adversarials lost on rounding without being told."""
    x = (images(16) * 255).round() / 255
    labels = predictions(model, x)
    result = ALMA(distance="l2", steps=60, levels=256)(model, x, labels)
    assert result.success.all()
    saved = (result.adversarials * 255).round().to(torch.uint8)
    assert torch.equal(saved.float() / 255, result.adversarials)
    assert (predictions(model, saved.float() / 255) != labels).all()


def test_confidence_demands_a_margin(model: nn.Module) -> None:
    x, labels = batch(model)
    near = ALMA(distance="l2", steps=60)(model, x, labels)
    far = ALMA(distance="l2", steps=60, confidence=0.2)(model, x, labels)
    assert (far.margins[far.success] < -0.19).all()
    assert (far.distances >= near.distances * 0.99).all()


def test_confidence_is_demanded_beside_masked_classes(model: nn.Module) -> None:
    x, labels = batch(model)
    passes: list[int] = []

    def less_sure_in_the_end(x: Tensor) -> Tensor:
        passes.append(len(x))
        return with_absent_classes(model(x) * (1 if len(passes) <= 60 else 0.5))

    with pytest.warns(UserWarning, match="8 of 8 adversarials were not classified the same way"):
        found = ALMA(distance="l2", steps=60, confidence=0.2)(less_sure_in_the_end, x, labels)
    assert not found.success.any()


def test_targeted_reaches_the_target(model: nn.Module) -> None:
    x, labels = batch(model)
    targets = (labels + 2) % 5
    result = ALMA(distance="l2", steps=100)(model, x, labels, targets=targets)
    assert torch.equal(result.predictions[result.success], targets[result.success])
    assert result.success.all()


def test_two_classes_with_the_margin() -> None:
    model = linear(48, classes=2, seed=4)
    x = images(4, side=4)
    labels = predictions(model, x)
    with pytest.raises(ValueError, match=r"dlr_plus needs at least 3 classes.*have 2.*constraint='margin'"):
        ALMA(distance="l2")(model, x, labels)
    assert ALMA(distance="l2", steps=100, constraint="margin")(model, x, labels).success.all()


def test_zero_one_images_are_no_obstacle(model: nn.Module) -> None:
    """Defect D3: tanh-space attacks never leave images of zeros and ones."""
    x = images(8).round()
    labels = predictions(model, x)
    assert ALMA(distance="l2", steps=60)(model, x, labels).success.all()


def test_inputs_of_any_rank() -> None:
    model = linear(10)
    x = torch.rand(6, 10, generator=generator(5))
    labels = predictions(model, x)
    for distance in ("l0", "l1", "l2", "linf"):
        assert ALMA(distance=distance, steps=200)(model, x, labels).success.all()


def test_callers_without_gradients_and_in_inference_mode(model: nn.Module) -> None:
    x, labels = batch(model, 4)
    expected = ALMA(distance="l2", steps=20)(model, x, labels).distances
    with torch.no_grad():
        torch.testing.assert_close(ALMA(distance="l2", steps=20)(model, x, labels).distances, expected)
    with torch.inference_mode():
        inside = images(4)
        torch.testing.assert_close(ALMA(distance="l2", steps=20)(model, inside, labels).distances, expected)


def test_a_users_own_distance(model: nn.Module) -> None:
    def weighted(x: Tensor, x0: Tensor) -> Tensor:
        weight = torch.linspace(0.5, 2, x.shape[-1])
        return ((weight * (x - x0)).square().flatten(1).sum(dim=1) + 1e-12).sqrt()

    x, labels = batch(model)
    result = ALMA(distance=weighted, steps=200)(model, x, labels)
    assert result.success.all()
    assert result.distance == "weighted"
    plain = ALMA(distance="l2", steps=200)(model, x, labels)
    # each is better at what it minimises
    assert result.distances.median() <= weighted(plain.adversarials, x).median() * 1.01


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory")]
)
def test_distances_lose_no_precision_when_memory_runs_out(error: RuntimeError, model: nn.Module) -> None:
    def large(x: Tensor, x0: Tensor) -> Tensor:
        if x.dtype == torch.float64:
            raise error
        return ((x - x0).square().flatten(1).sum(dim=1) + 1e-12).sqrt()

    with pytest.raises(RuntimeError, match=str(error)):
        ALMA(distance=large, steps=20)(model, *batch(model))


class WithoutFloat64(Tensor):
    """A tensor as of MPS: float64 is on the CPU alone."""

    def double(self) -> Tensor:  # type: ignore[override]
        raise TypeError("cannot convert a MPS Tensor to float64 dtype")

    def cpu(self) -> Tensor:  # type: ignore[override]
        return self.as_subclass(Tensor)


def test_results_need_no_float64_on_their_device(model: nn.Module) -> None:
    here = ALMA(distance="l2", steps=5)(model, *batch(model))
    names = ("success", "forwards", "backwards")
    there = replace(here, **{name: getattr(here, name).as_subclass(WithoutFloat64) for name in names})
    assert there.asr == here.asr
    assert str(there) == str(here)


def test_steps_can_be_watched(model: nn.Module) -> None:
    x, labels = batch(model)
    seen: list[tuple[int, int]] = []
    ALMA(distance="l2", steps=5)(model, x, labels, on_step=lambda step: seen.append((step.index, step.steps)))
    assert seen == [(i, 5) for i in range(5)]


def test_what_is_watched_are_the_callers_samples(model: nn.Module) -> None:
    """In their order, without copies that fill up a batch, and with those that are adversarial from the start."""
    x, labels = batch(model, 6)
    labels[[1, 4]] = (labels[[1, 4]] + 1) % 5
    seen: list[Tensor] = []
    result = ALMA(distance="l2", steps=30)(model, x, labels, on_step=lambda step: seen.append(step.distances))
    assert seen[0].tolist() == [math.inf, 0, math.inf, math.inf, 0, math.inf]
    assert all(step.shape == (6,) and (after <= step).all() for step, after in pairwise(seen))
    assert (result.distances <= seen[-1] + 1e-6).all()


def test_a_look_builds_no_graph() -> None:
    """The second look of FAB, EAD, … is not going to be differentiated, and must not be paid as if it were."""
    model, x = convolutional(), images(4)
    labels, graphs = predictions(model, x), list[bool]()

    def watched(inputs: Tensor) -> Tensor:
        graphs.append(torch.is_grad_enabled() and inputs.requires_grad)
        return model(inputs)

    FAB(steps=2)(watched, x, labels)
    # clean, then a point to differentiate and a look in each step, and the verification
    assert graphs == [True, True, False, True, False, False]


def test_what_leaves_the_box_after_its_projection_does_not_count(model: nn.Module) -> None:
    x, labels = batch(model)
    answers = ALMA(distance="l2", steps=40, confidence=0.3)(model, x, labels).adversarials
    oracle = Oracle(model, x, {"labels": labels}, Untargeted(labels), distances.get("l2"), Settings())
    projected = oracle.project_(answers.clone())
    assert oracle.probe(projected).adversarial.all()
    projected[:, 0, 0, 0] += 1.01
    assert not oracle.probe(projected).adversarial.any()
    assert not oracle.probe(projected.clone()).adversarial.any()

"""Every attack of the registry, through the same properties. A new attack joins by a line in CASES."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from minadv import Result, attacks, distances
from minadv.attacks.base import Attack
from minadv.attacks.registry import REGISTRY
from minadv.cli import parameters
from tests.networks import convolutional, exact, generator, images, linear, predictions

pytestmark = pytest.mark.usefixtures("as_given")

CLASSES = 5


@dataclass(frozen=True)
class Case:
    """An attack with settings that are quick, and what is known of it.

    Attributes:
        counts: whether a sample's (forwards, backwards) are those of attacks.md.
        linear: settings for the test against the exact optimum, and by how much it may be missed (relative).
        asr: least share of samples for which it must find something.
        binary: whether images of zeros and ones are no obstacle.
    """

    name: str
    distance: str
    settings: dict[str, Any] = field(default_factory=dict)
    counts: Callable[[int, int], bool] = lambda f, b: (f, b) == (40, 40)
    linear: tuple[dict[str, Any], float] | None = None
    asr: float = 0.99
    binary: bool = True

    def attack(self, **others: Any) -> Attack:
        return attacks.get(self.name, distance=self.distance, **self.settings | others)

    def __str__(self) -> str:
        extra = "^T" if self.settings.get("n_targets") else ""
        return f"{self.name}{extra}-{self.distance}"


def steps(count: int = 40, **others: Any) -> dict[str, Any]:
    return {"steps": count, **others}


K = CLASSES


CASES = [
    Case("auto", "l0", {"budget": 40}, linear=({"budget": 100}, 0.02)),
    Case("auto", "l1", {"budget": 40}, linear=({"budget": 1000}, 0.01)),
    Case("auto", "l2", {"budget": 40}, linear=({"budget": 1000}, 0.01)),
    Case("auto", "linf", {"budget": 40}, linear=({"budget": 100}, 0.02)),
    Case("auto", "ssim", {"budget": 40}),
    Case("auto", "ciede2000", {"budget": 40}),
    Case("auto", "lpips:trunk=demo", {"budget": 40}),
    Case("alma", "l2", steps(), linear=(steps(1000), 0.02)),
    Case("alma", "l1", steps(), linear=(steps(1000), 0.02)),
    Case("cw", "l2", steps(searches=3, rate=0.05, c=0.1, abort_early=False),
         lambda f, b: (f, b) == (120, 120), (steps(200, searches=9), 0.02)),
    Case("cw", "ciede2000", steps(searches=3, rate=0.05, c=10, abort_early=False),
         lambda f, b: (f, b) == (120, 120)),
    Case("ead", "l1", steps(searches=3, c=0.1, abort_early=False),
         lambda f, b: (f, b) == (241, 120), (steps(300), 0.15)),
    # its loss, the cross-entropy, mixes the directions to all classes
    Case("ddn", "l2", steps(), linear=(steps(300), 0.3)),
    Case("fmn", "l0", steps(), linear=(steps(300), 0.5)),
    Case("fmn", "l1", steps(), linear=(steps(300), 0.02)),
    Case("fmn", "l2", steps(), linear=(steps(300), 0.02)),
    Case("fmn", "linf", steps(), linear=(steps(300), 0.02)),
    Case("fab", "l1", steps(20), lambda f, b: (f, b) == (41, 20 * K), (steps(30), 0.01)),
    Case("fab", "l2", steps(20), lambda f, b: (f, b) == (41, 20 * K), (steps(30), 0.01)),
    Case("fab", "linf", steps(20), lambda f, b: (f, b) == (41, 20 * K), (steps(30), 0.01)),
    Case("fab", "l2", steps(20, differences=True), lambda f, b: (f, b) == (41, 20 * (K - 1)), (steps(30), 0.01)),
    Case("fab", "l2", steps(20, n_targets=3), lambda f, b: (f, b) == (1 + 3 * 41, 60), (steps(30), 0.01)),
    Case("apgd", "l1", steps(39, radius=40.0)),
    Case("apgd", "l2", steps(39, radius=2.0)),
    Case("apgd", "linf", steps(39, radius=0.2)),
    Case("apgd", "l2", steps(19, n_targets=2, radius=2.0),
         lambda f, b: (f, b) in ((21, 20), (41, 40))),
    Case("minimal_apgd", "l2", steps(20, bisections=4, n_targets=3, largest=2.0),
         lambda f, b: f - b == 8 and b % 21 == 0, (steps(30, bisections=16, n_targets=9), 0.02)),
    Case("minimal_apgd", "linf", steps(20, bisections=4, n_targets=None),
         lambda f, b: f - b == 4 and b == 84, (steps(30, bisections=16, n_targets=9), 0.02)),
    Case("minimal_apgd", "l1", steps(40, bisections=4, n_targets=None, largest=50.0),
         lambda f, b: f - b == 4 and b == 164, (steps(50, bisections=16, n_targets=9), 0.15)),
    Case("percal", "ciede2000", steps(), lambda f, b: (f, b) == (81, 40)),
    Case("pdgd", "l2", steps(), linear=(steps(500), 0.08)),
    Case("pdpgd", "l0", steps(), linear=(steps(500), 1.6)),
    Case("pdpgd", "l1", steps(), linear=(steps(500), 0.2)),
    Case("pdpgd", "l2", steps(), linear=(steps(500), 0.12)),
    Case("pdpgd", "linf", steps(), linear=(steps(500), 0.05)),
    Case("deepfool", "l2", {}, lambda f, b: b == (f - 1) * (K - 1), ({}, 0.06)),
    Case("deepfool", "linf", {}, lambda f, b: b == (f - 1) * (K - 1), ({}, 0.06)),
    Case("superdeepfool", "l2", {}, lambda f, b: (4 * f - b - 44) % 11 == 0, ({}, 0.06)),
    Case("sigma_zero", "l0", steps(), linear=(steps(300), 0.3)),
    Case("trust_region", "l2", {"adaptive": False, "radius": 0.05, "n_classes": 2},
         lambda f, b: b == 3 + (f - 1) // 2 and f % 2 == 1, ({"radius": 0.05}, 0.2)),
    Case("trust_region", "linf", {"n_classes": 9},
         lambda f, b: b == 5 + (f - 1) // 3 and f % 3 == 1, ({}, 0.2)),
    Case("strattack", "l2", steps(20, searches=3, refine_rounds=2, refine_steps=10),
         lambda f, b: (f, b) == (140, 80), (steps(200, searches=6, refine_steps=100), 0.6)),
    Case("admm", "l0", steps(10, outer=2, searches=3), lambda f, b: (f, b) == (120, 60)),
    Case("admm", "l1", steps(10, outer=2, searches=3), lambda f, b: (f, b) == (120, 60), ({}, 1.6)),
    Case("admm", "l2", steps(10, outer=2, searches=3), lambda f, b: (f, b) == (120, 60), ({}, 0.1), binary=False),
    Case("admm", "linf", steps(10, outer=2, searches=3),
         lambda f, b: (f, b) == (120, 60), ({}, 0.3), binary=False),
    Case("lpa", "lpips:trunk=demo", steps(5, bisections=4), lambda f, b: f - b == 4, asr=0.7),
    Case("pqp", "ssim", steps(300, floor=0.2), lambda f, b: b == 0 and f % 2 == 1, asr=0.1, binary=False),
]  # fmt: skip
everywhere = pytest.mark.parametrize("case", CASES, ids=str)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return convolutional(classes=CLASSES)


@pytest.fixture(scope="module")
def results() -> dict[str, Result]:
    """Runs that several tests look at."""
    return {}


def batch(model: nn.Module, count: int = 8) -> tuple[Tensor, Tensor]:
    x = images(count)
    return x, predictions(model, x)


def untargeted(case: Case, model: nn.Module, results: dict[str, Result]) -> Result:
    key = f"{case}{case.settings}"
    if key not in results:
        results[key] = case.attack()(model, *batch(model), trace=True)
    return results[key]


def test_every_attack_and_distance_has_a_case() -> None:
    assert {case.name for case in CASES} == set(attacks.names())
    for name, card in REGISTRY.items():
        tried = {case.distance.partition(":")[0] for case in CASES if case.name == name}
        assert card.distances is None or tried == set(card.distances)


def check_answers(
    result: Result, case: Case, model: nn.Module, x: Tensor, wrong: Callable[[Tensor], Tensor]
) -> None:
    a, z = result.adversarials, model(result.adversarials)
    assert a.shape == x.shape
    assert ((a >= 0) & (a <= 1)).all()
    assert torch.equal(a[~result.success], x[~result.success])
    assert wrong(z.argmax(dim=1))[result.success].all()
    assert (result.margins[result.success] < -5e-5).all()
    again = distances.resolve(case.distance)(a.double(), x.double())
    torch.testing.assert_close(result.distances[result.success], again[result.success].to(a.dtype))
    assert (result.distances[~result.success] == math.inf).all()


@everywhere
def test_finds_verified_adversarials(case: Case, model: nn.Module, results: dict[str, Result]) -> None:
    x, labels = batch(model)
    result = untargeted(case, model, results)
    assert result.asr >= case.asr
    check_answers(result, case, model, x, lambda predicted: predicted != labels)


@everywhere
def test_counts_are_those_of_the_formulas(case: Case, model: nn.Module, results: dict[str, Result]) -> None:
    result = untargeted(case, model, results)
    pairs = list(zip(result.forwards.tolist(), result.backwards.tolist(), strict=True))
    assert all(case.counts(f, b) for f, b in pairs), pairs


@everywhere
def test_targeted_or_says_who_can(case: Case, model: nn.Module) -> None:
    x, labels = batch(model)
    targets = (labels + 1) % CLASSES
    if not REGISTRY[case.name].targeted:
        with pytest.raises(ValueError, match=rf"{case.name} cannot be targeted.*alma, .*ddn"):
            case.attack()(model, x, labels, targets=targets)
        return
    result = case.attack()(model, x, labels, targets=targets)
    assert result.success.double().mean() >= min(case.asr, 0.7)
    check_answers(result, case, model, x, lambda predicted: predicted == targets)


@everywhere
def test_a_sample_does_not_depend_on_its_batch(case: Case, model: nn.Module, results: dict[str, Result]) -> None:
    x, labels = batch(model)
    together, attack = untargeted(case, model, results), case.attack()
    order = torch.tensor([5, 2, 7, 0, 1, 6, 4, 3])
    permuted = attack(model, x[order], labels[order])
    assert torch.equal(permuted.adversarials, together.adversarials[order])
    assert torch.equal(permuted.forwards, together.forwards[order])
    for i in (0, 3):
        alone = attack(model, x[i : i + 1], labels[i : i + 1])
        assert torch.equal(alone.adversarials[0], together.adversarials[i])
        assert (alone.forwards[0], alone.backwards[0]) == (together.forwards[i], together.backwards[i])


@everywhere
def test_repeats_itself_and_leaves_no_traces(case: Case, model: nn.Module, results: dict[str, Result]) -> None:
    x, labels = batch(model)
    x.requires_grad_()
    weight = next(model.parameters())
    weight.requires_grad_()
    before, rng = (weight.clone(), x.detach().clone(), labels.clone()), torch.random.get_rng_state()
    result = case.attack()(model, x, labels)
    assert torch.equal(result.adversarials, untargeted(case, model, results).adversarials)
    assert torch.equal(torch.random.get_rng_state(), rng)
    assert all(torch.equal(*pair) for pair in zip((weight, x, labels), before, strict=True))
    assert x.grad is None
    assert weight.grad is None
    assert weight.requires_grad
    assert not result.adversarials.requires_grad


# Auto plans by its budget: see test_auto.py
@pytest.mark.parametrize("case", [case for case in CASES if case.name != "auto"], ids=str)
def test_any_budget_gives_the_best_so_far(case: Case, model: nn.Module, results: dict[str, Result]) -> None:
    x, labels = batch(model)
    trace = untargeted(case, model, results).trace
    assert trace is not None
    calls: list[int] = []
    handle = model.register_forward_hook(lambda _module, inputs, _output: calls.append(len(inputs[0])))
    for budget in (1, 2, 9, 50):
        calls.clear()
        limited = case.attack(budget=budget)(model, x, labels)
        assert (limited.forwards + limited.backwards <= budget).all()
        # what was counted is what happened, but for the verification
        assert sum(calls) <= len(x) * (budget + 1)
        seen = trace.distances.masked_fill(trace.propagations > budget, math.inf)
        torch.testing.assert_close(limited.distances, seen.amin(dim=0), rtol=1e-4, atol=1e-5)
    handle.remove()


@everywhere
def test_zero_one_images(case: Case, model: nn.Module) -> None:
    """Defect D3 of other libraries: tanh space never leaves images of zeros and ones (C&W says so)."""
    x = images(8).round()
    result = case.attack()(model, x, predictions(model, x))
    assert not case.binary or result.asr >= 0.5
    assert torch.equal(result.adversarials[~result.success], x[~result.success])


@everywhere
def test_answers_on_a_grid(case: Case, model: nn.Module) -> None:
    x = (images(6) * 255).round() / 255
    labels = predictions(model, x)
    result = case.attack(levels=256)(model, x, labels)
    assert result.asr >= case.asr
    on_grid = (result.adversarials * 255).round() / 255
    assert torch.equal(result.adversarials, on_grid)


@everywhere
def test_two_classes_where_the_method_allows(case: Case) -> None:
    model = convolutional(classes=2, seed=4)
    x, labels = batch(model)
    apgd = 4 if case.settings.get("n_targets") else 3
    least = apgd if case.name.endswith("apgd") else REGISTRY[case.name].classes
    if least > 2:
        with pytest.raises(ValueError, match=rf"needs at least {least} classes, the model's logits have 2"):
            case.attack()(model, x, labels)
        return
    assert case.attack()(model, x, labels).asr >= min(case.asr, 0.7)


# colours take powers, which do round by place at such sizes; the others need larger images
ODD = [case for case in CASES if not case.distance.startswith(("ciede2000", "lpips", "ssim"))]


@pytest.mark.parametrize("case", ODD, ids=str)
def test_odd_sizes_round_alike(case: Case) -> None:
    """Vectorised kernels round some functions by an entry's place in a tensor: 105 is no multiple of anything."""
    weight = linear(3 * 7 * 5, classes=CLASSES, seed=1).layer.weight.detach()

    def model(inputs: Tensor) -> Tensor:
        """A linear layer whose own rounding does not depend on the batch: matrix products do, at this width."""
        return ((inputs.flatten(1) - 0.5)[:, None] * weight).sum(dim=2)

    x = torch.rand(7, 3, 7, 5, generator=generator(2))
    labels = model(x).argmax(dim=1)
    together = case.attack()(model, x, labels)
    for i in (0, 5):
        alone = case.attack()(model, x[i : i + 1], labels[i : i + 1])
        assert torch.equal(alone.adversarials[0], together.adversarials[i])


@everywhere
def test_a_model_that_says_nan_once(case: Case, model: nn.Module) -> None:
    """One bad answer costs a step, not the sample's search, and no NaN is ever shown to the model."""
    x, labels = batch(model, 4)
    calls: list[bool] = []

    def once(inputs: Tensor) -> Tensor:
        calls.append(bool(inputs.isfinite().all()))
        logits = model(inputs)
        return logits * torch.nan if len(calls) == 2 else logits

    result = case.attack()(once, x, labels)
    assert all(calls)
    assert result.asr >= min(case.asr, 0.7)


@everywhere
def test_progress_never_turns_back(case: Case, model: nn.Module) -> None:
    shares: list[float] = []
    case.attack()(model, *batch(model, 4), on_step=lambda step: shares.append(step.index / step.steps))
    assert shares == sorted(shares)
    assert 0 <= shares[0] <= shares[-1] < 1


@everywhere
def test_callers_in_inference_mode(case: Case, model: nn.Module, results: dict[str, Result]) -> None:
    with torch.inference_mode():
        result = case.attack()(model, *batch(model))
    assert torch.equal(result.adversarials, untargeted(case, model, results).adversarials)


def test_batch_wide_aborts_leave_the_copies_out(model: nn.Module) -> None:
    """A batch of 5 is filled up to 8 with copies of its last sample, which must not count in its sums."""
    x, labels = batch(model, 5)
    for name in ("ead", "cw"):
        attack = attacks.get(name, distance=REGISTRY[name].usual, steps=100, searches=4, c=0.01, compat="batch")
        filled, bare = (attack(model, x, labels, fill_up=fill_up) for fill_up in (True, False))
        assert torch.equal(filled.backwards, bare.backwards)
        assert len(set(filled.backwards.tolist())) == 1


@everywhere
def test_float64(case: Case, model: nn.Module) -> None:
    double = convolutional(classes=CLASSES).double()
    x, labels = batch(double.float())
    result = case.attack()(double.double(), x.double(), labels)
    assert result.adversarials.dtype == result.distances.dtype == torch.float64
    assert result.asr >= min(case.asr, 0.7)


@pytest.mark.parametrize("case", [case for case in CASES if case.linear is not None], ids=str)
def test_exact_optimum_of_a_linear_model(case: Case) -> None:
    assert case.linear is not None
    settings, tolerance = case.linear
    settings = {key: value for key, value in case.settings.items() if key == "n_targets"} | settings
    model = linear(3 * 8 * 8)
    x = 0.5 + 0.4 * (torch.rand(128, 3, 8, 8, generator=generator(1)) - 0.5)
    # those that are farthest from a boundary: near it, first steps overshoot
    x = x[exact(model, x, predictions(model, x), "l2").amin(dim=1).argsort()[-16:]]
    labels = predictions(model, x)
    result = attacks.get(case.name, distance=case.distance, **settings)(model, x, labels)
    assert result.success.all()
    best = exact(model, x, labels, case.distance)
    # a gradient of the largest other logit can settle for the second nearest class, rarely
    reached = best.gather(1, result.predictions[:, None]).squeeze(1)
    assert (result.distances >= best.amin(dim=1) * (1 - 1e-4) - 1e-5).all()
    # where two boundaries meet, rounding decides whether a first-order search ends on time: one of 16 on some CPUs
    assert (result.distances <= reached * (1 + max(tolerance, 0.2)) + 1e-3).all(), result.distances / reached
    assert (result.distances <= reached * (1 + tolerance) + 1e-3).sum() >= 15, result.distances / reached
    assert (result.distances <= best.amin(dim=1) * (1 + tolerance) + 1e-3).double().mean() > 0.85


@pytest.mark.parametrize("name", attacks.names())
def test_unsupported_distances_name_attacks_that_can(name: str) -> None:
    card = REGISTRY[name]
    for distance in ("l0", "l1", "l2", "linf", "ssim", "ciede2000"):
        if card.minimises(distance):
            assert attacks.get(name, distance=distance).distance == distance
        else:
            with pytest.raises(ValueError, match=rf"{name} minimises .*, not {distance}: attacks .* are alma, "):
                attacks.get(name, distance=distance)


@pytest.mark.parametrize("name", attacks.names())
def test_published_settings_and_bad_ones(name: str) -> None:
    cls, usual = attacks.find(name), REGISTRY[name].usual
    assert {f.name: f.default for f in fields(cls)}["distance"] == usual
    # the usual trunk's weights cannot be fetched here
    distance = "lpips:trunk=demo" if usual == "lpips" else usual
    paper = cls.paper(distance, steps=7, seed=3)
    assert (paper.seed, getattr(paper, "steps", 7)) == (3, 7)
    assert type(paper) is cls
    length = "budget" if name == "auto" else "steps"
    with pytest.raises(ValueError, match=f"{length} must be .*≥ 1.*, got 0"):
        attacks.get(name, distance=distance, **{length: 0})


@pytest.mark.parametrize("name", [name for name in attacks.names() if name not in ("alma", "auto")])
def test_the_docstring_tells_the_source_and_every_hyper_parameter(name: str) -> None:
    """`help` shows a class's own docstring, and not those of its bases. ALMA and Auto have pages of their own."""
    cls = attacks.find(name)
    said, shared = cls.__doc__ or "", {field.name for field in fields(Attack)}
    assert re.search(r"\n    Source: .+\*.+\*.* \d{4}", said, flags=re.DOTALL)
    assert all(f"`{field}`" in said.partition("Of every attack: ")[2] for field in shared)
    own = {field.name for field in fields(cls)} - shared
    assert own <= parameters.explained(said).keys()
    assert not re.search(r"^ {8}\w+, [\w, ]+: ", said, flags=re.MULTILINE)  # in a list, each stands alone


def test_readme_shows_what_is_declared() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    for name, card in REGISTRY.items():
        able_to = "every one below, and your own" if card.distances is None else ", ".join(card.distances)
        assert f"| `{name}` | {card.about} | {able_to} | {'yes' if card.targeted else 'no'} |" in readme

"""Soft gates: the same forward passes, ReLUs that pass a share when they are nearly on, and what they find."""

import subprocess
import sys
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import minadv
from minadv import ALMA, FMN, Attack, Auto
from minadv.attacks import gating
from minadv.attacks.auto import refinement, sparse_refinement
from minadv.attacks.auto.families import AJAR
from minadv.attacks.auto.refinement import GATE
from minadv.gates import SoftGates, opened, sides_of
from minadv.models import Softened
from tests.networks import Masked, convolutional, generator, images, predictions
from tests.shared import ROOT

Relu = Callable[[Tensor], Tensor]
RELUS: dict[str, Relu] = {
    "module": nn.ReLU(),
    "module in place": nn.ReLU(inplace=True),
    "functional": functional.relu,
    "functional in place": lambda x: functional.relu(x, True),
    "functional in place by name": lambda x: functional.relu(x, inplace=True),
    "torch": torch.relu,
    "torch in place": torch.relu_,
    "method": Tensor.relu,
    "method in place": Tensor.relu_,
    "by name": lambda x: functional.relu(input=x),
}

KINDS: dict[str, Callable[[str, bool], Attack]] = {
    "auto": lambda distance, on: Auto(distance=distance, budget=60, soft_gates=on),
    "alma": lambda distance, on: ALMA(distance=distance, steps=60, soft_gates=on),
}


def slope(model: Callable[[Tensor], Tensor], x: Tensor, widths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Logits, and the gradient of the first one."""
    leaf = x.clone().requires_grad_()
    if widths is None:
        logits = model(leaf)
    else:
        with SoftGates(widths):
            logits = model(leaf)
    return logits.detach(), torch.autograd.grad(logits[:, 0].sum(), leaf)[0]


@pytest.mark.parametrize("relu", RELUS.values(), ids=RELUS.keys())
def test_every_form_of_relu_passes_what_its_gates_let_through(relu: Relu) -> None:
    g = generator(0)
    x, into, out = (torch.randn(*shape, generator=g, dtype=torch.float64) for shape in ((5, 6), (7, 6), (3, 7)))
    widths = torch.tensor([0.0, 0.01, 0.1, 1.0, 0.0], dtype=torch.float64)

    def model(x: Tensor) -> Tensor:
        return functional.linear(relu(functional.linear(x, into)), out)

    logits, gradient = slope(model, x, widths)
    before = x @ into.T
    torch.testing.assert_close(logits, before.clamp_min(0) @ out.T)
    size = widths[:, None] * before.abs().amax(dim=1, keepdim=True)
    expected = torch.where(widths[:, None] > 0, (1 + before / (before.abs() + size)) / 2, before > 0)
    torch.testing.assert_close(gradient, (expected * out[0]) @ into)


def test_what_is_done_in_place_is_done_though_nobody_takes_its_result() -> None:
    weight = torch.randn(4, 6, generator=generator(1))

    def model(x: Tensor) -> Tensor:
        x = functional.linear(x, weight)
        x.relu_()
        return x

    x = torch.randn(3, 6, generator=generator(2))
    logits, gradient = slope(model, x, torch.full((3,), 0.1))
    assert torch.equal(logits, functional.linear(x, weight).clamp_min(0))
    assert not torch.equal(gradient, slope(model, x, None)[1])


def test_relus_of_a_part_of_a_tensor_in_place_have_gates_too() -> None:
    x, widths = torch.randn(4, 6, generator=generator(3)), torch.tensor([0.5, 0.0, 0.1, 0.5])

    def in_place(x: Tensor) -> Tensor:
        x = x * 1
        x[:, :3].relu_()
        functional.relu(x.view(4, 2, 3)[:, 1], inplace=True)
        return x.sum(dim=1, keepdim=True)

    def apart(x: Tensor) -> Tensor:
        return torch.cat((x[:, :3].relu(), x[:, 3:].relu()), dim=1).sum(dim=1, keepdim=True)

    for mine, its in zip(slope(in_place, x, widths), slope(apart, x, widths), strict=True):
        torch.testing.assert_close(mine, its)
    assert not torch.equal(slope(in_place, x, widths)[1], slope(apart, x, None)[1])


def turned(x: Tensor) -> Tensor:
    """Features first: no first axis of a batch."""
    return (x.flatten(1).T.contiguous() * 2).relu().sum(dim=0)[:, None]


def by_sample(x: Tensor) -> Tensor:
    return torch.vmap(lambda row: (2 * row).relu().sum()[None])(x.flatten(1))


def own_slope(x: Tensor) -> Tensor:
    """A gradient by torch.func."""
    return torch.func.grad(lambda z: (2 * z).relu().square().sum())(x).flatten(1).sum(dim=1, keepdim=True)


@pytest.mark.parametrize("model", [turned, by_sample, own_slope])
def test_layers_that_are_not_of_a_batch_keep_their_gates_and_say_so(model: Callable[[Tensor], Tensor]) -> None:
    x = torch.randn(4, 6, generator=generator(3))
    for mine, its in zip(slope(model, x, torch.full((4,), 0.5)), slope(model, x, None), strict=True):
        assert torch.equal(mine, its)
    leaf, gates = x.clone().requires_grad_(), SoftGates(torch.full((4,), 0.5))
    with gates:
        _ = model(leaf)
    assert gates.kept
    softened = Softened(model)
    with pytest.warns(UserWarning, match=r"Softened: some ReLUs of the model keep their own gates.*first axis"):
        assert torch.equal(softened(leaf), model(leaf))
    assert torch.equal(softened(leaf), model(leaf))  # once is enough


def test_an_attack_says_when_relus_keep_their_gates() -> None:
    inner = Masked().eval()
    x = 0.5 + 0.15 * torch.rand(8, 1, 7, 7, generator=generator(8))

    def in_parts(x: Tensor) -> Tensor:
        return torch.cat([inner(part) for part in x.split(3)])

    with pytest.warns(UserWarning, match=r"masked, and some ReLUs .* keep their own gates.*soft_gates=False"):
        whole = ALMA(steps=30)(in_parts, x, predictions(inner, x))
    hard = ALMA(steps=30, soft_gates=False)(in_parts, x, predictions(inner, x))
    assert torch.equal(whole.adversarials, hard.adversarials)


class Purified(nn.Module):
    """A model that first goes along a gradient of its own."""

    def __init__(self, backward: bool) -> None:
        super().__init__()
        self.inner, self.backward = Masked(), backward

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = x if x.requires_grad and not self.backward else x.detach().requires_grad_()
            energy = self.inner(leaf).logsumexp(dim=1).sum()
            if self.backward:
                energy.backward()
                assert leaf.grad is not None
                return self.inner(x + 0.05 * leaf.grad.sign())
            return self.inner(x + 0.05 * torch.autograd.grad(energy, leaf, create_graph=True)[0])


@pytest.mark.parametrize("backward", [False, True])
def test_a_gradient_that_the_model_takes_itself_is_its_own(backward: bool) -> None:
    model, x = Purified(backward).eval(), 0.5 + 0.15 * torch.rand(8, 1, 7, 7, generator=generator(8))
    logits, gradient = slope(model, x, torch.full((8,), 0.1))
    plain, its = slope(model, x, None)
    assert torch.equal(logits, plain)
    assert not torch.equal(gradient, its)
    softened, labels = Softened(model, 0.1), predictions(model, x)
    for attack in (FMN(distance="linf", steps=40), ALMA(steps=40)):
        found = attack(softened, x, labels)
        assert torch.equal(found.success, predictions(model, found.adversarials) != labels)


@pytest.mark.parametrize("width", [0.0, 0.1])
def test_an_infinite_slope_behind_a_relu_that_is_off_passes_nothing(width: float) -> None:
    x = torch.tensor([[-1.0, 0.5, 2.0], [0.25, -3.0, 1.0]])

    def model(x: Tensor) -> Tensor:
        return (2 * x).relu().sqrt().sum(dim=1, keepdim=True)

    widths = torch.tensor([width, 0.0])
    logits, gradient = slope(model, x, widths)
    plain, its = slope(model, x, None)
    assert torch.equal(logits, plain)
    assert its.isfinite().all()
    on = 2 * x / (2 * x.abs() + widths[:, None] * (2 * x).abs().amax(dim=1, keepdim=True)).clamp_min(1e-30)
    torch.testing.assert_close(gradient, its * torch.where(widths[:, None] > 0, (1 + on) / 2, 1))
    assert (gradient[its == 0] == 0).all()


def test_entries_that_are_left_out_by_infinity_do_not_widen_gates() -> None:
    x = torch.tensor([[-1.0, 0.5, 2.0, -torch.inf], [0.25, -3.0, 1.0, torch.inf]])
    sides = sides_of(x, torch.tensor([0.1, 0.1]))
    assert torch.equal(sides[:, :3], sides_of(x[:, :3], torch.tensor([0.1, 0.1])))
    assert sides[:, 3].tolist() == [-1, 1]


def test_layers_without_entries_are_passed_over() -> None:
    x = torch.rand(3, 4, generator=generator(5))
    logits, gradient = slope(lambda x: x.sum(dim=1, keepdim=True) + x[:, :0].relu().sum(), x, torch.ones(3))
    assert torch.equal(logits, x.sum(dim=1, keepdim=True))
    assert torch.equal(gradient, torch.ones_like(x))


def test_softening_leaves_a_function_s_network_as_it_was() -> None:
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(49), nn.Linear(49, 8), nn.ReLU(), nn.Linear(8, 3))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    x = torch.rand(8, 1, 7, 7, generator=generator(10))
    with pytest.warns(UserWarning, match="the model is in training mode"):
        FMN(steps=5)(Softened(lambda x: network(x)), x, torch.zeros(8, dtype=torch.int64))
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_hard_gates_are_those_of_the_model_and_rows_know_nothing_of_others() -> None:
    model, x = convolutional(), images(6)
    widths = torch.tensor([0.0, 0.02, 0.0, 0.1, 0.02, 0.0])
    logits, gradient = slope(model, x, widths)
    plain_logits, plain = slope(model, x, None)
    assert torch.equal(logits, plain_logits)
    hard = widths == 0
    assert torch.equal(gradient[hard], plain[hard])
    assert not (gradient[~hard] == plain[~hard]).flatten(1).all(dim=1).any()
    for width in (0.02, 0.1):
        alike = slope(model, x, torch.full((6,), width))[1]
        assert torch.equal(alike[widths == width], gradient[widths == width])


@given(st.integers(0, 1000), st.floats(1e-4, 10))
def test_gates_open_from_0_to_1_and_are_half_open_at_0(seed: int, width: float) -> None:
    x = torch.randn(3, 50, generator=generator(seed), dtype=torch.float64).sort(dim=1).values
    widths = torch.full((3,), width, dtype=torch.float64)
    sides = sides_of(x, widths)
    assert (opened(sides).diff(dim=1) >= 0).all()
    assert ((opened(sides) > 0) & (opened(sides) < 1)).all()
    torch.testing.assert_close(sides_of(-x, widths), -sides)
    torch.testing.assert_close(sides_of(8 * x, widths), sides)  # a layer's scale is its own
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        assert (opened(sides_of(torch.zeros_like(x, dtype=dtype), widths)) == 0.5).all()
    torch.testing.assert_close(opened(sides_of(x, 1e-12 * widths)), (x > 0).double(), rtol=0, atol=1e-4)


def test_other_functions_and_passes_without_a_gradient_are_not_touched() -> None:
    x = torch.randn(4, 5, generator=generator(4))
    with SoftGates(torch.full((4,), 0.1)):
        assert torch.equal(x.relu(), x.clamp_min(0))
        assert x.relu().grad_fn is None
        with torch.no_grad():
            assert x.clone().requires_grad_().relu().grad_fn is None
        leaf = x.clone().requires_grad_()
        assert type(torch.tanh(leaf).grad_fn).__name__ == "TanhBackward0"
    with pytest.raises(ZeroDivisionError), SoftGates(torch.full((4,), 0.1)):
        _ = 1 / 0
    assert type(leaf.relu().grad_fn).__name__ == "ReluBackward0"  # outside, all is as before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("distance", ["l2", "linf"])
def test_answers_are_nearer_through_soft_gates_where_gradients_are_masked(kind: str, distance: str) -> None:
    model = Masked().eval()
    x = 0.5 + 0.15 * torch.rand(24, 1, 7, 7, generator=generator(8))
    labels = model(x).argmax(dim=1)
    hard, soft = (KINDS[kind](distance, on)(model, x, labels) for on in (False, True))
    assert soft.asr >= hard.asr
    both = soft.success & hard.success
    assert soft.distances[both].log().mean() < hard.distances[both].log().mean()


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_that_can_be_trusted_go_through_hard_gates(kind: str) -> None:
    model, x = convolutional(), images(6)
    on, off = (KINDS[kind]("l2", flag)(model, x, predictions(model, x)) for flag in (True, False))
    assert torch.equal(on.adversarials, off.adversarials)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_with_and_without_masked_gradients_know_nothing_of_each_other(kind: str) -> None:
    model = Masked().eval()
    near, wide = (0.5 + width * (torch.rand(8, 1, 7, 7, generator=generator(8)) - 0.5) for width in (0.3, 1.0))
    x = torch.cat((near, wide))
    labels = model(x).argmax(dim=1)
    for distance in ("l0", "l1", "l2", "linf"):
        on, off = (KINDS[kind](distance, flag)(model, x, labels).adversarials for flag in (True, False))
        same = (on == off).flatten(1).all(dim=1)
        assert not same[:8].all()
        assert same[8:].any()
        alone = KINDS[kind](distance, True)(model, x[8:], labels[8:]).adversarials
        assert torch.equal(on[8:], alone)


def test_the_papers_alma_has_hard_gates() -> None:
    assert not ALMA.paper("l2", 100).soft_gates
    model, x = Masked().eval(), 0.5 + 0.15 * torch.rand(24, 1, 7, 7, generator=generator(8))
    paper, soft = (ALMA.paper("l2", 60, soft_gates=on)(model, x, predictions(model, x)) for on in (False, True))
    assert soft.asr > paper.asr


def test_a_softened_model_has_the_same_logits_and_serves_any_attack() -> None:
    model = Masked().eval()
    x = 0.5 + 0.15 * torch.rand(24, 1, 7, 7, generator=generator(9))
    labels = model(x).argmax(dim=1)
    softened = Softened(model)
    assert not softened.training
    assert torch.equal(softened(x), model(x))
    attack = FMN(distance="linf", steps=60)
    hard, soft = attack(model, x, labels), attack(softened, x, labels)
    assert soft.asr >= hard.asr
    assert soft.median < hard.median
    assert (model(soft.adversarials).argmax(dim=1) != labels)[soft.success].all()
    with pytest.raises(ValueError, match="width must be > 0, got 0"):
        Softened(model, 0)
    assert minadv.models.Softened is Softened


def test_a_function_can_be_softened_and_a_model_in_training_mode_says_so() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(49, 8), nn.ReLU(), nn.Linear(8, 3))
    network[2].eval()
    assert Softened(network).training
    assert [part.training for part in network] == [True, True, False, True]  # left as it was
    x = torch.rand(4, 1, 7, 7, generator=generator(10))
    softened = Softened(lambda x: network(x))
    assert torch.equal(softened(x), network(x))
    with pytest.raises(ValueError, match="nan"):
        Softened(network, float("nan"))


@pytest.mark.parametrize(("distance", "module"), [("l0", sparse_refinement), ("l1", refinement)])
def test_short_searches_for_few_entries_refine_through_wider_gates(
    distance: str, module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x = Masked().eval(), 0.5 + 0.15 * torch.rand(4, 1, 7, 7, generator=generator(8))
    seen = set[tuple[float, float]]()

    def recorded(ends: tuple[float, float], masked: Tensor | None, step: int, steps: int) -> Tensor | None:
        seen.add(ends)
        return gating.narrowing(ends, masked, step, steps)

    monkeypatch.setattr(module, "narrowing", recorded)
    for budget, expected in ((59, AJAR), (60, GATE)):
        Auto(distance=distance, budget=budget)(model, x, predictions(model, x))
        assert seen == {expected}
        seen.clear()


def test_at_l1_gates_are_soft_from_a_budget_of_8_on() -> None:
    model = Masked().eval()
    x = 0.5 + 0.15 * torch.rand(24, 1, 7, 7, generator=generator(8))
    labels = model(x).argmax(dim=1)
    for budget, same in ((7, True), (8, False)):
        on, off = (
            Auto(distance="l1", budget=budget, soft_gates=flag)(model, x, labels).adversarials
            for flag in (True, False)
        )
        assert torch.equal(on, off) is same


class Recomputing(nn.Module):
    """Masked, with activations that are made again in its backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Masked()

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.inner, x, use_reentrant=False)


@pytest.mark.parametrize("kind", KINDS)
def test_activations_that_are_made_again_are_said_and_work_with_hard_gates(kind: str) -> None:
    model, x = Recomputing().eval(), 0.5 + 0.15 * torch.rand(8, 1, 7, 7, generator=generator(8))
    labels = model(x).argmax(dim=1)
    with pytest.raises(ValueError, match=r"torch\.utils\.checkpoint.*soft_gates=False"):
        KINDS[kind]("l2", True)(model, x, labels)
    again, once = (KINDS[kind]("l2", False)(one, x, labels) for one in (model, model.inner))
    assert torch.equal(again.adversarials, once.adversarials)


COMPILED = """
import torch
from minadv import ALMA
from tests.networks import Masked, generator, predictions

model, x = Masked().eval(), 0.5 + 0.15 * torch.rand(8, 1, 7, 7, generator=generator(8))
compiled = torch.compile(model, backend="eager")
found, plain = (ALMA(steps=10)(one, x, predictions(model, x)).adversarials for one in (compiled, model))
assert torch.equal(found, plain)
"""


def test_a_compiled_model_has_soft_gates_too() -> None:
    """Without the tests' own type checks, which cannot be compiled."""
    done = subprocess.run([sys.executable, "-c", COMPILED], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Graph break" not in done.stderr

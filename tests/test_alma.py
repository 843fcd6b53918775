"""ALMA against section 1 of attacks.md, written out naively for one sample."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from minadv import ALMA, Auto, distances, penalties
from minadv.attacks.pace import Pace, constraint_of
from minadv.goals import Targeted, Untargeted
from tests.networks import convolutional, generator, images, predictions

pytestmark = pytest.mark.usefixtures("as_given")


def by_the_book(
    model: nn.Module, x: Tensor, label: int, target: int | None, distance: Callable[[Tensor, Tensor], Tensor],
    steps: int, epsilon: float, alpha: float, penalty: penalties.Penalty,
) -> tuple[float, Tensor | None]:  # fmt: skip
    """Section 1, iteration by iteration, with autograd for everything and scalars for the state."""

    def g_of(z: Tensor) -> Tensor:
        order = z.sort(descending=True).values
        if target is None:
            others = torch.cat((z[:label], z[label + 1 :])).max()
            return (z[label] - others + 1e-4) / (order[0] - order[2] + 1e-8)
        others = torch.cat((z[:target], z[target + 1 :])).max()
        return (others - z[target] + 1e-4) / (order[0] - (order[2] + order[3]) / 2 + 1e-8)

    def d_of(adversarial: Tensor) -> Tensor:
        return distance(adversarial[None], x[None])[0]

    delta, s, v = torch.zeros_like(x), torch.ones_like(x), torch.zeros_like(x)
    mu, rho, g_bar, eta = 1.0, 1.0, 0.0, 0.0
    seen, first = False, steps + 1
    best, best_x = math.inf, None
    for i in range(steps):
        leaf = delta.clone().requires_grad_()
        g = g_of(model((x + leaf)[None])[0])
        value = d_of(x + leaf) if i > 0 else torch.zeros(())
        if i == 0:
            g_bar = g.item()
        elif (i + 1) % 10 == 0:
            if not g.item() < 0.95 * g_bar and not seen:
                rho *= 1.2
            g_bar = g.item()
        weights = torch.tensor(rho, dtype=x.dtype), torch.tensor(mu, dtype=x.dtype)
        if i > 0:
            mu = alpha * mu + (1 - alpha) * penalty.derivative(g.detach(), *weights).item()
            mu = min(max(mu, 1e-6), 1e12)
        if g.item() < 0:
            first = first if seen else i
            seen = True
            if value.item() < best:
                best, best_x = value.item(), (x + delta).clone()
        lagrangian = penalty(g, torch.tensor(rho, dtype=x.dtype), torch.tensor(mu, dtype=x.dtype)) + value
        (h,) = torch.autograd.grad(lagrangian, leaf)
        if i == 0:
            low, eta = 0.0, 1.0
            while d_of((x - eta * h).clamp(0, 1)).item() <= epsilon:
                low, eta = eta, 2 * eta
            for _ in range(20):
                middle = (low + eta) / 2
                if d_of((x - middle * h).clamp(0, 1)).item() <= epsilon:
                    low = middle
                else:
                    eta = middle
            eta = (low + eta) / 2
        rate = eta * 0.01 ** (max(0, i - first) / (steps - first))
        s = alpha * s + (1 - alpha) * h * h
        v = alpha * v + h / (s.sqrt() + 1e-8)
        delta = (x + delta - rate * v).clamp(0, 1) - x
    return best, best_x


@pytest.mark.parametrize("name", ["l1", "l2", "ssim", "ciede2000"])
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("penalty", ["P2", "PHR"])
def test_the_paper_settings_follow_the_specification(name: str, targeted: bool, penalty: str) -> None:
    model = convolutional().double()
    x = images(2, dtype=torch.float64)
    labels = predictions(model, x)
    targets = (labels + 1) % 5 if targeted else None
    attack = ALMA.paper(name, 60, penalty=penalty, alpha=0.7)
    result = attack(model, x, labels, targets=targets)
    assert attack.first_distance is not None
    for i in range(2):
        target = None if targets is None else int(targets[i])
        best, best_x = by_the_book(
            model, x[i], int(labels[i]), target, distances.resolve(attack.distance), 60, attack.first_distance,
            0.7, penalties.get(penalty),
        )  # fmt: skip
        assert best_x is not None
        assert result.distances[i].item() == pytest.approx(best, rel=1e-6)
        torch.testing.assert_close(result.adversarials[i], best_x, rtol=1e-5, atol=1e-7)


def test_the_first_multiplier_of_long_runs_is_larger_on_the_true_scale_of_colours() -> None:
    assert [Pace.ours("ciede2000", steps).mu for steps in (10, 100, 1000, 5000)] == pytest.approx([1, 1, 5, 5])
    assert Pace.ours(distances.get("ciede2000", scale="paper"), 1000) == Pace.paper(1000)

    def ciede2000(x: Tensor, x0: Tensor) -> Tensor:
        return (x - x0).flatten(1).norm(dim=1)

    assert Pace.ours(ciede2000, 1000) == Pace.paper(1000)  # somebody else's


def test_settings_of_the_papers_tables() -> None:
    for name, first in {"l1": 0.5, "l2": 0.1, "ssim": 3e-5, "ciede2000": 0.05}.items():
        attack = ALMA.paper(name, 100)
        assert (attack.steps, attack.first_distance, attack.penalty) == (100, first, penalties.P2)
        assert (attack.mu, attack.rho, attack.check_every, attack.improvement, attack.rho_growth) == (
            1,
            1,
            10,
            0.95,
            1.2,
        )
        assert (attack.final_step, attack.confidence, attack.levels, attack.proximal) == (0.01, 1e-4, None, False)
        assert attack.first_step_limit is None
    assert distances.resolve(ALMA.paper("ciede2000").distance).name == "ciede2000[paper]"
    assert ALMA.paper("ssim", 1000, source="scripts").first_distance == 1e-4
    assert ALMA.paper("l2", 1000, source="scripts").first_distance == 0.1
    colour = {source: ALMA.paper("ciede2000", 100, source=source) for source in ("scripts", "scripts-imagenet")}
    assert [attack.first_distance for attack in colour.values()] == [0.05, 0.03]
    own = distances.get("lpips", trunk="demo")
    assert ALMA.paper(own, 100).first_distance == 1e-3
    assert ALMA.paper(own, 100, source="scripts").first_distance == 1e-2
    assert ALMA.paper("l2", 100, first_distance=0.3, budget=7).budget == 7


def squares(x: Tensor, x0: Tensor) -> Tensor:
    return (x - x0).square().flatten(1).sum(dim=1)


@pytest.mark.parametrize(("steps", "alpha"), [(10, 0.5), (100, 0.5), (1000, 0.9), (5000, 0.9), (316, 0.7)])
def test_smoothing_follows_the_number_of_steps(steps: int, alpha: float) -> None:
    for name in ("l1", "l2", "ciede2000"):
        paper = ALMA.paper(name, steps)
        assert (paper.alpha, paper.alpha_rms, paper.momentum) == pytest.approx((alpha,) * 3, abs=1e-3)
    given = ALMA.paper("l2", steps, alpha=0.3)
    assert (given.alpha, given.alpha_rms, given.momentum) == (0.3, 0.3, 0.3)
    pace = ALMA(steps=steps, alpha=0.3, mu=2.0)._pace()
    assert (pace.alpha, pace.alpha_rms, pace.momentum, pace.mu) == (0.3, 0.3, 0.3, 2.0)
    assert ALMA(distance=squares, steps=steps)._pace() == Pace.paper(steps)
    assert ALMA(steps=steps)._pace().alpha_rms == pytest.approx(alpha, abs=1e-3)


def test_constraints_are_margins_towards_targets_and_in_few_steps() -> None:
    labels = torch.tensor([1])
    untargeted, targeted = Untargeted(labels), Targeted(labels)
    for name, below in (("l0", 50), ("l1", 50), ("l2", 100)):
        assert constraint_of(untargeted, 10, name, below - 1) == "margin"
        assert constraint_of(untargeted, 10, name, below) == "dlr"
    assert constraint_of(untargeted, 10, "linf", 5) == "dlr"
    assert constraint_of(targeted, 10, "linf", 1000) == "margin"
    assert constraint_of(untargeted, 2, "l2", 5) == "dlr"  # and so refused
    assert ALMA.paper("l2", 10).constraint == "dlr"


@pytest.mark.parametrize("name", ["l1", "l2", "linf"])
def test_the_least_likely_target_is_reached_and_near(name: str) -> None:
    """DLR⁺ found 0.4 to 0.8 of them, up to three times as far."""
    weight, x = torch.randn(10, 100, generator=generator(0)), torch.rand(24, 100, generator=generator(1))

    def model(some: Tensor) -> Tensor:
        return some @ weight.T

    labels, targets = model(x).argmax(dim=1), model(x).argmin(dim=1)
    result = ALMA(distance=name, steps=300)(model, x, labels, targets=targets)
    nearest = Auto(distance=name, budget=300)(model, x, labels, targets=targets).distances
    assert result.success.all()
    assert (result.distances <= 1.1 * nearest).all()


@pytest.mark.parametrize("scale", [2.0**-20, 2.0**-8, 2.0**8])
def test_the_scale_of_your_own_distance_makes_no_difference(scale: float) -> None:
    """The mean of squares had been 17 % farther than their sum."""
    model, x = convolutional(), images(6)
    labels = predictions(model, x)

    def scaled(some: Tensor, x0: Tensor) -> Tensor:
        return scale * squares(some, x0)

    expected = ALMA(distance=squares, steps=60)(model, x, labels)
    found = ALMA(distance=scaled, steps=60)(model, x, labels)
    assert found.success.all()
    torch.testing.assert_close(found.distances / scale, expected.distances, rtol=1e-3, atol=0)


def test_few_entries_are_found_by_a_concave_count() -> None:
    """ℓ1 needed about half as many again."""
    weight, x = torch.randn(10, 100, generator=generator(2)), torch.rand(24, 100, generator=generator(3))

    def model(some: Tensor) -> Tensor:
        return some @ weight.T

    labels = model(x).argmax(dim=1)
    found = ALMA(distance="l0", steps=300)(model, x, labels)
    nearest = Auto(distance="l0", budget=300)(model, x, labels).distances
    assert found.success.all()
    assert (found.distances / nearest).mean() < 1.3


def test_the_exact_first_step_reaches_its_distance() -> None:
    model = convolutional()
    x = images(4)
    labels = predictions(model, x)
    moved: list[Tensor] = []

    def watched(inputs: Tensor) -> Tensor:
        moved.append(inputs.detach().clone())
        return model(inputs)

    settings = {"first_distance": 0.05, "first_step_limit": None}
    ALMA(distance="l2", steps=2, exact_first_step=True, **settings)(watched, x, labels)
    torch.testing.assert_close(distances.get("l2")(moved[1], x), torch.full((4,), 0.05), rtol=1e-3, atol=0)


def test_vanishing_gradients_get_a_random_start() -> None:
    """A network that is flat around the image: the first direction is random, seeded, per sample."""

    class Flat(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            away = ((x - 0.5).square().flatten(1).sum(dim=1) - 0.01).clamp_min(0)
            return torch.stack((torch.full_like(away, 0.1), 5 * away, -away), dim=1)

    flat = Flat().eval()
    x = torch.full((3, 1, 6, 6), 0.5)
    labels = torch.zeros(3, dtype=torch.int64)
    with pytest.warns(UserWarning, match="gradient was exactly 0 .* for 3 of 3"):
        first, again, other = (ALMA(steps=100, first_distance=0.2, seed=s)(flat, x, labels) for s in (0, 0, 1))
    assert first.success.all()
    assert torch.equal(first.adversarials, again.adversarials)
    assert not torch.equal(first.adversarials, other.adversarials)


@pytest.mark.parametrize("distance", ["l2", "linf", "ssim"])
def test_fewer_than_100_steps_forget_sooner_and_end_with_larger_ones(distance: str) -> None:
    few, some, hundred = (Pace.ours(distance, steps) for steps in (50, 70, 100))
    assert Pace.ours(distance, 1) == Pace.ours(distance, 25) == few
    assert few.alpha < some.alpha < hundred.alpha == pytest.approx(0.8)
    assert few.momentum < some.momentum < hundred.momentum == pytest.approx(0.7)
    assert few.final_step > some.final_step > hundred.final_step == pytest.approx(0.003)


@pytest.mark.parametrize("penalty", ["PHR", "P1", "P2", "P3"])
def test_every_penalty_finds_small_perturbations(penalty: str) -> None:
    model = convolutional()
    x = images(8)
    labels = predictions(model, x)
    reference = ALMA(distance="l2", steps=200)(model, x, labels).median
    result = ALMA(distance="l2", steps=200, penalty=penalty)(model, x, labels)
    assert result.success.all()
    assert result.median <= 1.2 * reference


def test_a_tie_at_the_original_is_left_without_confidence() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3, bias=False)).eval()
    x, y = torch.zeros(3, 3, 2, 2), torch.tensor([0, 1, 2])
    found = ALMA(distance="l2", steps=100, confidence=0.0)(model, x, y)
    assert found.success.all()

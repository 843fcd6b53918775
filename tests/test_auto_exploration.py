"""Auto's exploration: extrapolated gradients, steps like signs, what it remembers."""

import pytest
import torch
from torch import Tensor

from minadv import Auto
from minadv.attacks.auto import aiming
from minadv.attacks.auto.exploration import LARGEST_STEP, Exploration, Stride
from minadv.attacks.auto.families import straight
from minadv.attacks.directions import TINY
from minadv.attacks.gating import trust
from minadv.oracle import Oracle
from minadv.shapes import per_sample
from tests.networks import convolutional, generator, images, predictions

pytestmark = pytest.mark.usefixtures("as_given")


@pytest.mark.parametrize("curved", [False, True])
def test_an_exploration_extrapolates_gradients_only_where_they_change(curved: bool) -> None:
    weights, x = torch.randn(3 * 8 * 8, generator=generator(5)), images(4, side=8)
    labels = torch.zeros(len(x), dtype=torch.int64)

    def model(x: Tensor) -> Tensor:
        rows = x.flatten(1) - 0.5
        fallen = rows @ weights - 6 - (4 * rows.square().sum(dim=1) if curved else 0)
        return torch.stack((torch.zeros_like(fallen), fallen), dim=1)

    def explored(optimism: float) -> Tensor:
        points = list[Tensor]()

        class Exploring(Auto):
            def search(self, oracle: Oracle) -> None:
                towards = aiming.constrain(oracle, None, self.confidence)
                found = Exploration(optimism=optimism)
                points.append(found(oracle, oracle.originals, None, 20, 3.0, towards, straight).point)

        Exploring()(model, x, labels)
        return points[0]

    assert torch.equal(explored(1.0), explored(0.0)) is not curved


def test_optimistic_gradients_are_twice_the_new_less_the_old() -> None:
    one, other = torch.tensor([[3.0, 4.0]]) / 5, torch.tensor([[0.0, 1.0]])
    assert torch.equal(Exploration()._ahead(one, None), one)
    assert torch.equal(Exploration()._ahead(other, one.clone()), 2 * other - one)
    g = generator(2)
    units = [per_sample(1 / x.norm(dim=1), x) * x for x in torch.randn(2, 100, 5, generator=g)]
    assert (Exploration()._ahead(units[1], units[0]).norm(dim=1) > 1 - 1e-6).all()


def test_steps_are_less_like_signs_where_most_entries_carry_the_gradient() -> None:
    n, value = 100, torch.tensor([0.5, 0.5, 50.0])
    slope = torch.randn(3, n, generator=generator(0))
    slope[1, 5:] = 0  # at most a twentieth
    expected = (8 * value / slope.abs().sum(dim=1)).clamp_max(LARGEST_STEP)
    torch.testing.assert_close(Exploration().first(value, slope), expected)
    assert trust(slope).tolist() == [1, 0, 1]
    assert trust(0 * slope).tolist() == [0, 0, 0]

    x, labels = torch.full((3, n), 0.5), torch.zeros(3, dtype=torch.int64)
    weights, starts = torch.randn(n, generator=generator(1)), list[Tensor]()

    def model(x: Tensor) -> Tensor:
        starts.append(x.detach().clone())
        fallen = (x - 0.5) @ weights - 1
        return torch.stack((torch.zeros_like(fallen), fallen), dim=1)

    class Exploring(Auto):
        def search(self, oracle: Oracle) -> None:
            towards = aiming.constrain(oracle, None, self.confidence)
            for floor in (TINY, 0.4 / n**0.5):
                starts.clear()
                stride = Stride(torch.full((3,), 0.01), torch.full((3,), floor), torch.ones(3))
                Exploration()(oracle, oracle.originals.clone(), stride, 2, 5.0, towards, straight)
                moved.append(starts[1] - x)

    moved = list[Tensor]()
    Exploring()(model, x, labels, fill_up=False)
    for step, floor in zip(moved, (TINY, 0.4 / n**0.5), strict=True):
        # the first step is along the constraint's unit gradient, of which 0.3 count as squares at once
        unit = torch.sigmoid(torch.tensor(5.0)) * weights / weights.norm()
        root = 0.3**0.5 * unit.abs() + floor
        torch.testing.assert_close(step[0], 0.01 * 0.3**0.5 * unit / root, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("distance", ["l1", "l2"])
def test_the_fewest_steps_are_signs(distance: str, monkeypatch: pytest.MonkeyPatch) -> None:
    softness = list[float]()
    first = Exploration.first

    def told(self: Exploration, value: Tensor, slope: Tensor) -> Tensor:
        softness.append(self.softness)
        return first(self, value, slope)

    monkeypatch.setattr(Exploration, "first", told)
    model, x = convolutional(), images(4)
    for budget in (4, 10, 100):
        Auto(distance=distance, budget=budget)(model, x, predictions(model, x))
    assert softness == pytest.approx([0, 0.1, 0.4])


def test_an_exploration_remembers_the_normal_of_a_plane() -> None:
    weights, x = torch.randn(3 * 8 * 8, generator=generator(5)), images(4, side=8)
    labels = torch.zeros(len(x), dtype=torch.int64)
    seen = list[Tensor | None]()

    def model(x: Tensor) -> Tensor:
        fallen = (x.flatten(1) - 0.5) @ weights - 6
        return torch.stack((torch.zeros_like(fallen), fallen), dim=1)

    class Exploring(Auto):
        def search(self, oracle: Oracle) -> None:
            towards = aiming.constrain(oracle, None, self.confidence)
            for remember in (True, False):
                found = Exploration()(
                    oracle, oracle.originals, None, 20, 3.0, towards, straight, remember=remember
                )
                seen.append(found.normal)

    Exploring()(model, x, labels)
    normal, none = seen
    assert none is None
    expected = (-weights / weights.norm()).expand(4, -1)  # what the constraint grows along
    assert normal is not None
    torch.testing.assert_close(normal.flatten(1), expected, rtol=1e-4, atol=1e-6)


def test_short_explorations_go_less_far_and_end_with_larger_steps() -> None:
    usual = Exploration()
    assert vars(usual.within(20)) == vars(usual.within(70)) == vars(usual)
    half, shortest = usual.within(10), usual.within(1)
    assert half.reach == usual.reach / 2
    assert usual.decay / 2 < half.decay < usual.decay
    assert shortest.reach == usual.reach / 4

"""Auto and its parts: budgets, starts, early stopping, own distances; nearest points against ground truth."""

import math
from collections.abc import Callable
from dataclasses import astuple, replace
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

import minadv
from minadv import ALMA, FMN, Auto, Result, losses
from minadv.attacks.auto import aiming, families
from minadv.attacks.auto.aiming import Aims
from minadv.attacks.auto.blocks import Blocks, blocks, factored
from minadv.attacks.auto.coordinates import PerEntry, PerPixel, coordinates
from minadv.attacks.auto.curvature import pixels, quadratic, sampled, units
from minadv.attacks.auto.exploration import LARGEST_STEP, Exploration, Explored, Stride
from minadv.attacks.auto.explorer import Explorer
from minadv.attacks.auto.families import flat, sparse, straight
from minadv.attacks.auto.fewer import concentrated, leave_out
from minadv.attacks.auto.nearest import ByMetric, ByNorm, ByWeights, along
from minadv.attacks.auto.outlook import outlook
from minadv.attacks.auto.refinement import (
    Refined,
    Refinement,
    changed,
    closer,
    direct,
    hurried,
    tangent,
)
from minadv.attacks.auto.rounds import Try, divide, steps_of
from minadv.attacks.auto.secants import BySecants, Secant, solve
from minadv.attacks.auto.sparse_refinement import SparseRefinement, without
from minadv.attacks.directions import TINY
from minadv.distances import get, resolve
from minadv.distances.base import per_sample
from minadv.goals import Untargeted
from minadv.largest import FEW
from minadv.oracle import Oracle
from minadv.probe import Probe, Step
from minadv.projections import cheapest, hyperplane_box
from minadv.verification import Settings
from tests.networks import Linear, convolutional, generator, images, linear, predictions
from tests.test_conformance import exact

pytestmark = pytest.mark.usefixtures("as_given")


def weighted(x: Tensor, x0: Tensor) -> Tensor:
    """ℓ2 whose entries count differently."""
    return ((x - x0).flatten(1) * torch.linspace(0.2, 2, x[0].numel())).norm(dim=1)


def differences(x: Tensor, x0: Tensor) -> Tensor:
    """Change of neighbouring differences: smooth changes are nearly free."""
    d = x - x0
    rows, columns = d[..., 1:, :] - d[..., :-1, :], d[..., 1:] - d[..., :-1]
    squares = rows.square().flatten(1).sum(1) + columns.square().flatten(1).sum(1)
    return (squares + 1e-2 * d.square().flatten(1).sum(1) + 1e-12).sqrt()


def probe_at(x: Tensor, slope: Tensor, distance: Tensor) -> Probe:
    return Probe(x, torch.zeros(len(x), 3), torch.ones(len(x), dtype=torch.bool), distance, slope, x)


@pytest.mark.parametrize("budget", [1, 2, 3, 9, 40, 250])
@pytest.mark.parametrize("distance", ["l2", "l0", weighted])
def test_budget_bounds_forwards_and_backwards_each(budget: int, distance: str) -> None:
    model, x = convolutional(), images(5)
    calls: list[int] = []
    labels = predictions(model, x)
    model.register_forward_hook(lambda _module, inputs, _output: calls.append(len(inputs[0])))
    result = Auto(distance=distance, budget=budget, stop_early=False)(model, x, labels)
    assert (result.forwards == budget).all()
    assert (result.backwards == budget).all()
    assert len(calls) == budget + 1  # what was counted is what happened, but for the verification


def test_more_budget_is_never_much_worse_and_finds_more() -> None:
    model, x = convolutional(), images(8)
    labels = predictions(model, x)
    small, large = (Auto(budget=budget)(model, x, labels).distances for budget in (40, 500))
    assert (large <= small * 1.01).all()
    assert large.sum() < small.sum()


def test_closer_than_alma_on_networks_at_equal_cost() -> None:
    model, x = convolutional(), images(8)
    labels = predictions(model, x)
    for distance in ("l1", "l2", "linf"):
        ours = Auto(distance=distance, budget=100)(model, x, labels).distances
        theirs = ALMA.paper(distance, 100)(model, x, labels).distances
        assert (ours / theirs).median() < 1.001  # a single start may end at another minimum
        assert (ours / theirs).log().mean() < 0.02


def test_rounds_reach_other_classes_than_the_first() -> None:
    model = linear(3 * 8 * 8)
    x = 0.5 + 0.4 * (torch.rand(128, 3, 8, 8, generator=generator(1)) - 0.5)
    labels = predictions(model, x)
    best = exact(model, x, labels, "l2").amin(dim=1)
    far = best.argsort()[-96:]
    likeliest = Auto(budget=100, aimed=False, explorations=1)(model, x[far], labels[far]).distances / best[far]
    missed = (likeliest > 1.02).sum()
    assert missed >= 2  # cases where the likeliest class is not the nearest
    once, often = (Auto(budget=budget)(model, x[far], labels[far]).distances / best[far] for budget in (100, 1000))
    assert not (once > 1.02).any()
    assert (often < 1.01).all()


def test_rounds_in_turn_step_in_their_own_coordinates() -> None:
    model, x = convolutional(), images(2)
    seen = dict[tuple[int, int], Tensor | None]()

    class Looking(Auto):
        def search(self, oracle: Oracle) -> None:
            metric = ByMetric(oracle.originals, oracle.surrogate)
            scaled = coordinates(families.of("ssim").scaled, oracle.originals, oracle.surrogate, metric)
            explorer = Explorer(oracle, families.of("ssim"), 2, self.confidence, scaled)
            for number, i in product(range(5), range(2)):
                found = explorer.coordinates(number, i)
                assert found is None or isinstance(found, PerEntry)
                seen[number, i] = None if found is None else found.units

    Looking(distance="ssim")(model, x, predictions(model, x))
    sampled, exact_ = seen[0, 0], seen[0, 1]
    assert sampled is not None
    assert exact_ is not None
    assert not torch.equal(sampled, exact_)
    assert all(seen[number, 0] is sampled for number in range(5))  # computed once
    assert seen[2, 1] is None  # plain entries
    assert seen[4, 1] is exact_


def test_units_that_led_nowhere_are_left() -> None:
    model, x = convolutional(), images(4)
    seen = list[Tensor]()

    class Looking(Auto):
        def search(self, oracle: Oracle) -> None:
            units = torch.full_like(oracle.originals, 0.5)
            explorer = Explorer(oracle, families.of("ssim"), 2, self.confidence, [[PerEntry(units)]])
            for number, i in ((0, 0), (0, 1), (1, 0)):
                if number:
                    oracle.probe(1 - oracle.originals)
                chosen = explorer._coordinates(number, i)
                assert isinstance(chosen, PerEntry)
                seen.append(chosen.units.flatten(1)[:, 0])
            found = oracle.best_distance < torch.inf
            assert found.any()
            seen.append(torch.where(found, 0.5, 1.0))

    Looking()(model, x, predictions(model, x))
    first, second, third, expected = seen
    assert (first == 0.5).all()
    assert (second == 1).all()
    assert torch.equal(third, expected)


def test_only_the_first_start_and_new_classes_of_later_rounds_have_no_noise() -> None:
    model, x = convolutional(), images(4)
    starts = dict[tuple[int, bool], Tensor]()

    class Looking(Auto):
        def search(self, oracle: Oracle) -> None:
            super().search(oracle)
            assert oracle.best_distance.isfinite().all()
            explorer = Explorer(oracle, families.of("l2"), 2, self.confidence, [])
            scale = torch.full_like(oracle.best_distance, 0.1)
            some = aiming.chances(oracle)
            some[0] = -torch.inf  # no class is left for the first sample
            for index in range(4):
                for chances in (None, some):
                    starts[index, chances is not None] = explorer._start(index, scale, chances, None)

    Looking(budget=30)(model, x, predictions(model, x))
    moved = {key: (start - x).flatten(1).abs().amax(dim=1) for key, start in starts.items()}
    for index, amount in enumerate((0, 0.075, 0.05, 0.075)):
        assert moved[index, False] == pytest.approx(amount, rel=1e-4)
        expected = [amount] * 4 if index < 2 else [amount, 0, 0, 0]
        assert moved[index, True] == pytest.approx(expected, rel=1e-4)
    assert not torch.equal((starts[1, False] - x).sign(), (starts[3, False] - x).sign())


def test_what_was_missed_starts_anywhere_in_the_box() -> None:
    model, x = convolutional(), images(4)
    starts, found = list[Tensor](), list[Tensor]()

    class Looking(Auto):
        def search(self, oracle: Oracle) -> None:
            oracle.probe(1 - oracle.originals, torch.tensor([True, True, False, False]))
            found.append(oracle.best_distance.isfinite())
            explorer = Explorer(oracle, families.of("l2"), 2, self.confidence, [])
            scale = torch.full_like(oracle.best_distance, 0.01)
            starts.extend(explorer._start(index, scale, None, None) for index in range(3))

    Looking()(model, x, predictions(model, x))
    assert found[0].any()
    assert not found[0].all()
    moved = torch.stack([(start - x).flatten(1).abs().amax(dim=1) for start in starts])
    assert (moved[0] == 0).all()
    assert (moved[1:, found[0]] <= 0.011).all()
    assert (moved[1:, ~found[0]] > 0.5).all()
    for start in starts[1:]:
        anywhere = start[~found[0]]
        assert anywhere.mean().item() == pytest.approx(0.5, abs=0.1)
        assert anywhere.min() >= 0
        assert anywhere.max() <= 1
    assert not torch.equal(starts[1][~found[0]], starts[2][~found[0]])


def test_a_small_region_in_the_far_corner_is_found() -> None:
    torch.manual_seed(4)
    model = torch.nn.Sequential(torch.nn.Linear(2, 32), torch.nn.Tanh(), torch.nn.Linear(32, 2)).eval()
    model.requires_grad_(False)[0].weight.mul_(4)
    side = torch.linspace(0, 1, 201)
    plane = torch.cartesian_prod(side, side)
    x = torch.rand(3, 2)
    labels = predictions(model, x)
    other = predictions(model, plane)[None, :] != labels[:, None]
    assert other[2].float().mean() < 0.03
    nearest = torch.cdist(x, plane).where(other, torch.inf).amin(dim=1)
    assert nearest[2] > 1
    result = Auto(budget=500)(model, x, labels)
    assert result.success.all()
    assert (result.distances <= 1.001 * nearest).all()


@pytest.mark.parametrize(
    ("steps", "shares"),
    [
        (0, (1, 1)),
        (1, (1, 1)),
        (6, (1, 1)),
        (10, (0.6, 0.36)),
        (12, (0.5, 0.25)),
        (20, (0.3, 0.15)),
        (99, (0.3, 0.15)),
    ],
)
def test_few_steps_go_home_in_longer_ones(steps: int, shares: tuple[float, float]) -> None:
    assert hurried((0.3, 0.15), steps) == pytest.approx(shares)
    assert hurried((1.0, 1.0), steps) == (1.0, 1.0)


def test_steps_home_are_longer_where_gradients_can_be_trusted() -> None:
    stride = Stride.signs(torch.ones(3), torch.tensor([1.0, 0.0, 1.0]))
    bold = replace(families.of("ssim"), bolder=2.5).bold(stride)
    assert bold is not None
    assert bold.tolist() == [2.5, 1.0, 2.5]
    assert replace(families.of("ssim"), bolder=1.0).bold(stride) is None
    assert families.of("ssim").bold(None) is None

    model, x, ends = convolutional(), images(4), list[Tensor]()

    class Refining(Auto):
        def search(self, oracle: Oracle) -> None:
            towards = aiming.constrain(oracle, None, self.confidence)
            nearest = ByNorm(oracle.originals, 2)
            for pull, factor in (((0.2, 0.1), 1.0), ((0.4, 0.1), 1.0), ((0.2, 0.1), 2.0)):
                start, factors = Refined.at(oracle.originals + 0.1, oracle), torch.tensor([factor] * 3 + [1.0])
                end = Refinement(pull=pull)(oracle, start, 8, towards, nearest, bold=factors)
                ends.append(end.point)

    Refining()(model, x, predictions(model, x))
    timid, bolder, factored = ends
    torch.testing.assert_close(factored[:3], bolder[:3])
    torch.testing.assert_close(factored[3], timid[3])
    assert (bolder - timid).abs().flatten(1).amax(dim=1).min() > 1e-3


def test_masked_gradients_are_not_gone_home_by_in_longer_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = convolutional(), images(4)

    def answers(bolder: float | None) -> Tensor:
        return Auto(distance="ssim", budget=30, bolder=bolder)(model, x, predictions(model, x)).distances

    assert torch.equal(answers(None), answers(families.of("ssim").bolder))
    assert not torch.equal(answers(1.0), answers(2.5))
    monkeypatch.setattr(Exploration, "trusted", lambda _, gradient: gradient.new_zeros(len(gradient)))
    assert torch.equal(answers(1.0), answers(2.5))


@pytest.mark.parametrize(("distance", "q"), [("l1", math.inf), ("l2", 2), ("linf", 1)])
def test_an_outlook_on_linear_models_is_the_way_to_each_class(distance: str, q: float) -> None:
    model = linear(3 * 8 * 8, classes=10)
    x = 0.5 + 0.1 * (torch.rand(8, 3, 8, 8, generator=generator(1)) - 0.5)
    labels = predictions(model, x)
    seen = list[Tensor]()

    class Looking(Auto):
        def search(self, oracle: Oracle) -> None:
            at = oracle.originals + 0.01 * oracle.directions
            seen.append(outlook(oracle, at, q, 0.0, 9))
            seen.append(outlook(oracle, at, q, 0.0, 2))

    result = Looking(distance=distance)(model, x, labels)
    (ways, slopes), (two, _) = seen
    weight, z = model.layer.weight.detach(), model(x).detach()
    gaps = z.gather(1, labels[:, None]) - z
    true = gaps / (weight[labels][:, None] - weight).norm(q, dim=2)  # 0 / 0 at the label
    torch.testing.assert_close(ways, true.nan_to_num(math.inf), rtol=1e-3, atol=1e-5)
    assert ways.gather(1, labels[:, None]).isinf().all()
    steepness = (weight[labels][:, None] - weight).norm(q, dim=2)
    others = torch.ones_like(slopes, dtype=torch.bool).scatter(1, labels[:, None], False)
    torch.testing.assert_close(slopes[others], steepness[others], rtol=1e-4, atol=1e-5)
    assert (two.isfinite().sum(dim=1) == 2).all()
    assert torch.equal(two.isfinite() & (two != ways), torch.zeros_like(two, dtype=torch.bool))
    assert (result.backwards == 9 + 2).all()
    assert (result.forwards == 2).all()


def test_an_outlook_where_all_gradients_vanish_takes_slopes_for_equal() -> None:
    def flat(x: Tensor) -> Tensor:
        risen = (x.flatten(1).mean(dim=1) - 0.5).relu()
        return torch.stack((0.1 + 0 * risen, 1e4 * risen, 2e4 * risen, 0 * risen), dim=1)

    x, seen = torch.full((4, 3, 8, 8), 0.3), list[Tensor]()

    class Looking(Auto):
        def search(self, oracle: Oracle) -> None:
            seen.append(outlook(oracle, oracle.originals, 2, 0.0, 2).slopes)
            super().search(oracle)

    with pytest.warns(UserWarning, match="gradient was exactly 0 .* for 4 of 4"):
        result = Looking(budget=100)(flat, x, torch.zeros(4, dtype=torch.int64))
    assert ((seen[0] > 0.05) & (seen[0] <= 1)).all()
    assert result.adversarials.isfinite().all()
    assert "non-finite" not in result.status
    assert result.success.all()


def test_the_second_round_aims_at_the_nearest_class_however_unlikely() -> None:
    """Its logit is the lowest and its boundary the nearest, next to eight of which each is likelier."""
    weights = torch.zeros(10, 3 * 8 * 8)
    for k in range(1, 10):
        weights[k, 8 * k : 8 * k + 8] = 1.0
    weights[9] *= 30
    bias = torch.tensor([3.0, *torch.linspace(1.9, 1.2, 8).tolist(), -9.0])
    x = torch.full((4, 3, 8, 8), 0.1) + 0.01 * torch.rand(4, 3, 8, 8, generator=generator(2))
    model = Linear(weights, bias - weights @ x[0].flatten()).eval()
    labels = predictions(model, x)
    assert (labels == 0).all()
    best = exact(model, x, labels, "l2").amin(dim=1)
    result = Auto(budget=200)(model, x, labels)
    assert (result.predictions == 9).all()
    assert (result.distances < 1.01 * best).all()


def test_only_classes_nearer_than_those_reached_are_aimed_at() -> None:
    inf = math.inf
    chances = torch.tensor([[-inf, -inf, 3.0, 2.0, 1.0], [-inf, 1.0, 2.0, 3.0, 4.0], [-inf, -inf, 3.0, 2.0, 1.0]])
    ways = torch.tensor([[inf, 0.5, 0.6, 0.4, 0.2], [inf, 0.5, inf, 0.4, 0.2], [inf, -0.5, 0.1, -0.4, 0.2]])
    expected = [[-inf, -inf, -inf, -0.4, -0.2], [-inf, -0.5, -inf, -0.4, -0.2], [-inf, -inf, -inf, 0.4, -inf]]
    assert aiming.nearer(chances, ways).tolist() == [pytest.approx(row) for row in expected]


def test_likely_classes_are_aimed_at_where_the_way_is_hardly_longer() -> None:
    inf = math.inf
    chances = torch.tensor([[-inf, -inf, 3.0, 2.0, 1.0], [-inf, -inf, 3.0, 2.0, 1.0]])
    ways = torch.tensor([[inf, 1.0, 1.05, 1.3, 0.2], [inf, inf, inf, 0.4, 0.2]])  # of the second none is reached
    expected = [[-inf, -inf, 3.0, -inf, 1.0], [-inf, -inf, 3.0, 2.0, 1.0]]
    assert aiming.likely(chances, ways).tolist() == expected


def test_the_pass_over_the_originals_is_taken_once_while_its_graph_is_kept() -> None:
    model, x = convolutional(), images(3)
    labels = predictions(model, x)
    calls, gradients = list[int](), list[Tensor]()
    model.register_forward_hook(lambda _module, inputs, _output: calls.append(len(inputs[0])))

    class Looking(Auto):
        def search(self, oracle: Oracle) -> None:
            for again in (True, False, True):
                probe = oracle.probe(oracle.originals)
                gradients.append(oracle.gradient(probe, probe.logits[:, 0], again=again))
            probe = oracle.probe((oracle.originals + 0.1).clamp(0, 1))
            oracle.gradient(probe, probe.logits[:, 0], again=True)
            oracle.probe(oracle.originals)

    result = Looking()(model, x, labels)
    assert (result.forwards == 4).all()  # once for the first two, then anew; the other point; anew after it
    assert len(calls) == 4 + 1  # and the verification
    assert (result.backwards == 4).all()
    assert torch.equal(gradients[0], gradients[1])
    assert torch.equal(gradients[0], gradients[2])


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
    assert Exploration().trusted(slope).tolist() == [1, 0, 1]
    assert Exploration().trusted(0 * slope).tolist() == [0, 0, 0]

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
    trusted = Exploration.trusted

    def told(self: Exploration, gradient: Tensor) -> Tensor:
        softness.append(self.softness)
        return trusted(self, gradient)

    monkeypatch.setattr(Exploration, "trusted", told)
    model, x = convolutional(), images(4)
    for budget in (4, 10, 100):
        Auto(distance=distance, budget=budget)(model, x, predictions(model, x))
    assert softness == pytest.approx([0, 0.1, 0.4])


def test_only_the_first_round_steps_less_like_signs() -> None:
    model, x = convolutional(), images(4)
    floors, trusted = list[Tensor](), list[Tensor]()

    class Looking(Auto):
        def search(self, oracle: Oracle) -> None:
            family = replace(families.of("l1"), softness=0.4)
            explorer = Explorer(oracle, family, 2, self.confidence, [])
            stride, aims = None, Aims.of(oracle, False)
            for number, i in ((0, 0), (0, 1), (1, 0)):
                found, stride, aims = explorer(number, i, Try(5, 0, 0), stride, aims, None)
                assert isinstance(found, Explored)
                floors.append(found.stride.floor)
                trusted.append(found.stride.trusted)

    Looking()(model, x, predictions(model, x))
    assert (floors[0] > 0.001).all()
    assert all((one == 1).all() for one in trusted)
    assert torch.equal(floors[1], floors[0])
    assert torch.equal(floors[2], torch.full_like(floors[2], TINY))


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


def test_the_closer_of_two_refinements_row_by_row() -> None:
    def refined(value: float, reached: list[float]) -> Refined:
        rows = torch.full((3, 2), value)
        per_row = torch.full((3,), value)
        return Refined(rows, torch.tensor(reached), per_row.long(), per_row, rows.clone(), None)

    one, other = refined(1.0, [1.0, 2.0, math.inf]), refined(2.0, [2.0, 1.0, math.inf])
    best = closer(one, other)
    expected = torch.tensor([1.0, 2.0, 1.0])  # the first where both have nothing
    assert torch.equal(best.reached, torch.tensor([1.0, 1.0, math.inf]))
    assert best.average is not None
    assert best.afar is None
    for found in (best.point[:, 0], best.average[:, 1], best.residual, best.classes.float()):
        assert torch.equal(found, expected)


def test_concentrated_perturbations_keep_their_norm_in_the_fewest_entries() -> None:
    x0 = torch.full((3, 1, 2, 2), 0.3)
    delta = torch.tensor([[0.3, -0.2, 0.1, 0.0], [0.1, 0.1, -0.1, 0.1], [0.0, 0.0, 0.0, 0.0]]).reshape(x0.shape)
    moves = concentrated(x0 + delta, x0, 0.7) - x0
    # squares of 9, 4 and 1 of 14: the first holds 0.64 of them, two hold 0.93; of four alike, three hold 0.75
    assert (moves != 0).flatten(1).sum(dim=1).tolist() == [2, 3, 0]
    torch.testing.assert_close(moves.flatten(1).norm(dim=1), delta.flatten(1).norm(dim=1))
    assert (moves * delta >= 0).all()
    farther = concentrated(x0 + delta, x0, 0.7, farther=1.1) - x0
    torch.testing.assert_close(farther, 1.1 * moves)
    alone = concentrated((x0 + delta)[1:2], x0[1:2], 0.7)
    assert torch.equal(alone - x0[1:2], moves[1:2])


def test_entries_are_left_out_only_where_that_is_adversarial() -> None:
    """Label 0 until δ₁ > 0.4 alone, in one sample; until δ₁ > 0.2 and δ₂ > 0.1, in the other."""
    x0, both = torch.full((2, 2), 0.3), torch.tensor([0.0, 1.0])

    def model(x: Tensor) -> Tensor:
        delta, need = x - 0.3, both[: len(x)]
        alone, together = delta[:, 0] - 0.4, torch.minimum(delta[:, 0] - 0.2, delta[:, 1] - 0.1)
        score = torch.where(need > 0, together, alone)
        return torch.stack((torch.zeros_like(score), score), dim=1)

    labels = torch.zeros(2, dtype=torch.int64)
    settings = Settings(budget=10, fill_up=False)
    oracle = Oracle(model, x0, {"labels": labels}, Untargeted(labels), get("l2"), settings)
    point = x0 + torch.tensor([[0.45, 0.2], [0.45, 0.2]])
    end = leave_out(oracle, Refined.at(point.clone(), oracle), 0.7)
    assert torch.equal(end.point[1], point[1])
    assert end.reached[1] == math.inf
    norm = 1.1 * (0.45**2 + 0.2**2) ** 0.5
    torch.testing.assert_close(end.point[0], torch.tensor([0.3 + norm, 0.3]))
    torch.testing.assert_close(end.reached[0], torch.tensor(norm))


@pytest.mark.filterwarnings("ignore:the gradient was exactly 0")
def test_entries_that_count_beyond_a_threshold_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Σ w_j·max(δ_j − t, 0) ≥ C as masked gradients have it: the best k entries are known for each k."""
    count, t, need = 64, 0.2, 0.8
    weights = 0.5 + torch.rand(8, count, generator=generator(5))
    largest = weights.sort(dim=1, descending=True).values
    smallest = ((need + t * largest.cumsum(1)) / largest.square().cumsum(1).sqrt()).amin(dim=1)

    def model_of(weight: Tensor) -> object:
        def model(x: Tensor) -> Tensor:
            score = ((x.flatten(1) - t).relu() * weight).sum(dim=1)
            return torch.stack((torch.full_like(score, need), score), dim=1)

        return model

    x, labels = torch.zeros(1, 1, 8, 8), torch.zeros(1, dtype=torch.int64)

    def excess() -> Tensor:
        found = [minadv.minimise(model_of(weight), x, labels, "l2", 100).distances[0] for weight in weights]  # type: ignore[arg-type]
        return torch.stack(found) / smallest

    assert (excess() < 1.3).all()
    # explorations that stay longer beyond the boundary hardly ever find the few without being told
    longer = replace(families.of("l2"), members=(families.Member("norm", families.straight, (3.0,)),))
    monkeypatch.setitem(families._KNOWN, "l2", longer)
    few = excess()
    assert (few < 1.3).all()
    monkeypatch.setitem(families._KNOWN, "l2", replace(longer, kept=1.0))
    all_kept = excess()
    far = all_kept > 1.1
    assert far.sum() >= 4
    assert (few[far] < 0.95 * all_kept[far]).all()
    assert (few < 1.001 * all_kept).all()


def test_a_refinement_without_an_adversarial_point_goes_all_the_way_to_the_boundary() -> None:
    model, x = convolutional(), images(16)
    labels = predictions(model, x)
    known = Auto(distance="l2", budget=50)(model, x, labels)
    assert known.success.all()

    def found(refinement: Refinement) -> Tensor:
        class Refining(Auto):
            def search(self, oracle: Oracle) -> None:
                start = oracle.originals.lerp(known.adversarials.to(oracle.originals), 0.2)
                towards = aiming.constrain(oracle, None, self.confidence)
                refinement(oracle, Refined.at(start, oracle), 5, towards, ByNorm(oracle.originals, 2))

        return Refining(distance="l2")(model, x, labels).success

    assert found(Refinement()).all()
    assert not found(Refinement(lost=Refinement.longest)).any()


def test_slight_entries_are_not_changed() -> None:
    x0 = torch.zeros(2, 1, 4)
    delta = torch.tensor([[[0.9, 0.004, 0.2, 0.0]], [[0.9, 0.004, 0.2, 0.0]]])
    home = torch.tensor([[[0.1, 0.0, 0.0, 0.5]], [[0.1, 0.0, 0.0, 0.0]]])
    kept = changed(delta.clone(), home, x0, torch.tensor([False, True]))
    assert kept.tolist() == [[[1, 0, 1, 1]], [[1, 1, 1, 1]]]  # all where nothing is known to be adversarial


def test_the_direct_way_leads_to_the_same_plane() -> None:
    g = generator(0)
    x0, normal = torch.rand(3, 12, generator=g), torch.randn(3, 12, generator=g)
    normal /= normal.norm(dim=1, keepdim=True)
    need = torch.tensor([0.1, -0.1, 0.05])
    home = x0 - need[:, None] * normal.sign() / normal.abs().sum(dim=1, keepdim=True)
    way = direct(normal.clone(), home, x0, need)
    torch.testing.assert_close((way * normal).sum(dim=1), torch.ones(3))
    torch.testing.assert_close(way[0], normal[0].sign() / normal[0].abs().sum())
    assert torch.equal(way[1], normal[1])


@pytest.mark.parametrize(("distance", "across"), [("l1", "few"), ("linf", "home")])
def test_steps_to_the_boundary_go_where_the_distance_grows_least(distance: str, across: str) -> None:
    model, x = convolutional(), images(16)
    labels = predictions(model, x)

    def found(**options: Any) -> Result:
        return Auto(distance=distance, budget=100, **options)(model, x, labels)

    usual, normal = found(), found(across="normal")
    assert torch.equal(found(across=across).adversarials, usual.adversarials)
    ratio = (usual.distances / normal.distances).log().mean()
    assert usual.asr == 1
    assert ratio < 0
    if distance == "l1":  # nothing is left of explorations, which change all entries
        entries = (usual.adversarials != x).flatten(1).sum(dim=1)
        assert entries.float().median() < 0.1 * x[0].numel()
        slight = (usual.adversarials - x).abs().flatten(1)
        slight = slight.where(slight < 0.003 * slight.amax(dim=1, keepdim=True), 0.0)
        assert (slight.sum(dim=1) < 1e-3 * usual.distances).all()


def test_single_entries_are_left_out_by_what_they_count() -> None:
    x0 = torch.full((4, 1, 2, 2), 0.5)
    best = torch.tensor([[1.0, 0.0, 0.5, 1.0]] * 3 + [[1.0, 0.5, 0.5, 0.5]]).reshape(x0.shape)
    normal = torch.tensor([-0.2, 0.1, 9.0, -0.3]).reshape(1, 1, 2, 2).expand_as(x0)  # each lowered the constraint
    fewer, there = without(best, x0, normal, torch.tensor([0, 2, 3, 0]))
    assert there.tolist() == [True, True, False, False]  # no fourth entry, and none to spare
    assert fewer[0].flatten().tolist() == [1.0, 0.5, 0.5, 1.0]
    assert fewer[1].flatten().tolist() == [1.0, 0.0, 0.5, 0.5]


def test_the_last_steps_leave_single_entries_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two entries are enough for the model; what the search begins with has one more."""
    weights = torch.tensor([4.0, 3.0, 2.0, 1.0, 0.0, 0.0])

    def model(x: Tensor) -> Tensor:
        gap = 4.2 - (x * weights).sum(dim=1)
        return torch.stack((gap, torch.zeros_like(gap)), dim=1)

    x, labels = torch.zeros(1, 6), torch.zeros(1, dtype=torch.int64)

    class Finishing(Auto):
        def search(self, oracle: Oracle) -> None:
            oracle.probe(torch.tensor([[0.0, 1.0, 1.0, 1.0, 0.0, 0.0]]))
            towards = aiming.constrain(oracle, None, self.confidence)
            start = Refined.at(oracle.best.clone(), oracle)
            SparseRefinement()(oracle, start, 4, towards, finish=True)

    monkeypatch.setattr(
        "minadv.attacks.auto.sparse_refinement.l0_ball", lambda gain, _count: torch.zeros_like(gain)
    )  # the usual search finds nothing
    result = Finishing(distance="l0")(model, x, labels, fill_up=False)
    assert result.adversarials.tolist() == [[0, 1, 1, 0, 0, 0]]


def test_a_sparse_refinement_does_not_try_the_same_entries_again_and_again() -> None:
    model, x = convolutional(), images(16)
    labels = predictions(model, x)

    def repeated(heat: tuple[float, float, float]) -> float:
        points = list[Tensor]()

        class Refining(Auto):
            def search(self, oracle: Oracle) -> None:
                towards = aiming.constrain(oracle, None, self.confidence)
                found = Exploration()(oracle, oracle.originals, None, 30, 3.0, towards, sparse)
                SparseRefinement(heat=heat)(oracle, Refined.after(found), 40, towards)

        hook = model.register_forward_pre_hook(lambda _model, given: points.append(given[0].detach().clone()))
        result = Refining(distance="l0")(model, x, labels)
        hook.remove()
        several = result.distances > 1  # fewer than one entry cannot be found
        assert several.sum() > 4
        tries = torch.stack(points[-41:-1]).flatten(2)[:, several]  # the last one verifies
        again = [(tries[:i] == tries[i]).all(dim=2).any(dim=0) for i in range(1, len(tries))]
        return torch.stack(again).float().mean().item()

    without = repeated((0.0, 1.0, 0.0))
    assert without > 0.8
    assert repeated(SparseRefinement.heat) < 0.7 * without


@pytest.mark.parametrize("distance", ["l2", "l0"])
def test_blind_steps_of_a_refinement_take_no_backward(distance: str) -> None:
    model = linear(3 * 8 * 8)
    x = images(6, side=8)
    labels = predictions(model, x)
    best = exact(model, x, labels, "l2")

    class Refining(Auto):
        def search(self, oracle: Oracle) -> None:
            towards = aiming.constrain(oracle, None, self.confidence)
            seen = tangent(oracle, oracle.probe(oracle.originals), towards, None, 0.0)
            start = (oracle.originals - 2 * per_sample(seen.way, x) * seen.normal).clamp(0, 1)
            begun = Refined.at(start, oracle)
            if distance == "l0":
                SparseRefinement()(oracle, begun, 30, towards, None, 10)
            else:
                Refinement()(oracle, begun, 30, towards, ByNorm(oracle.originals, 2), None, 10)

    result = Refining(distance=distance)(model, x, labels)
    assert (result.forwards == 1 + 30).all()
    assert (result.backwards == 1 + 20).all()
    assert result.success.all()
    if distance == "l2":
        reached = best.gather(1, predictions(model, result.adversarials)[:, None])[:, 0]
        assert (result.distances < 1.01 * reached).all()
        assert (result.distances < 1.0015 * reached).sum() >= 5  # of six, after twenty gradients


def test_stops_where_rounds_agree_and_loses_nothing_there() -> None:
    model = linear(3 * 8 * 8)
    x = images(6, side=8)
    labels = predictions(model, x)
    early, full = (Auto(budget=1500, stop_early=early)(model, x, labels) for early in (True, False))
    assert (full.forwards == 1500).all()
    # a look at fewer entries, at most once a round, has no backward
    assert ((full.backwards >= 1500 - 15) & (full.backwards <= 1500)).all()
    assert (early.forwards < 1500).any()
    assert (early.distances <= full.distances * 1.005 + 1e-6).all()


def test_a_callback_may_stop_the_search() -> None:
    model, x = convolutional(), images(4)
    labels = predictions(model, x)
    seen: list[Step] = []

    def stop(step: Step) -> bool:
        seen.append(step)
        return len(seen) == 60

    result = Auto(budget=500)(model, x, labels, on_step=stop)
    assert (result.forwards == 59).all()
    assert result.success.all()
    assert Auto(budget=500)(model, x, labels, on_step=lambda _step: None).forwards.max() > 59


@pytest.mark.parametrize("own", [weighted, differences])
def test_own_distances(own: object) -> None:
    model, x = convolutional(), images(8)
    labels = predictions(model, x)
    result = minadv.minimise(model, x, labels, distance=own, budget=400)
    assert result.success.all()
    torch.testing.assert_close(result.distances, own(result.adversarials, x).double(), check_dtype=False)
    assert (
        result.distances <= ALMA(distance=own, steps=400)(model, x, labels).distances * 1.02
    ).float().mean() > 0.7


@pytest.mark.parametrize("own", [weighted, differences])
@pytest.mark.parametrize("budget", [6, 25, 100])
def test_own_distances_at_small_budgets(own: Callable[..., Tensor], budget: int) -> None:
    model, x = convolutional(), images(16)
    labels = predictions(model, x)
    result = minadv.minimise(model, x, labels, distance=own, budget=budget)
    assert result.success.all()
    alma = ALMA(distance=own, steps=budget)(model, x, labels).distances
    # as good at its best, at 100 in differences on a smooth network, and better elsewhere
    assert result.distances.log().mean() < alma.log().mean() + (0.005 if budget == 100 else 0.0)


def test_secants_know_the_newest_and_a_quadratic_form() -> None:
    """Of as many conjugate moves as entries, L-BFGS is the inverse of the Hessian; of any, that of the newest."""
    root = torch.randn(4, 4, generator=generator(3), dtype=torch.float64)
    hessian, weights = root @ root.T + 0.1 * torch.eye(4), torch.ones(1, 4, dtype=torch.float64)
    _, vectors = torch.linalg.eigh(hessian)
    conjugate = [Secant.of(v[None], (hessian @ v)[None]) for v in vectors.T]
    normal = torch.randn(1, 4, generator=generator(4), dtype=torch.float64)
    torch.testing.assert_close(solve(normal, conjugate, weights), normal @ hessian.inverse())
    few = [Secant.of(v[None], (hessian @ v)[None]) for v in torch.eye(4, dtype=torch.float64)[:2]]
    torch.testing.assert_close(solve(few[-1].change, few, weights), few[-1].move)
    falling = [Secant.of(normal, -normal)]
    torch.testing.assert_close(solve(normal, falling, 2 * weights), normal / 2)


@pytest.mark.parametrize("own", [weighted, differences])
def test_nearest_by_secants_goes_to_the_nearest_point_of_a_plane(own: Callable[..., Tensor]) -> None:
    """D² is a quadratic form δᵀHδ; on the plane ⟨n, δ⟩ = need, D is at least need/√(nᵀH⁻¹n)."""
    x0, normal = torch.full((3, 1, 4, 4), 0.5), torch.randn(3, 1, 4, 4, generator=generator(5))
    distance, need = resolve(own).anchored(x0), torch.full((3,), 0.1)

    def energy(delta: Tensor) -> Tensor:
        return own(delta.reshape(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)).square().sum() / 2

    hessian = torch.autograd.functional.hessian(energy, 0.01 * torch.randn(16, generator=generator(6)))
    least = need / (normal.flatten(1) @ hessian.inverse() * normal.flatten(1)).sum(dim=1).sqrt()
    nearest, memory, x = BySecants(x0, distance), None, along(x0, normal, normal, need)[0]
    assert (distance(x) > 1.2 * least).all()
    for _ in range(60):
        value, slope = distance.value_and_gradient(x)
        home, memory = nearest(normal, need, probe_at(x, slope, value), memory)
        x = x.lerp(home, 0.15)
    assert (distance(x) < 1.02 * least).all()
    torch.testing.assert_close((normal * (x0 - x)).flatten(1).sum(dim=1), need, rtol=1e-3, atol=0)


@pytest.mark.parametrize(("own", "trusted"), [(weighted, True), (differences, False)])
def test_weights_of_entries_are_trusted_where_they_foretell_slopes(
    own: Callable[..., Tensor], trusted: bool
) -> None:
    x0, normal = torch.full((3, 1, 4, 4), 0.5), torch.randn(3, 1, 4, 4, generator=generator(5))
    distance, need = resolve(own).anchored(x0), torch.full((3,), 0.1)
    nearest, memory, x = BySecants(x0, distance), None, along(x0, normal, normal, need)[0]
    for _ in range(9):
        value, slope = distance.value_and_gradient(x)
        home, memory = nearest(normal, need, probe_at(x, slope, value), memory)
        x = x.lerp(home, 0.15)
    assert memory is not None
    assert ((memory.trust > 0) == trusted).all()


def test_own_distance_on_a_linear_model_is_exact() -> None:
    model = linear(48)
    x = 0.5 + 0.2 * (torch.rand(8, 48, generator=generator(2)) - 0.5)
    labels = predictions(model, x)
    result = minadv.minimise(model, x, labels, distance=weighted, budget=1000)
    z, weight = model(x).detach(), model.layer.weight.detach()
    k = result.predictions
    rows = torch.arange(8)
    gap, w = z[rows, labels] - z[rows, k], weight[k] - weight[labels]
    closed = gap / (w / torch.linspace(0.2, 2, 48)).norm(dim=1)  # the dual norm; the box is far
    torch.testing.assert_close(result.distances.float(), closed, rtol=5e-3, atol=1e-3)


def test_minimise_passes_everything_on() -> None:
    model, x = convolutional(), images(4)
    labels = predictions(model, x)
    targets = (labels + 1) % 5
    result = minadv.minimise(model, x, labels, "l1", 60, targets=targets, seed=3, levels=256)
    direct = Auto(distance="l1", budget=60, seed=3, levels=256)(model, x, labels, targets=targets)
    assert torch.equal(result.adversarials, direct.adversarials)
    assert (result.predictions[result.success] == targets[result.success]).all()
    torch.testing.assert_close(result.adversarials * 255, (result.adversarials * 255).round(), rtol=0, atol=1e-3)
    with pytest.raises(ValueError, match=r"budget must be .*≥ 1.*, got 0"):
        minadv.minimise(model, x, labels, budget=0)


@pytest.mark.parametrize("distance", ["ciede2000", "l1"])
def test_the_first_round_of_a_grid_finds_answers_on_it(distance: str) -> None:
    model, x = convolutional(), images(4)
    best: list[Tensor] = []

    def first_round(step: Step) -> bool:
        best.append(step.distances)
        return len(best) > 40

    result = Auto(distance=distance, budget=500, levels=256)(model, x, predictions(model, x), on_step=first_round)
    assert result.success.all()
    assert best[-1].isfinite().all()


def test_other_seeds_start_elsewhere() -> None:
    model, x = convolutional(), images(4)
    labels = predictions(model, x)
    one, other = (Auto(budget=300, seed=seed)(model, x, labels).distances for seed in (0, 1))
    assert not torch.equal(one, other)
    torch.testing.assert_close(one, other, rtol=0.1, atol=1e-3)


def test_dlr_towards_is_dlr_plus_for_the_likeliest_rival() -> None:
    z = torch.randn(20, 6, generator=generator(0), dtype=torch.float64, requires_grad=True)
    labels = torch.randint(6, (20,), generator=generator(1))
    rivals = z.detach().scatter(1, labels[:, None], -math.inf).argmax(dim=1)
    one, two = losses.dlr_towards(z, labels, rivals, 0.01), losses.dlr_plus(z, labels, 0.01)
    torch.testing.assert_close(one, two)
    for mine, theirs in zip(*(torch.autograd.grad(value.sum(), z) for value in (one, two)), strict=True):
        torch.testing.assert_close(mine, theirs)
    worst = z.detach().argmin(dim=1)
    value = losses.dlr_towards(z, labels, worst)
    assert (value[worst != labels] > 0).all()


def test_margin_towards_leads_on_where_dlr_does_not() -> None:
    z = torch.tensor([[1.0, 9.0, 5.0, 0.0], [1.0, 2.0, 0.0, -1.0]], dtype=torch.float64, requires_grad=True)
    labels, targets = torch.tensor([0, 0]), torch.tensor([1, 1])
    value = losses.margin_towards(z, labels, targets, 0.5)
    torch.testing.assert_close(value, torch.tensor([-7.5, -0.5], dtype=torch.float64))
    (slope,) = torch.autograd.grad(value.sum(), z)
    assert slope.tolist() == [[1, -1, 0, 0]] * 2
    # the label is the third likeliest: DLR⁺ is at its end
    far = torch.tensor([[1.0, 9.0, 1.0 + 1e-6, 0.0]], dtype=torch.float64, requires_grad=True)
    ended = losses.dlr_plus(far, labels[:1])
    torch.testing.assert_close(ended, -torch.ones_like(ended), atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match="margin_towards"):
        losses.margin_towards(torch.zeros(2, 1), labels, labels)


@pytest.mark.parametrize(("pull", "power"), [(sparse, 1.5), (straight, 2.0), (flat, 8.0)])
def test_pulls_are_gradients_of_powers(pull: object, power: float) -> None:
    delta = torch.randn(3, 2, 4, generator=generator(0), dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(delta.abs().pow(power).sum(), delta)
    mine = pull(delta.detach())
    ratio = (mine / gradient).flatten(1)
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))


def test_nearest_by_norm_agrees_with_the_exact_projection() -> None:
    g = generator(0)
    x, w = torch.rand(6, 30, generator=g).double(), torch.randn(6, 30, generator=g).double()
    need = 0.1 * w.abs().sum(1)
    for p in (1.0, 2.0, math.inf):
        found, _ = ByNorm(x, p)(w, need, probe_at(x, w, need), None)
        best = x + hyperplane_box(x, w, (w * x).sum(1) - need, p)
        torch.testing.assert_close(found, best, rtol=2e-3, atol=2e-3)


def test_nearest_by_norm_is_exact_in_float32_whatever_the_batch() -> None:
    """From few entries to hundreds, on the other side, and beyond what the box reaches."""
    g = generator(0)
    x = (1.5 * torch.rand(5, 3, 20, 20, generator=g) - 0.25).clamp(0, 1)
    w = torch.randn(5, 3, 20, 20, generator=g)
    w /= w.flatten(1).norm(dim=1)[:, None, None, None]
    need = torch.tensor([0.1, 3.0, 12.0, -2.0, 100.0])
    for p in (1.0, math.inf):
        found, _ = ByNorm(x, p)(w, need, probe_at(x, w, need), None)
        level = (w * x).flatten(1).double().sum(1) - need
        best = x + hyperplane_box(x.double(), w.double(), level, p)
        moved = (found - x).flatten(1)
        least = (best - x).flatten(1).norm(p, dim=1)
        torch.testing.assert_close(moved.norm(p, dim=1).double(), least, rtol=1e-5, atol=0)
        torch.testing.assert_close(found.double(), best, rtol=0, atol=2e-4)
        for i in range(5):
            row = slice(i, i + 1)
            alone, _ = ByNorm(x[row], p)(w[row], need[row], probe_at(x[row], w[row], need[row]), None)
            assert torch.equal(alone, found[row])
        if p == 1:
            assert (moved[2] != 0).sum() > FEW


def test_every_part_has_a_switch_that_matters() -> None:
    model, x = convolutional(), images(6)
    labels = predictions(model, x)

    def found(distance: object = "l2", **changes: object) -> Tensor:
        return Auto(distance=distance, budget=600, stop_early=False, **changes)(model, x, labels).distances  # type: ignore[arg-type]

    whole = found()
    changes: tuple[dict[str, object], ...] = (
        {"memory": 0.0},
        {"aimed": False},
        {"explorations": 1},
        {"explored": 0.3},
        {"round_length": 50},
        {"softness": 0},
        {"across": "few"},
        {"bolder": 2.0},
        {"across": "home"},
    )
    for change in changes:
        assert not torch.equal(found(**change), whole), change
    assert not torch.equal(found("ciede2000", lagrangian=False), found("ciede2000"))
    assert torch.equal(found(softness=0.4), whole)
    wrongs: tuple[dict[str, object], ...] = (
        {"memory": 1.0},
        {"explored": 0.0},
        {"explorations": 0},
        {"round_length": 0},
        {"softness": -0.1},
        {"bolder": 0.0},
    )
    for wrong in wrongs:
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
            found(**wrong)


def test_nearest_by_metric_knows_a_quadratic_form_of_colours() -> None:
    """Blocks of channels differ from pixel to pixel, as those of a colour distance do."""
    g = generator(3)
    root = torch.randn(1, 3, 3, 16, generator=g).double() + 2 * torch.eye(3).double()[None, :, :, None]

    def form(x: Tensor, x0: Tensor) -> Tensor:
        mixed = (root * (x - x0).flatten(2)[:, None]).sum(dim=2)
        return (mixed.square().sum(dim=(1, 2)) + 1e-24).sqrt()

    x0 = 0.5 + 0.1 * torch.rand(2, 3, 4, 4, generator=g).double()
    normal = torch.randn(2, 3, 4, 4, generator=g).double()
    need = torch.full((2,), 0.01, dtype=torch.float64)
    distance = resolve(form).anchored(x0)
    start = x0 + 0.01
    value, slope = distance.value_and_gradient(start)
    by_metric = ByMetric(x0, distance, ridge=1e-9, rounder=0.0)
    found, _ = by_metric(normal, need, probe_at(start, slope, value), None)
    metric = torch.einsum("zakp,zabp->zkbp", root, root).permute(0, 3, 1, 2)
    direction = torch.linalg.solve(metric, normal.flatten(2).permute(0, 2, 1)[..., None])[..., 0]
    direction = direction.permute(0, 2, 1).reshape(x0.shape)
    theta = 0.01 / (normal * direction).flatten(1).sum(1)
    torch.testing.assert_close(found, x0 - theta.reshape(-1, 1, 1, 1) * direction, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("scale", ["correct", "paper"])
@pytest.mark.parametrize("kind", ["random", "grey", "black"])
def test_blocks_of_one_look_a_channel_are_the_hessian_of_colours(scale: str, kind: str) -> None:
    """CIEDE2000 of a small change v is √(vᵀHv), in float64 and a thousandth of the looks' length away."""
    x0 = 0.1 + 0.8 * torch.rand(4, 3, 5, 5, generator=generator(3))
    x0 = {"random": x0, "grey": x0.mean(dim=1, keepdim=True).expand_as(x0), "black": 0 * x0}[kind]
    distance = resolve(f"ciede2000:scale={scale}")
    squared, hessian = blocks(x0, distance.anchored(x0), looks=1, length=5e-4, ridge=0.0)
    assert not squared.any()
    v = torch.rand(x0.shape, generator=generator(9))
    moved = x0.double() + 5e-7 * v.double()
    exact = (distance.anchored(x0.double())(moved) / 5e-7).square()
    found = hessian.square(pixels(v)).flatten(1).sum(dim=1)
    torch.testing.assert_close(found.double(), exact, rtol=0.05, atol=0)


def test_rounder_blocks_have_eigenvalues_nearer_to_their_own_mean() -> None:
    x0 = 0.1 + 0.8 * torch.rand(2, 3, 4, 4, generator=generator(8)).double()
    distance = resolve("ciede2000").anchored(x0)

    def matrices(rounder: float) -> Tensor:
        _, hessian = blocks(x0, distance, looks=1, length=5e-4, ridge=0.0, rounder=rounder)
        columns = list[Tensor]()
        for channel in range(3):
            unit = torch.zeros(2, 3, 16).double()
            unit[:, channel] = 1
            columns.append(hessian.solve(unit))
        return torch.linalg.inv(torch.stack(columns, dim=2).permute(0, 3, 1, 2))

    plain, rounder = matrices(0.0), matrices(0.3)
    own = plain.diagonal(dim1=-2, dim2=-1).mean(dim=-1)[..., None, None]
    expected = plain + 0.3 * own * torch.eye(3).double()
    # each is known up to a factor per image
    scale = (rounder.flatten(1).norm(dim=1) / expected.flatten(1).norm(dim=1)).reshape(2, 1, 1, 1)
    torch.testing.assert_close(rounder, scale * expected, rtol=1e-6, atol=0)


def test_units_are_how_far_entries_move_at_equal_distance() -> None:
    """Of the root of a weighted sum of squares, and of a sum of squares itself."""
    x0 = 0.1 + 0.8 * torch.rand(2, 3, 4, 4, generator=generator(4)).double()
    scale = torch.linspace(0.5, 2, 48).double().reshape(3, 4, 4)

    def root(x: Tensor, x0: Tensor) -> Tensor:
        return ((scale * (x - x0)).flatten(1).square().sum(1) + 1e-24).sqrt()

    def square(x: Tensor, x0: Tensor) -> Tensor:
        return (scale * (x - x0)).flatten(1).square().sum(1)

    expected = (1 / scale).expand_as(x0) / scale.reciprocal().square().mean().sqrt()
    for form in (root, square):
        distance = resolve(form).anchored(x0)
        assert torch.equal(quadratic(x0, distance, 0.01), torch.full((2,), form is square))
        torch.testing.assert_close(units(sampled(x0, distance), ridge=0), expected, rtol=1e-6, atol=0)
    for x0 in (images(2), torch.zeros_like(images(2))):
        assert quadratic(x0, resolve("ssim").anchored(x0), 0.001).all()


@pytest.mark.parametrize("per", ["entry", "pixel"])
def test_steps_in_coordinates_change_the_distance_alike(per: str) -> None:
    """In them, a quadratic form is a multiple of Σu²; slopes are those of the adjoint."""
    root = torch.randn(2, 3, 3, 16, generator=generator(6)).double() + 2 * torch.eye(3).double()[None, :, :, None]
    if per == "entry":
        root *= torch.eye(3)[None, :, :, None]
    matrices = torch.einsum("zabp,zcbp->zacp", root, root)
    mean = torch.tensor([2.0, 0.5]).double()
    x0 = images(2, side=4).double()
    if per == "entry":
        free = matrices.diagonal(dim1=1, dim2=2).transpose(1, 2).reshape(x0.shape).rsqrt()
        coordinates: PerEntry | PerPixel = PerEntry(free)
    else:
        coordinates = PerPixel.of_blocks(Blocks(mean, factored(matrices, mean, 0.0)), x0)
    u, h = (torch.randn(x0.shape, generator=generator(seed)).double() for seed in (1, 2))
    delta = coordinates.step(u.clone())
    torch.testing.assert_close(coordinates.of(delta.clone()), u)
    along, across = (h * delta).flatten(1).sum(1), (coordinates.slope(h.clone()) * u).flatten(1).sum(1)
    torch.testing.assert_close(along, across)
    moved = pixels(delta)
    form = torch.einsum("zap,zacp,zcp->z", moved, matrices, moved) / u.square().flatten(1).sum(1)
    other = pixels(coordinates.step(h.clone()))
    again = torch.einsum("zap,zacp,zcp->z", other, matrices, other) / h.square().flatten(1).sum(1)
    torch.testing.assert_close(form, again)
    if per == "pixel":  # unit vectors move entries by 1, root mean square
        columns = [
            coordinates.step(row.reshape(1, 3, 4, 4).expand_as(x0).clone()) for row in torch.eye(48).double()
        ]
        squares = torch.stack(columns).square().sum(dim=0).flatten(1).mean(dim=1)
        torch.testing.assert_close(squares, torch.ones(2).double())


def test_nearest_by_weights_settles_on_a_weighted_norm() -> None:
    x0 = torch.full((1, 40), 0.5, dtype=torch.float64)
    normal = torch.randn(1, 40, generator=generator(5)).double()
    need = torch.tensor([0.2], dtype=torch.float64)
    scale = torch.linspace(0.5, 2, 40).double()
    by_weights, x, remembered = ByWeights(x0), x0 + 0.01 * normal, None
    for _ in range(60):
        delta = x - x0
        value = (delta * scale).norm(dim=1)
        slope = delta * scale**2 / value[:, None]
        x, remembered = by_weights(normal, need, probe_at(x, slope, value), remembered)
    best = normal / scale**2
    torch.testing.assert_close(x - x0, -0.2 * best / (normal * best).sum(), rtol=0.03, atol=1e-4)


@pytest.mark.parametrize("by", [ByWeights, ByMetric])
def test_nearest_by_a_model_that_cannot_be_right_still_ends_at_the_nearest_point(by: type[ByWeights]) -> None:
    """A quadratic form that ties entries together across pixels, which neither weights nor blocks can say."""
    g, n = generator(7), 12
    x0 = torch.full((1, n), 0.5, dtype=torch.float64)
    root = torch.eye(n).double() + 0.3 * torch.randn(n, n, generator=g).double()
    form = root.T @ root
    normal, need = torch.randn(1, n, generator=g).double(), torch.tensor([0.02], dtype=torch.float64)

    def tied(x: Tensor, x0: Tensor) -> Tensor:
        return ((x - x0) @ root.T).norm(dim=1)

    nearest = ByWeights(x0) if by is ByWeights else ByMetric(x0, resolve(tied).anchored(x0))
    x, remembered = x0 - 0.02 * normal / normal.square().sum(), None
    for _ in range(400):
        value, slope = resolve(tied).anchored(x0).value_and_gradient(x)
        home, remembered = nearest(normal, need, probe_at(x, slope, value), remembered)
        x = x.lerp(home, 0.2)
    direction = torch.linalg.inv(form) @ normal[0]
    best = x0 - 0.02 * direction / (normal[0] @ direction)
    assert tied(x, x0) <= 1.005 * tied(best, x0)
    torch.testing.assert_close((normal * (x0 - x)).sum(1), need, rtol=1e-3, atol=0)


def test_a_refinement_crosses_the_boundary_where_single_gradients_are_mostly_noise() -> None:
    """Each gradient's own way to the boundary is then too short by a factor, in the direction of their average."""
    g, ended = generator(3), list[Refined]()
    weights = torch.randn(3 * 8 * 8, generator=g) / 10

    def noisy(x: Tensor) -> Tensor:
        rows = x.flatten(1)
        noise = 0.4 * torch.randn(rows.shape, generator=g)
        fallen = (rows - 0.5) @ weights + ((rows - rows.detach()) * noise).sum(dim=1) - 1
        return torch.stack((torch.zeros_like(fallen), fallen, fallen - 3, fallen - 4), dim=1)

    class Refining(Auto):
        def search(self, oracle: Oracle) -> None:
            start = oracle.originals + 0.1 * weights.reshape(3, 8, 8)
            towards = aiming.constrain(oracle, None, self.confidence)
            ended.append(Refinement()(oracle, Refined.at(start, oracle), 50, towards, ByNorm(oracle.originals, 2)))

    result = Refining()(noisy, torch.full((4, 3, 8, 8), 0.5), torch.zeros(4, dtype=torch.int64))
    assert ended[0].reached.isfinite().all()
    assert result.success.all()


def test_along_meets_the_plane_inside_the_box() -> None:
    x0 = torch.tensor([[0.95, 0.5, 0.5]])
    normal = torch.tensor([[-1.0, -1.0, -1.0]])
    need = torch.tensor([0.4])  # 0.05 of it from the first entry at most
    found, longer = along(x0, normal.clone(), normal, need, rounds=20)
    torch.testing.assert_close((normal * (x0 - found)).sum(1), need, rtol=0, atol=1e-4)
    assert found.max() <= 1
    again, same = along(x0, normal.clone(), normal, need, longer, rounds=0)  # there at once
    torch.testing.assert_close(again, found)
    torch.testing.assert_close(same, longer)


@pytest.mark.parametrize("side", [1, -1])
def test_along_comes_back_from_a_start_that_is_too_long(side: int) -> None:
    """Half of the entries have a gradient, and all of these are at a face: both looks reach the same."""
    x0, normal = torch.full((1, 100), 0.5), torch.cat((torch.ones(1, 50), torch.zeros(1, 50)), dim=1)
    need = torch.tensor([side * 0.5 * 25])
    found, longer = along(x0, normal, normal, need, torch.tensor([64.0]), rounds=8)
    torch.testing.assert_close((normal * (x0 - found)).sum(dim=1), need, rtol=1e-3, atol=0)
    torch.testing.assert_close(longer, torch.ones(1), rtol=1e-3, atol=0)


@pytest.mark.parametrize("side", [1, -1])
def test_along_meets_one_plane_after_the_other(side: int) -> None:
    """On either side, and again after one that is out of reach."""
    x0, normal = torch.rand(8, 200, generator=generator(1)), torch.randn(8, 200, generator=generator(2))
    room = torch.where(side * normal > 0, x0, 1 - x0)
    most, longer = side * (normal.abs() * room).sum(dim=1), None
    for share in (0.1, 0.3, 0.6, 1.5, 0.6, 0.5):
        found, longer = along(x0, normal, normal, share * most, longer)
        assert longer.isfinite().all()
    torch.testing.assert_close((normal * (x0 - found)).sum(dim=1), 0.5 * most, rtol=1e-3, atol=0)


def test_along_is_the_nearest_point_where_many_entries_are_at_a_face() -> None:
    """Weighted ℓ2 in units of its weights is ℓ2: exact by Newton's method on the breakpoints."""
    x0 = torch.rand(32, 400, generator=generator(1)).mul_(1.4).sub_(0.2).clamp_(0, 1)
    normal = torch.randn(32, 400, generator=generator(2))
    room = torch.where(normal > 0, x0, 1 - x0)
    need = (normal.abs() * room).sum(dim=1) * torch.linspace(0.05, 0.8, 32)
    exact = cheapest(normal.abs(), room, need[:, None], 2)
    found, _ = along(x0, normal, normal, need)
    torch.testing.assert_close((normal * (x0 - found)).sum(dim=1), need, rtol=1e-3, atol=0)
    torch.testing.assert_close((x0 - found).abs(), exact, rtol=0, atol=1e-2)


@pytest.mark.parametrize("budget", [1, 7, 99, 100, 299, 300, 500, 999, 1000, 2001, 3000, 10_000, 123_456])
@pytest.mark.parametrize("distance", ["l0", "l1", "l2", "linf", "ssim", "ciede2000", "another"])
def test_rounds_take_the_whole_budget_and_no_more(budget: int, distance: str) -> None:
    rounds, last = divide(budget, families.of(distance), 100, 2, None)
    parts = [part for steps in rounds for one in steps.tries for part in astuple(one)]
    parts += [steps.refining for steps in rounds]
    assert all(steps.tries[0].exploring for steps in rounds)
    assert min(*parts, last) >= 0
    assert sum(parts) + last == budget


def test_portions_of_a_round_take_all_of_its_steps_and_explore_first() -> None:
    assert steps_of((0.25, 0.25, 0.2), 100) == [25, 25, 20]
    for length in range(1, 12):
        steps = steps_of((0.15, 0.15, 0.2), length)
        assert steps[0] >= min(length, 2)
        assert min(steps) >= 0
        assert sum(steps) <= length


@pytest.mark.parametrize("distance", ["l0", "l1", "l2", "linf", "ssim", "ciede2000"])
def test_short_rounds_explore_once_and_the_shortest_do_not_settle(distance: str) -> None:
    family = families.of(distance)
    for budget, tries in ((60, 2), (59, 1), (30, 1), (29, 1), (2, 1)):
        (only,), _ = divide(budget, family, 100, 2, None)
        assert len(only.tries) == tries
        settling = family.settled > 0 and budget >= 30
        assert all((one.settling > 0) == settling for one in only.tries)


@pytest.mark.parametrize(("budget", "steps"), [(1, 1), (2, 2), (10, 2), (16, 5), (20, 8), (30, 12), (59, 24)])
def test_the_shortest_rounds_explore_for_a_smaller_share(budget: int, steps: int) -> None:
    (only,), _ = divide(budget, families.of("linf"), 100, 2, None)  # 40 % otherwise
    assert only.tries[0].exploring == steps
    (chosen,), _ = divide(budget, families.of("linf"), 100, 2, 0.5)  # as a user wants it
    assert chosen.tries[0].exploring == min(max(round(budget / 2), 2), budget)


def test_short_explorations_go_less_far_and_end_with_larger_steps() -> None:
    usual = Exploration()
    assert vars(usual.within(20)) == vars(usual.within(70)) == vars(usual)
    half, shortest = usual.within(10), usual.within(1)
    assert half.reach == usual.reach / 2
    assert usual.decay / 2 < half.decay < usual.decay
    assert shortest.reach == usual.reach / 4


@pytest.mark.parametrize("distance", ["l1", "l2", "linf"])
def test_few_steps_reach_what_is_near(distance: str) -> None:
    """Of a linear model, whose closest boundary is known."""
    model, x = linear(3 * 12 * 12), 0.3 + 0.4 * images(16, side=12)
    labels = predictions(model, x)
    nearest = exact(model, x, labels, distance).amin(dim=1)
    for budget, most in ((4, 3.0), (10, 1.5)):
        result = Auto(distance=distance, budget=budget)(model, x, labels)
        assert result.success.all()
        assert (result.distances / nearest).median() < most


@pytest.mark.parametrize("name", ["l0", "l1", "l2", "linf", "ssim", "ciede2000"])
def test_your_own_distance_may_have_any_name(name: str) -> None:
    """What is known of this library's distances is not supposed of a function that is called the same."""
    model, x = convolutional(), images(3)
    labels = predictions(model, x)

    def own(x: Tensor, x0: Tensor) -> Tensor:
        return weighted(x, x0)

    own.__name__ = name
    for attack in (Auto, ALMA):
        budget = {"budget": 40} if attack is Auto else {"steps": 40}
        one, other = (attack(distance=given, **budget)(model, x, labels) for given in (own, weighted))
        assert torch.equal(one.adversarials, other.adversarials)
    with pytest.raises(ValueError, match="of your own"):
        FMN(distance=own)


@pytest.mark.parametrize("distance", ["l0", "l1", "l2", "linf", "ssim", "ciede2000"])
def test_a_budget_of_two_finds_adversarials(distance: str) -> None:
    """A look at the original, and one at where its gradient leads."""
    model, x = linear(3 * 12 * 12), 0.3 + 0.4 * images(16, side=12)
    result = Auto(distance=distance, budget=2)(model, x, predictions(model, x))
    assert result.success.float().mean() > 0.5
    assert result.forwards.max() == 2


def test_indefinite_blocks_become_definite_and_others_stay() -> None:
    root = torch.randn(2, 3, 3, 5, generator=generator(6)).double()
    blocks = torch.einsum("zabp,zcbp->zacp", root, root)
    blocks[0, :, :, 0] = torch.diag(torch.tensor([-1.0, 1.0, 2.0])).double()
    typical = torch.ones(2).double()
    factor = torch.zeros(2, 3, 3, 5).double()
    above = torch.triu_indices(3, 3)
    factor[:, above[0], above[1]] = factored(blocks, typical, 0.01)
    metric = torch.einsum("zabp,zacp->zbcp", factor, factor) * typical[:, None, None, None]
    ridge = 0.01 * torch.eye(3).double()[None, :, :, None]
    expected = blocks.clone()
    expected[0, 0, 0, 0] = 0.0
    torch.testing.assert_close(metric, expected + ridge)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_blocks_multiply_and_solve_as_their_matrices_do(channels: int) -> None:
    root = torch.randn(2, channels, channels, 5, generator=generator(7), dtype=torch.float64)
    mean = torch.tensor([2.0, 0.5], dtype=torch.float64)
    matrices = torch.einsum("zabp,zcbp->zacp", root, root) + torch.eye(channels)[None, :, :, None]
    vectors = torch.randn(2, channels, 5, generator=generator(8), dtype=torch.float64)
    triangles = factored(matrices, mean, 0.0)
    assert triangles.shape == (2, channels * (channels + 1) // 2, 5)
    blocks = Blocks(mean, triangles)
    product = torch.einsum("zabp,zbp->zap", matrices, vectors)
    torch.testing.assert_close(blocks.square(vectors), (vectors * product).sum(dim=1, keepdim=True))
    torch.testing.assert_close(blocks.solve(product), vectors * mean[:, None, None])

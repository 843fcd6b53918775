"""Auto as a whole: budgets, early stopping, what it finds on networks and by distances of one's own."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import minadv
from minadv import ALMA, Auto
from minadv.probe import Step
from tests.networks import convolutional, exact, generator, images, linear, predictions
from tests.own_distances import differences, weighted

pytestmark = pytest.mark.usefixtures("as_given")


# explorations and settling end without a backward, but at ℓ0, which needs it: these pay for the look at classes
@pytest.mark.parametrize(
    ("distance", "spared"), [("l2", (0, 1, 1, 0, 0, 1)), ("l0", (0,) * 6), (weighted, (0, 1, 1, 0, 0, 0))]
)
@pytest.mark.parametrize(("place", "budget"), list(enumerate([1, 2, 3, 9, 40, 250])))
def test_budget_bounds_forwards_and_backwards_each(
    place: int, budget: int, distance: str, spared: tuple[int, ...]
) -> None:
    model, x = convolutional(), images(5)
    calls: list[int] = []
    labels = predictions(model, x)
    model.register_forward_hook(lambda _module, inputs, _output: calls.append(len(inputs[0])))
    result = Auto(distance=distance, budget=budget, stop_early=False)(model, x, labels)
    assert (result.forwards == budget).all()
    assert (result.backwards == budget - spared[place]).all()
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


def test_stops_where_rounds_agree_and_loses_nothing_there() -> None:
    model = linear(3 * 8 * 8)
    x = images(6, side=8)
    labels = predictions(model, x)
    early, full = (Auto(budget=1500, stop_early=early)(model, x, labels) for early in (True, False))
    assert (full.forwards == 1500).all()
    # a look at fewer entries, at most once a round, has no backward, nor have the last steps of explorations
    assert ((full.backwards >= 1500 - 15 * 5) & (full.backwards <= 1500)).all()
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


@pytest.mark.parametrize("distance", ["l0", "l1", "l2", "linf", "ssim", "ciede2000"])
def test_a_budget_of_two_finds_adversarials(distance: str) -> None:
    """A look at the original, and one at where its gradient leads."""
    model, x = linear(3 * 12 * 12), 0.3 + 0.4 * images(16, side=12)
    result = Auto(distance=distance, budget=2)(model, x, predictions(model, x))
    assert result.success.float().mean() > 0.5
    assert result.forwards.max() == 2

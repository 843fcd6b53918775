"""LPA: counts, bounds that are bisected per sample, and the projection to a perceptual ball."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from minadv import ALMA, distances
from minadv.attacks.lpa import LPA
from minadv.goals import Untargeted
from minadv.oracle import Oracle
from minadv.verification import Settings, quantise
from tests.networks import convolutional, images, predictions

pytestmark = pytest.mark.usefixtures("as_given")

LPIPS = "lpips:trunk=demo"


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return convolutional()


def batch(model: nn.Module, count: int = 4) -> tuple[Tensor, Tensor]:
    x = images(count, side=16)
    return x, predictions(model, x)


def oracle(model: Callable[[Tensor], Tensor], x: Tensor, labels: Tensor, levels: int | None = None) -> Oracle:
    goal = Untargeted(labels)
    return Oracle(model, x, {"labels": labels}, goal, distances.resolve(LPIPS), Settings(levels=levels))


def test_every_bisection_costs_one_forward_more_than_backwards(model: nn.Module) -> None:
    x, labels = batch(model)
    result = LPA(distance=LPIPS, steps=1, bisections=4)(model, x, labels)
    assert result.success.all()
    assert (result.forwards - result.backwards == 4).all()
    assert (result.backwards <= 4 * 5).all()
    assert (result.backwards >= 4).all()
    # samples leave their runs one by one
    assert len(set(result.backwards.tolist())) > 1


def test_bisection_closes_in_on_the_smallest_distance(model: nn.Module) -> None:
    x, labels = batch(model)
    coarse = LPA(distance=LPIPS, steps=4, bisections=1)(model, x, labels)
    fine = LPA(distance=LPIPS, steps=4, bisections=5)(model, x, labels)
    assert (fine.distances <= coarse.distances).all()
    assert fine.distances.median() < 0.9 * coarse.distances.median()
    rival = ALMA(distance=LPIPS, steps=40)(model, x, labels)
    assert fine.distances.median() < 3 * rival.distances.median()


def test_points_outside_come_back_to_the_ball_and_others_stay(model: nn.Module) -> None:
    x, labels = batch(model)
    seen = oracle(model, x, labels)
    far = (x + 0.2 * (images(4, seed=9) - 0.5)).clamp(0, 1)
    d = seen.distance(far)
    bound = d * torch.tensor([0.5, 0.9, 2.0, 1e-4])
    back = LPA(distance=LPIPS)._project(seen, far, bound)
    assert (seen.distance(back) <= bound).all()
    assert torch.equal(back[2], far[2])
    assert ((back >= 0) & (back <= 1)).all()
    assert (seen.distance(back)[:2] > 0).all()


def test_a_run_keeps_each_samples_own_bound(model: nn.Module) -> None:
    """What a run finds within its bound is the success; a bound of almost nothing has none."""
    x, labels = batch(model)
    seen = oracle(model, x, labels)
    bound = torch.tensor([1.0, 1e-6, 1.0, 1e-6])
    LPA(distance=LPIPS, steps=4)._run(seen, bound, stream=0)
    assert (seen.best_distance <= bound).tolist() == [True, False, True, False]


def test_targets_are_reached(model: nn.Module) -> None:
    x, labels = batch(model)
    targets = (labels + 1) % 5
    result = LPA(distance=LPIPS, steps=4, bisections=2)(model, x, labels, targets=targets)
    assert result.success.all()
    assert torch.equal(result.predictions, targets)


def test_steps_are_as_long_in_a_squared_form(model: nn.Module) -> None:
    """Distances are compared by their roots, which a squared form answers with squares of."""
    x, labels = batch(model)
    rooted, squared = (
        LPA(distance=distances.get("lpips", trunk="demo", root=root), steps=8)(model, x, labels)
        for root in (True, False)
    )
    assert squared.success.all()
    assert (squared.distances.sqrt() < 1.2 * rooted.distances).all()


def test_a_run_looks_at_the_grid_and_goes_on_between_its_points(model: nn.Module) -> None:
    x, labels = batch(model)
    x = quantise(x, 16)
    labels, shown = predictions(model, x), list[Tensor]()

    def look(inputs: Tensor) -> Tensor:
        shown.append(inputs.detach().clone())
        return model(inputs)

    seen = oracle(look, x, labels, levels=16)
    end = LPA(distance=LPIPS, steps=4)._run(seen, torch.ones(4), stream=0)
    assert all(torch.equal(image, quantise(image, 16)) for image in shown)
    assert not (end == quantise(end, 16)).flatten(1).all(dim=1).any()
    assert seen.best_distance.isfinite().all()


def test_a_sample_does_not_depend_on_its_batch(model: nn.Module) -> None:
    x, labels = batch(model, 5)
    attack = LPA(distance=LPIPS, steps=2, bisections=2)
    together = attack(model, x, labels)
    for row in (0, 3):
        alone = attack(model, x[row : row + 1], labels[row : row + 1])
        assert torch.equal(alone.adversarials[0], together.adversarials[row])
        assert alone.forwards[0] == together.forwards[row]


def test_preset_has_no_learned_weights() -> None:
    preset = LPA.paper("lpips:trunk=demo,linear=none")
    assert (preset.steps, preset.bisections) == (40, 10)
    with pytest.raises(FileNotFoundError, match="alexnet"):  # not the learned weights, which are looked for later
        LPA.paper("lpips")

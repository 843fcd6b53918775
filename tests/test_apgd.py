"""APGD on the grid of `levels`: balls that rounding does not leave."""

import pytest
import torch
from torch import Tensor

from minadv import APGD, FMN
from minadv.attacks.ascent import Ball
from minadv.attacks.directions import norm
from minadv.verification import quantise
from tests.networks import convolutional, images, predictions

LEVELS = 16
NAMES = {1: "l1", 2: "l2"}


def ball_and_points(p: float, grid: bool) -> tuple[Ball, Tensor]:
    """Balls of several radii, and points of their spheres."""
    x0 = quantise(images(8), LEVELS) if grid else images(8)
    least = norm(quantise(x0, LEVELS) - x0, p)
    ball = Ball(x0, p, least + torch.linspace(0.01, 0.5, 8) * norm(torch.ones_like(x0), p), LEVELS)
    return ball, ball.project(x0 + 2 * (images(8, seed=5) - 0.5))


@pytest.mark.parametrize("grid", [True, False], ids=["on the grid", "between"])
@pytest.mark.parametrize("p", [1, 2])
def test_landed_points_are_on_the_grid_inside_the_ball(p: float, grid: bool) -> None:
    ball, x = ball_and_points(p, grid)
    landed = ball.land(x)
    assert torch.equal(landed, quantise(landed, LEVELS))
    assert ball.holds(norm(landed - ball.x0, p)).all()
    nearest = quantise(x, LEVELS)
    kept = ball.holds(norm(nearest - ball.x0, p))
    assert not kept.all()
    assert torch.equal(landed[kept], nearest[kept])
    for row in range(8):
        alone = Ball(ball.x0[row : row + 1], p, ball.radius[row : row + 1], LEVELS)
        assert torch.equal(alone.land(x[row : row + 1])[0], landed[row])


@pytest.mark.parametrize("p", [1, 2])
def test_points_far_inside_land_nearest(p: float) -> None:
    ball, x = ball_and_points(p, grid=True)
    x = torch.lerp(ball.x0, x, 0.5)
    landed, nearest = ball.land(x), quantise(x, LEVELS)
    kept = ball.holds(norm(nearest - ball.x0, p))
    assert kept.any()
    assert torch.equal(landed[kept], nearest[kept])


@pytest.mark.parametrize("p", [1, 2])
def test_what_another_attack_finds_on_the_grid_is_found_in_the_ball(p: float) -> None:
    model, x = convolutional(), quantise(images(24), 32)
    labels = predictions(model, x)
    known = FMN(distance=NAMES[p], levels=32)(model, x, labels).distances
    radius = 1.5 * known.median().item()
    found = APGD(distance=NAMES[p], levels=32, radius=radius, steps=50)(model, x, labels)
    assert found.success.sum() > 0.75 * (known <= radius).sum()
    assert (found.distances[found.success] <= radius * (1 + 1e-4)).all()

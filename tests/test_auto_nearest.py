"""Auto's nearest points of a plane in the box, against ground truth."""

import math

import pytest
import torch
from torch import Tensor

from minadv.attacks.auto.nearest import ByMetric, ByNorm, ByWeights, along
from minadv.distances import resolve
from minadv.largest import FEW
from minadv.projections import cheapest, hyperplane_box
from tests.networks import generator
from tests.own_distances import probe_at

pytestmark = pytest.mark.usefixtures("as_given")


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

"""Auto's curvature of a distance: blocks of its Hessian, units and coordinates."""

import pytest
import torch
from torch import Tensor

from minadv.attacks.auto.blocks import Blocks, blocks, factored
from minadv.attacks.auto.coordinates import PerEntry, PerPixel
from minadv.attacks.auto.curvature import pixels, quadratic, sampled, units
from minadv.distances import resolve
from tests.networks import generator, images

pytestmark = pytest.mark.usefixtures("as_given")


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

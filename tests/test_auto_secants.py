"""Auto's secants: the curvature of a distance from its slopes on the way."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from minadv.attacks.auto.nearest import along
from minadv.attacks.auto.secants import BySecants, Secant, solve
from minadv.distances import resolve
from tests.networks import generator
from tests.own_distances import differences, probe_at, weighted

pytestmark = pytest.mark.usefixtures("as_given")


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

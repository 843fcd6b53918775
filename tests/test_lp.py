"""Proximal steps of the norms with kinks against a convex solver."""

import cvxpy
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minadv.distances import Lp
from minadv.distances.few import AnchoredCount
from tests.networks import generator


@pytest.mark.parametrize(("p", "norm"), [(1, 1), (float("inf"), "inf")])
@given(seed=st.integers(0, 1000), size=st.sampled_from([1e-3, 0.1, 10.0]))
@settings(max_examples=20)
def test_proximal_steps_solve_their_problem(p: float, norm: int | str, seed: int, size: float) -> None:
    g = generator(seed)
    x0 = torch.rand(2, 3, 4, generator=g, dtype=torch.float64)
    x = x0 + torch.randn(2, 3, 4, generator=g, dtype=torch.float64)
    by = size * (0.1 + torch.rand(2, 3, 4, generator=g, dtype=torch.float64))
    shrink = Lp(p).anchored(x0).shrink
    assert shrink is not None
    for row, found in enumerate(shrink(x.clone(), by, torch.empty_like(x))):
        delta = cvxpy.Variable(12)
        moved = (x[row] - x0[row]).flatten().numpy()
        weights = 1 / (2 * by[row].flatten().numpy())
        objective = cvxpy.norm(delta, norm) + cvxpy.sum(cvxpy.multiply(weights, cvxpy.square(delta - moved)))
        cvxpy.Problem(cvxpy.Minimize(objective)).solve(solver=cvxpy.CLARABEL)
        np.testing.assert_allclose((found - x0[row]).flatten().numpy(), delta.value, atol=2e-4)


def test_smooth_and_counting_norms_have_no_proximal_step() -> None:
    x0 = torch.rand(1, 4)
    assert Lp(2).anchored(x0).shrink is None
    assert Lp(0).anchored(x0).shrink is None
    assert isinstance(Lp(0).anchored(x0).surrogate, AnchoredCount)
    smooth = Lp(2).anchored(x0)
    assert smooth.surrogate is smooth


def test_the_smooth_count_counts_and_has_its_own_gradient() -> None:
    x0 = torch.zeros(3, 4, dtype=torch.float64)
    x = torch.tensor([[0.0, 1, -1, 1], [0.2, 0, 0, 0], [0.1, -0.4, 0.7, 0]], dtype=torch.float64)
    count = Lp(0).anchored(x0).surrogate
    value, slope = count.value_and_gradient(x)
    assert value[0].item() == pytest.approx(3)
    torch.testing.assert_close(value, count(x))
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(count(leaf).sum(), leaf)
    torch.testing.assert_close(slope, expected)
    assert value[1] > 0.2  # concave
    torch.testing.assert_close(count.select(torch.tensor([2]))(x[2:]), value[2:])


def test_the_smooth_counts_proximal_step_lets_large_entries_go_less() -> None:
    x0 = torch.full((1, 3), 0.5, dtype=torch.float64)
    x, by = (
        x0 + torch.tensor([[0.01, 0.1, -0.5]], dtype=torch.float64),
        torch.full((1, 3), 0.02, dtype=torch.float64),
    )
    count = Lp(0).anchored(x0).surrogate
    slope = count.value_and_gradient(x)[1]
    moved = count.shrink(x.clone(), by, torch.empty_like(x))
    torch.testing.assert_close(moved[:, 1:], (x - by * slope)[:, 1:])
    assert moved[0, 0] == 0.5  # exactly
    assert (x - moved).abs()[0, 2] < (x - moved).abs()[0, 1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_distance_to_itself_is_no_negative_zero(dtype: torch.dtype) -> None:
    x = torch.rand(64, 5, dtype=dtype)
    for p in (0, 1, 2, float("inf")):
        assert not Lp(p)(x, x).signbit().any()

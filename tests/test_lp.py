"""Proximal steps of the norms with kinks against a convex solver."""

import cvxpy
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minadv.distances import Lp
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
    assert Lp(0).anchored(x0).surrogate.shrink is not None
    assert Lp(2).anchored(x0).surrogate.p == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_distance_to_itself_is_no_negative_zero(dtype: torch.dtype) -> None:
    x = torch.rand(64, 5, dtype=dtype)
    for p in (0, 1, 2, float("inf")):
        assert not Lp(p)(x, x).signbit().any()

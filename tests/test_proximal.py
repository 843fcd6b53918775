"""Proximal operators against dense grids, enumeration and a convex solver, and independence of rows."""

import math
from collections.abc import Callable

import cvxpy
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from minadv import proximal
from tests.networks import generator

NAMES = ["l0", "l1", "l2", "linf", "l23"]
SCALAR: dict[str, Callable[[Tensor], Tensor]] = {
    "l0": lambda q: (q != 0).double(),
    "l1": torch.abs,
    "l2": torch.abs,
    "linf": torch.abs,
    "l23": lambda q: q.abs().pow(2 / 3),
}


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=dtype)


def weights(batch: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(batch, generator=generator(seed), dtype=dtype)


@pytest.mark.parametrize("name", NAMES)
@given(v=st.floats(-4, 4), weight=st.floats(1e-3, 4))
def test_single_entries_minimise_over_a_dense_grid(name: str, v: float, weight: float) -> None:
    at, by = torch.tensor([[v]], dtype=torch.float64), torch.tensor([weight], dtype=torch.float64)
    found = proximal.of(name)(at, by)[0, 0]

    def objective(q: Tensor) -> Tensor:
        return weight * SCALAR[name](q) + 0.5 * (q - v).square()

    grid = torch.linspace(-4, 4, 8001, dtype=torch.float64)  # with 0
    assert objective(found) <= objective(grid).min() + 1e-12
    assert objective(found) <= objective(at).min() + 1e-12


@pytest.mark.parametrize("weight", [1e-12, 1e-3, 1.0, 50.0])
def test_l23_switches_where_zero_and_the_other_minimum_are_equal(weight: float) -> None:
    """2·(2/3)^{3/4} ≈ 1.4755, where the value jumps from 0 to half of v."""
    assert math.isclose(proximal.L23_SWITCH, 1.4755, abs_tol=1e-4)
    switch = proximal.L23_SWITCH * weight**0.75
    v = torch.tensor([[switch * (1 - 1e-9), switch * (1 + 1e-9)]], dtype=torch.float64)
    below, above = proximal.l23(v, torch.tensor([weight], dtype=torch.float64))[0].tolist()
    assert below == 0
    assert math.isclose(above, switch / 2, rel_tol=1e-7)
    at_zero, at_half = 0.5 * switch**2, weight * (switch / 2) ** (2 / 3) + 0.5 * (switch / 2) ** 2
    assert math.isclose(at_zero, at_half, rel_tol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("weight", [1e-30, 1e-12, 1e-3, 1.0, 1e6])
def test_l23_is_stationary_at_every_scale(weight: float, dtype: torch.dtype) -> None:
    v = proximal.L23_SWITCH * weight**0.75 * torch.logspace(0.001, 8, 100, dtype=torch.float64)[None]
    v = v.to(dtype)
    q = proximal.l23(v, torch.tensor([weight], dtype=dtype)).double()
    slope = q + 2 / 3 * torch.tensor(weight, dtype=dtype).double() * q.pow(-1 / 3)
    torch.testing.assert_close(slope, v.double(), rtol=2e-6 if dtype == torch.float32 else 1e-13, atol=0)


@pytest.mark.parametrize(("name", "norm"), [("l2", 2), ("linf", "inf")])
@given(seed=st.integers(0, 1000), weight=st.floats(0.01, 10))
@settings(max_examples=20)
def test_norms_of_whole_rows_match_the_solver(name: str, norm: int | str, seed: int, weight: float) -> None:
    v = normal(1, 2, 5, seed=seed)
    found = proximal.of(name)(v, torch.tensor([weight], dtype=torch.float64)).flatten().numpy()
    q, at = cvxpy.Variable(10), v.flatten().numpy()
    problem = cvxpy.Problem(cvxpy.Minimize(weight * cvxpy.norm(q, norm) + 0.5 * cvxpy.sum_squares(q - at)))
    problem.solve(solver=cvxpy.CLARABEL)
    np.testing.assert_allclose(found, q.value, atol=1e-4)
    size = np.linalg.norm(found, 2 if norm == 2 else np.inf)
    assert math.isclose(weight * size + 0.5 * np.square(found - at).sum(), problem.value, abs_tol=1e-6)


@pytest.mark.parametrize(("height", "width", "size"), [(6, 6, 2), (5, 7, 3), (4, 4, 13), (3, 5, 1), (1, 4, 2)])
def test_groups_are_blocks_of_l2(height: int, width: int, size: int) -> None:
    v, weight = normal(2, 3, height, width, seed=height), torch.tensor([0.5, 2.0], dtype=torch.float64)
    found = proximal.groups(v, weight, size)
    for top in range(0, height, size):
        for left in range(0, width, size):
            block = (..., slice(top, top + size), slice(left, left + size))
            torch.testing.assert_close(found[block], proximal.l2(v[block], weight))


def test_pixels_are_kept_whole() -> None:
    v = torch.tensor([[[[3.0, 1.0, 0.0]], [[0.5, -1.0, -2.0]]]])
    assert proximal.l0_pixels(v, torch.tensor([2.0])).tolist() == [[[[3, 0, 0]], [[0.5, 0, -2]]]]
    assert proximal.l0(v, torch.tensor([2.0])).tolist() == [[[[3, 0, 0]], [[0, 0, -2]]]]
    flat = v.flatten(1)
    assert torch.equal(proximal.l0_pixels(flat, torch.tensor([0.5])), proximal.l0(flat, torch.tensor([0.5])))


@pytest.mark.parametrize("name", ["l1", "l2", "linf"])
@given(seed=st.integers(0, 1000))
def test_convex_operators_do_not_expand(name: str, seed: int) -> None:
    a, b, weight = normal(2, 3, 4, seed=seed), normal(2, 3, 4, seed=seed + 1), 2 * weights(2, seed + 2)
    prox = proximal.of(name)
    moved = (prox(a, weight) - prox(b, weight)).flatten(1).norm(dim=1)
    assert (moved <= (a - b).flatten(1).norm(dim=1) * (1 + 1e-12)).all()


def operators() -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    every = {name: proximal.of(name) for name in NAMES}
    return {
        **every,
        "l0_pixels": proximal.l0_pixels,
        "groups": lambda v, weight: proximal.groups(v, weight, 2),
    }


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((1, 1, 37), torch.float32), ((3, 16, 16), torch.float32), ((3, 120, 120), torch.float64)],
)
@pytest.mark.parametrize("name", operators())
def test_rows_do_not_depend_on_their_batch(
    name: str, shape: tuple[int, ...], dtype: torch.dtype, threads: int
) -> None:
    prox, v = operators()[name], normal(8, *shape, seed=7, dtype=dtype)
    weight = 3 * weights(8, 8, dtype)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        together = prox(v, weight)
        for row in range(8):
            assert torch.equal(prox(v[row : row + 1], weight[row : row + 1]), together[row : row + 1])
        assert torch.equal(prox(v[2:5], weight[2:5]), together[2:5])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", operators())
def test_extreme_weights_and_zeros(name: str, dtype: torch.dtype) -> None:
    prox, v = operators()[name], normal(2, 3, 5, 4, seed=9, dtype=dtype)
    nothing, everything = torch.zeros(2, dtype=dtype), torch.full((2,), math.inf, dtype=dtype)
    zeros = torch.zeros_like(v)
    assert torch.equal(prox(v, nothing), v)
    assert torch.equal(prox(v, everything), zeros)
    assert prox(v, everything).dtype == dtype
    for weight in (nothing, everything, nothing + 1, nothing + 1e-40):
        assert torch.equal(prox(zeros, weight), zeros)
        assert prox(1e30 * v, weight).isfinite().all()


def test_unknown_operators_are_named() -> None:
    with pytest.raises(ValueError, match="'l3': choose from l0, l1, l2, linf, l23"):
        proximal.of("l3")

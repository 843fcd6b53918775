"""Projections against a convex solver and enumeration, their properties, independence of rows and accuracy."""

import math
from collections.abc import Callable
from itertools import combinations

import cvxpy
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from minadv import projections
from tests.networks import generator

BALLS = [0, 1, 2, math.inf]
PLANES = [1, 2, math.inf]
CONVEX = [1, 2, math.inf]


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=dtype)


def uniform(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(*shape, generator=generator(seed), dtype=dtype)


def cornered(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Images with a third of their entries exactly 0 or 1."""
    return (uniform(*shape, seed=seed, dtype=dtype) * 1.5 - 0.25).clamp(0, 1)


def norms(delta: Tensor, p: float) -> Tensor:
    return torch.linalg.vector_norm(delta.double().flatten(1), p, dim=1)


def solve(objective: cvxpy.Expression, constraints: list[cvxpy.Constraint]) -> float:
    problem = cvxpy.Problem(cvxpy.Minimize(objective), constraints)
    problem.solve(solver=cvxpy.CLARABEL)
    assert problem.status == cvxpy.OPTIMAL
    return float(problem.value)


def small_box(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Four displacements, radii and images with entries on the border of the box."""
    delta, x0 = normal(4, 3, 4, seed=seed), cornered(4, 3, 4, seed=seed + 1)
    return delta, 4 * uniform(4, seed=seed + 2), x0


def plane(d: int, seed: int, dtype: torch.dtype = torch.float64, batch: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """Images and hyperplanes: on both sides of the image, through it, and (the last two) out of reach."""
    x = cornered(batch, d, seed=seed)
    w = normal(batch, d, seed=seed + 1)
    w[:, :: min(5, d)] = 0
    w[:, 1 :: min(5, d)] *= 1e-3
    end = torch.where(w > 0, 1.0, 0.0)
    share = torch.linspace(-0.9, 1.3, batch, dtype=torch.float64)[:, None]
    share[batch // 3] = 0
    share[0] = -1.3
    ends = torch.where(share > 0, end, 1 - end)
    x, w, ends = x.to(dtype), w.to(dtype), ends.to(dtype).double()
    inner = (w.double() * x).sum(dim=1) + (share.abs() * w * (ends - x)).sum(dim=1)
    return x, w, inner.to(dtype)


@pytest.mark.parametrize("radius", range(6))
@given(seed=st.integers(0, 1000))
@settings(max_examples=10)
def test_l0_ball_is_the_best_of_all_subsets(radius: int, seed: int) -> None:
    delta = normal(1, 5, seed=seed).mul(2).round()  # with ties and zeros
    found = projections.l0_ball(delta, torch.tensor([radius + 0.5], dtype=torch.float64))
    best = min(
        float(sum(delta[0, j] ** 2 for j in range(5) if j not in kept)) for kept in combinations(range(5), radius)
    )
    assert (found != 0).sum() <= radius
    assert float((found - delta).square().sum()) == best


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_l0_ball_counts_in_half_precision(dtype: torch.dtype) -> None:
    n = 4097 if dtype == torch.float16 else 257  # the first whole number that is none there
    found = projections.l0_ball(torch.ones(1, n, dtype=dtype), torch.tensor([n - 1.0]))
    assert found.count_nonzero() == n - 1


def test_l0_ball_keeps_exactly_so_many_of_equal_entries() -> None:
    delta = torch.tensor([[1.0, -2.0, 2.0, -1.0, 1.0]]).expand(6, 5)
    found = projections.l0_ball(delta, torch.tensor([0.0, 1.0, 2.9, 4.0, 5.0, math.inf]))
    expected = [[0, 0, 0, 0, 0], [0, -2, 0, 0, 0], [0, -2, 2, 0, 0], [1, -2, 2, -1, 0], [1, -2, 2, -1, 1]]
    assert found.tolist() == [*expected, expected[-1]]


@given(seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_l1_ball_matches_the_solver(seed: int) -> None:
    delta, radius, _ = small_box(seed)
    for row, found in enumerate(projections.l1_ball(delta, radius)):
        q = cvxpy.Variable(12)
        constraints = [cvxpy.norm(q, 1) <= float(radius[row])]
        least = solve(cvxpy.sum_squares(q - delta[row].flatten().numpy()), constraints)
        assert math.isclose(least, float((found - delta[row]).square().sum()), abs_tol=1e-6)
        np.testing.assert_allclose(found.flatten().numpy(), q.value, atol=1e-4)


@given(seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_l1_ball_box_matches_the_solver(seed: int) -> None:
    delta, radius, x0 = small_box(seed)
    for row, found in enumerate(projections.l1_ball_box(delta, radius, x0)):
        q, start = cvxpy.Variable(12), x0[row].flatten().numpy()
        constraints = [cvxpy.norm(q, 1) <= float(radius[row]), start + q >= 0, start + q <= 1]
        least = solve(cvxpy.sum_squares(q - delta[row].flatten().numpy()), constraints)
        assert math.isclose(least, float((found - delta[row]).square().sum()), abs_tol=1e-6)
        np.testing.assert_allclose(found.flatten().numpy(), q.value, atol=1e-4)


@pytest.mark.parametrize("p", PLANES)
@given(seed=st.integers(0, 1000), d=st.integers(6, 20))
@settings(max_examples=15)
def test_hyperplane_box_matches_the_solver(p: float, seed: int, d: int) -> None:
    x, w, b = plane(d, seed)
    found = projections.hyperplane_box(x, w, b, p)
    assert ((x + found >= -1e-15) & (x + found <= 1 + 1e-15)).all()
    assert (found[w == 0] == 0).all()
    missed = ((w * (x + found)).sum(dim=1) - b).abs()
    for row in range(len(x)):
        q, start, slope = cvxpy.Variable(d), x[row].numpy(), w[row].numpy()
        inside = [start + q >= 0, start + q <= 1]
        error = cvxpy.abs(slope @ (start + q) - float(b[row]))
        if missed[row] > 1e-12:  # then nothing in the box comes closer
            assert row in (0, len(x) - 2, len(x) - 1)
            assert math.isclose(solve(error, inside), float(missed[row]), abs_tol=1e-6)
        else:
            smallest = solve(cvxpy.norm(q, p), [*inside, slope @ (start + q) == float(b[row])])
            assert math.isclose(smallest, float(norms(found[row : row + 1], p)), abs_tol=1e-6)


@pytest.mark.parametrize("p", PLANES)
def test_planes_out_of_reach_lead_to_the_corner(p: float) -> None:
    x = torch.tensor([[0.25, 0.5, 1.0, 0.0, 0.75]]).expand(2, 5)
    w = torch.tensor([[1.0, -2.0, 3.0, 1e-9, 0.0]]).expand(2, 5)
    found = projections.hyperplane_box(x, w, torch.tensor([100.0, -100.0]), p)
    assert (x + found).tolist() == [[1, 0, 1, 0, 0.75], [0, 1, 0, 0, 0.75]]


@pytest.mark.parametrize("p", PLANES)
def test_unbounded_hyperplanes_have_the_closed_form(p: float) -> None:
    """Far from the box's walls: the move is r/‖w‖_q in the dual direction."""
    x, w = torch.full((1, 6), 0.5, dtype=torch.float64), normal(1, 6, seed=3)
    b = (w * x).sum(dim=1) - 0.01
    found = projections.hyperplane_box(x, w, b, p)
    dual = {1: math.inf, 2: 2, math.inf: 1}[p]
    torch.testing.assert_close(norms(found, p), 0.01 / norms(w, dual))


@pytest.mark.parametrize("p", PLANES)
def test_hyperplanes_are_accurate_in_many_dimensions(p: float) -> None:
    x, w, b = plane(150_000, seed=1, dtype=torch.float32)
    found = projections.hyperplane_box(x, w, b, p)
    assert found.dtype == torch.float32
    exact = projections.hyperplane_box(x.double(), w.double(), b.double(), p)
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=1e-9)
    missed = ((w.double() * (x.double() + found)).sum(dim=1) - b).abs()
    moved = ((w.double() * x).sum(dim=1) - b).abs()
    assert (missed[1:-2] <= 1e-6 * moved[1:-2] + 1e-11).all()  # float64 rounding of ⟨w, x⟩ itself
    assert ((x + found >= 0) & (x + found <= 1)).all()


@pytest.mark.parametrize("p", CONVEX)
@given(seed=st.integers(0, 1000), batch=st.integers(1, 3), size=st.sampled_from([1e-3, 1.0, 1e3]))
def test_balls_project(p: float, seed: int, batch: int, size: float) -> None:
    project = projections.ball(p)
    a, b = size * normal(batch, 2, 9, seed=seed), size * normal(batch, 2, 9, seed=seed + 1)
    radius = 6 * size * uniform(batch, seed=seed + 2)
    near_a, near_b = project(a, radius), project(b, radius)
    assert (norms(near_a, p) <= radius * (1 + 1e-12)).all()
    assert (norms(near_a - near_b, 2) <= norms(a - b, 2) * (1 + 1e-12)).all()
    torch.testing.assert_close(project(near_a, radius), near_a, rtol=1e-12, atol=0)
    assert torch.equal(project(a, norms(a, p) * (1 + 1e-12)), a)


@given(seed=st.integers(0, 1000), size=st.sampled_from([1e-3, 1.0, 1e3]))
def test_l1_ball_box_projects(seed: int, size: float) -> None:
    delta, radius, x0 = small_box(seed)
    delta, other = size * delta, size * normal(4, 3, 4, seed=seed + 3)
    found, far = (projections.l1_ball_box(d, radius, x0) for d in (delta, other))
    rounding = 1e-14 * (1 + size)  # of λ, which is as large as the entries
    assert (norms(found, 1) <= radius + 12 * rounding).all()
    assert ((x0 + found >= 0) & (x0 + found <= 1)).all()
    assert (norms(found - far, 2) <= norms(delta - other, 2) * (1 + 1e-12)).all()
    torch.testing.assert_close(projections.l1_ball_box(found, radius, x0), found, rtol=0, atol=12 * rounding)
    inner = 0.99 * found
    assert torch.equal(projections.l1_ball_box(inner, radius, x0), inner)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_l1_norms_stay_within_the_radius_in_many_dimensions(dtype: torch.dtype) -> None:
    delta, x0 = normal(3, 150_000, seed=1, dtype=dtype), cornered(3, 150_000, seed=2, dtype=dtype)
    radius = torch.tensor([0.5, 30.0, 3000.0], dtype=dtype)
    for found in (projections.l1_ball(delta, radius), projections.l1_ball_box(delta, radius, x0)):
        torch.testing.assert_close(norms(found, 1), radius.double(), rtol=1e-6, atol=0)
    found = projections.l1_ball_box(delta, radius, x0)
    assert ((x0 + found >= 0) & (x0 + found <= 1)).all()


def operations(
    d: int, dtype: torch.dtype = torch.float32
) -> dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]]:
    """Every projection with arguments for 8 rows."""
    delta, x0 = normal(8, d, seed=d, dtype=dtype), cornered(8, d, seed=d + 1, dtype=dtype)
    delta[:, : d // 4] = delta[:, d // 2 : d // 2 + d // 4]  # ties
    radius = d**0.5 * torch.linspace(0, 1, 8, dtype=dtype)
    every = {f"ball{p}": (projections.ball(p), (delta, radius)) for p in BALLS}
    every["box"] = projections.l1_ball_box, (delta, radius, x0)
    for p in PLANES:
        every[f"plane{p}"] = (lambda *args, p=p: projections.hyperplane_box(*args, p)), plane(d, d, dtype)
    return every


NAMES = [*operations(8)]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("d", "dtype"), [(37, torch.float32), (768, torch.float32), (40_000, torch.float64)])
@pytest.mark.parametrize("name", NAMES)
def test_rows_do_not_depend_on_their_batch(name: str, d: int, dtype: torch.dtype, threads: int) -> None:
    function, args = operations(d, dtype)[name]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        together = function(*args)
        for row in range(8):
            assert torch.equal(function(*(arg[row : row + 1] for arg in args)), together[row : row + 1])
        assert torch.equal(function(*(arg[2:5] for arg in args)), together[2:5])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("p", BALLS)
def test_extreme_radii_and_zeros(p: float, dtype: torch.dtype) -> None:
    project, zeros = projections.ball(p), torch.zeros(3, 2, 7, dtype=dtype)
    delta, x0 = normal(3, 2, 7, seed=5, dtype=dtype), cornered(3, 2, 7, seed=6, dtype=dtype)
    none, all_of_it = torch.zeros(3, dtype=dtype), torch.full((3,), math.inf, dtype=dtype)
    assert torch.equal(project(delta, none), zeros)
    assert torch.equal(project(delta, all_of_it), delta)
    assert project(delta, all_of_it).dtype == dtype
    for radius in (none, all_of_it):
        assert torch.equal(project(zeros, radius), zeros)
        assert torch.equal(projections.l1_ball_box(zeros, radius, x0), zeros)
    assert torch.equal(projections.l1_ball_box(delta, none, x0), zeros)
    clipped = (x0 + delta).clamp(0, 1) - x0
    torch.testing.assert_close(projections.l1_ball_box(delta, all_of_it, x0), clipped)


def test_equal_entries_leave_nothing_at_radius_zero() -> None:
    delta = torch.full((1, 1000), 0.1, dtype=torch.float64)
    for x0 in (torch.full_like(delta, 0.5), torch.full_like(delta, 0.99)):
        found = projections.l1_ball_box(delta, torch.zeros(1, dtype=torch.float64), x0)
        assert (found == 0).all()


@pytest.mark.parametrize("p", PLANES)
def test_degenerate_hyperplanes_move_nothing(p: float) -> None:
    x, nowhere = cornered(2, 9, seed=1), torch.zeros(2, 9, dtype=torch.float64)
    for w in (nowhere, nowhere + 1e-9):
        for level in (-1.0, 0.0, 1.0):
            b = torch.full((2,), level, dtype=torch.float64)
            assert torch.equal(projections.hyperplane_box(x, w, b, p), nowhere)
    w = normal(2, 9, seed=2)
    through = projections.hyperplane_box(x, w, (w * x).cumsum(dim=1)[:, -1], p)
    assert torch.equal(through, nowhere)


def test_levels_may_be_more_precise_than_images() -> None:
    x, w = cornered(2, 50, seed=1, dtype=torch.float32), normal(2, 50, seed=2, dtype=torch.float32)
    b = (w.double() * x.double()).sum(dim=1) - 1e-9
    found = projections.hyperplane_box(x, w, b, 2)
    assert found.dtype == torch.float32
    torch.testing.assert_close((w.double() * found).sum(dim=1), torch.full_like(b, -1e-9), rtol=1e-6, atol=0)


def test_unknown_norms_are_named() -> None:
    with pytest.raises(ValueError, match=r"p=3: p must be 0, 1, 2 or math.inf"):
        projections.ball(3)
    x = torch.zeros(1, 4)
    with pytest.raises(ValueError, match=r"p=0: p must be 1, 2 or math.inf"):
        projections.hyperplane_box(x, x, torch.zeros(1), 0)


def test_rows_that_leave_newtons_steps_late_are_as_alone() -> None:
    """Sizes of ever heavier tails need ever more steps: most rows leave before the last ones do."""
    powers = torch.linspace(1, 12, 33)[:, None]
    size = torch.rand(33, 3072, generator=torch.Generator().manual_seed(0)) ** powers
    radius = 0.05 * size.sum(dim=1)
    together = projections.soft_threshold(size, radius)
    alone = torch.cat([projections.soft_threshold(size[i : i + 1], radius[i : i + 1]) for i in range(33)])
    assert torch.equal(together, alone)
    kept = (size - together[:, None]).double().clamp_min(0).sum(dim=1)
    torch.testing.assert_close(kept, radius.double(), rtol=1e-4, atol=0)

"""Rows of a mask: the CPU's short cut must give what the plain tensor operations give."""

import pytest
import torch

from minadv import masks
from minadv.elementwise import clip, heaviside_
from minadv.shapes import per_sample


@pytest.mark.parametrize("chosen", [[], [0], [1, 3], [0, 1, 2, 3]])
def test_overwrite_and_clear_are_where_and_fill(chosen: list[int]) -> None:
    whole, others = torch.randn(4, 3, 2, 2), torch.randn(4, 3, 2, 2)
    rows = torch.zeros(4, dtype=torch.bool).index_fill(0, torch.tensor(chosen, dtype=torch.int64), True)
    assert torch.equal(masks.clear(whole, rows), torch.where(per_sample(rows, whole), 0.0, whole))
    expected = torch.where(per_sample(rows, whole), others, whole)
    masks.overwrite(whole, rows, others)
    assert torch.equal(whole, expected)
    assert masks.possibly_any(rows) == bool(chosen)


def test_what_is_not_finite_stays_out() -> None:
    whole, rows = torch.ones(3, 2), torch.tensor([True, False, True])
    others = torch.tensor([[2.0, 2], [torch.nan, torch.inf], [3, 3]])
    assert masks.clear(torch.full((3, 2), torch.nan), torch.ones(3, dtype=torch.bool)).eq(0).all()
    masks.overwrite(whole, rows, others)
    assert whole.tolist() == [[2, 2], [1, 1], [3, 3]]


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_is_noticed(value: float) -> None:
    values = torch.randn(5)
    assert not masks.possibly_broken(values)
    values[3] = value
    assert masks.possibly_broken(values)
    assert masks.possibly_broken(torch.tensor([torch.inf, -torch.inf]))


@pytest.mark.parametrize("bound", [torch.rand(4, 1, 1, 1), torch.rand(4, 3, 2, 2), torch.zeros(4, 1, 1, 1)])
def test_clip_is_clamp(bound: torch.Tensor) -> None:
    x = torch.randn(4, 3, 2, 2)
    x[0, 0] = torch.nan
    expected = x.clamp(-bound, bound)
    assert torch.equal(clip(x, bound).nan_to_num(7), expected.nan_to_num(7))
    assert clip(x, bound, out=x) is x
    assert torch.equal(x.nan_to_num(7), expected.nan_to_num(7))


def test_step_is_a_comparison() -> None:
    x = torch.tensor([-2.0, -0.0, 0.0, 1e-45, 3.0, torch.inf, -torch.inf])
    assert heaviside_(x.clone()).tolist() == (x > 0).float().tolist()

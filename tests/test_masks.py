"""Rows of a mask: the CPU's short cut must give what the plain tensor operations give."""

import pytest
import torch

from minadv import masks
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

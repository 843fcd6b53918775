"""The largest entries of rows: as by sorting all, whatever few come first."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from minadv import largest

SIZES = st.tuples(
    st.integers(1, 6), st.integers(1, 200), st.integers(0, 2**31), st.sampled_from([None, 1, 2, 3, 24])
)


def made(rows: int, entries: int, seed: int) -> Tensor:
    """Values of few digits, so that some are equal."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(rows, entries, generator=generator).mul_(50).round_() / 50


@given(SIZES)
def test_the_nth_is_that_of_the_sorted_row(sizes: tuple[int, int, int, int | None]) -> None:
    rows, entries, seed, few = sizes
    values = made(rows, entries, seed)
    n = torch.randint(1, entries + 1, (rows, 1), generator=torch.Generator().manual_seed(seed))
    expected = values.sort(dim=1, descending=True).values.gather(1, n - 1)
    assert torch.equal(largest.nth(values, n, few), expected)


@given(SIZES)
def test_enough_is_what_the_sorted_row_needs(sizes: tuple[int, int, int, int | None]) -> None:
    rows, entries, seed, few = sizes
    values = made(rows, entries, seed)
    need = values.sum(dim=1) * torch.rand(rows, generator=torch.Generator().manual_seed(seed))
    sums = values.sort(dim=1, descending=True).values.cumsum(dim=1)
    assert torch.equal(largest.enough(values, need, few), (sums < need[:, None]).sum(dim=1).float() + 1)


@given(st.integers(1, 6), st.integers(1, 40), st.integers(1, 64), st.integers(0, 2**31))
def test_the_top_are_those_of_the_sorted_row(rows: int, groups: int, size: int, seed: int) -> None:
    values = made(rows, groups * size, seed)
    for count in {1, min(groups, 3), groups, groups * size}:
        found, places = largest.top(values, count)
        assert torch.equal(found, values.sort(dim=1, descending=True).values[:, :count])
        assert torch.equal(values.gather(1, places), found)
        assert all(len(set(row)) == count for row in places.tolist())


def test_counts_of_entries() -> None:
    gain = torch.tensor([[3.0, 1.0, 2.0, 0.0]])
    assert largest.enough(gain, torch.tensor([2.5])).item() == 1
    assert largest.enough(gain, torch.tensor([3.5])).item() == 2


def test_accelerators_order_all_at_once() -> None:
    assert largest.first_few(torch.empty(2, 1000)) == largest.FEW
    assert largest.first_few(torch.empty(2, 1000, device="meta")) == 1000


def test_long_rows_order_more_at_once() -> None:
    assert largest.first_few(torch.empty(2, 3 * 224 * 224)) == 147
    assert largest.first_few(torch.empty(2, 3 * 32 * 32)) == 48
    assert largest.first_few(torch.empty(2, 28 * 28)) == 16
    counts = [few := 16, *(few := largest.more(torch.empty(2, 3072), few) for _ in range(3))]
    assert counts == [16, 48, 144, 432]
    assert largest.more(torch.empty(2, 3 * 224 * 224), 147) == 2508

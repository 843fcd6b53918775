import torch
from hypothesis import given
from hypothesis import strategies as st

from minadv.bisection import bisect, bracket


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=5))
def test_each_sample_finds_its_own_root(roots: list[float]) -> None:
    root = torch.tensor(roots, dtype=torch.float64)
    low, high = bracket(lambda v: v <= root, torch.ones_like(root))
    assert (low <= root).all()
    assert (high > root).all()
    low, high = bisect(lambda v: v <= root, low, high, steps=50)
    torch.testing.assert_close((low + high) / 2, root, rtol=1e-9, atol=1e-9)


def test_a_condition_that_always_holds_ends() -> None:
    low, high = bracket(lambda v: torch.ones_like(v, dtype=torch.bool), torch.ones(2), doublings=10)
    assert low.tolist() == [512.0, 512.0]
    assert high.tolist() == [1024.0, 1024.0]

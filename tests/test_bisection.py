import torch
from hypothesis import given
from hypothesis import strategies as st

from minadv.bisection import Bracket, bisect, bracket, largest_share


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


def test_an_answer_below_a_failure_leaves_room_below_itself() -> None:
    radii = Bracket(torch.tensor([4.0, 4.0, 4.0]), torch.tensor([8.0, 8.0, 8.0]))
    radii = radii.below(torch.tensor([3.0, 6.0, torch.inf]))
    assert radii.low.tolist() == [1.5, 4, 4]
    assert radii.high.tolist() == [3, 6, 8]
    assert (radii.middle < radii.high).all()


def test_the_largest_share_stays_inside() -> None:
    ends = torch.tensor([0.3, 1.0, 5.0, -1.0])
    found = largest_share(lambda share: share <= ends, ends, steps=20)
    assert (found <= ends.clamp_min(0)).all()
    torch.testing.assert_close(found, ends.clamp(0, 1), rtol=0, atol=1e-5)

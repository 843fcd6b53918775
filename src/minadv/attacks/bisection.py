"""Per-sample bisection: where a monotone condition stops being true."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

PerSample = Float[Tensor, " batch"]
Condition = Callable[[PerSample], Bool[Tensor, " batch"]]


def bracket(below: Condition, start: PerSample, doublings: int = 60) -> tuple[PerSample, PerSample]:
    """Double `start` until `below` is false, per sample; return (last below or 0, first not below).

    After `doublings` the last value is accepted, so that a condition that always holds ends too.
    """
    low, high = torch.zeros_like(start), start
    for _ in range(doublings):
        growing = below(high)
        if not growing.any():
            break
        low = torch.where(growing, high, low)
        high = torch.where(growing, 2 * high, high)
    return low, high


def bisect(below: Condition, low: PerSample, high: PerSample, steps: int) -> tuple[PerSample, PerSample]:
    """Halve [low, high] `steps` times, keeping the half at whose ends `below` is true and false."""
    for _ in range(steps):
        middle = (low + high) / 2
        inside = below(middle)
        low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
    return low, high

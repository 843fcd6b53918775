"""Per-sample bisection: where a monotone condition stops being true."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from minadv.masks import possibly_any
from minadv.shapes import PerSample

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


@dataclass(frozen=True, eq=False)
class Bracket:
    """[low, high] per sample, halved by what happened at its middle."""

    low: PerSample
    high: PerSample

    @property
    def middle(self) -> PerSample:
        """Point to try next."""
        return (self.low + self.high) / 2

    def after(self, reached: Bool[Tensor, " batch"]) -> "Bracket":
        """Keep the lower half where the middle was high enough, the upper half elsewhere."""
        return Bracket(torch.where(reached, self.low, self.middle), torch.where(reached, self.middle, self.high))

    def below(self, bound: PerSample) -> "Bracket":
        """Nothing above the bound is of interest; where that refutes a failure, it does not count any longer."""
        low = torch.where(bound <= self.low, bound / 2, self.low)
        return Bracket(low, torch.minimum(self.high, bound))


def bisect(below: Condition, low: PerSample, high: PerSample, steps: int) -> tuple[PerSample, PerSample]:
    """Halve [low, high] `steps` times, keeping the half at whose ends `below` is true and false."""
    bracket = Bracket(low, high)
    for _ in range(steps):
        bracket = bracket.after(~below(bracket.middle))
    return bracket.low, bracket.high


def largest_share(inside: Condition, like: PerSample, steps: int) -> PerSample:
    """Return how much of a way, in [0, 1], stays `inside`: 1 where its end is; else by `steps` bisections."""
    whole = torch.ones_like(like)
    ends_inside = inside(whole)
    if not possibly_any(~ends_inside):
        return whole
    return torch.where(ends_inside, whole, bisect(inside, 0 * whole, whole, steps)[0])

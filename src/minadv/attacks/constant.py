"""Per-sample search for the smallest weight c of a misclassification penalty that still succeeds."""

from dataclasses import dataclass

import torch
from torch import Tensor

# where nothing succeeds, weights stop growing before they overflow
LARGEST = 1e10


@dataclass(frozen=True, eq=False)
class Constant:
    """Weight in use, largest that failed, smallest that succeeded (inf while none did)."""

    value: Tensor
    low: Tensor
    high: Tensor
    growth: float = 10.0

    @classmethod
    def starting_at(cls, value: float, like: Tensor, growth: float = 10.0) -> "Constant":
        """Start every sample at `value`; `like` is a (batch,) tensor."""
        return cls(torch.full_like(like, value), torch.zeros_like(like), torch.full_like(like, torch.inf), growth)

    def after(self, success: Tensor) -> "Constant":
        """Halve the bracket; before the first success, grow by the factor."""
        high = torch.where(success, torch.minimum(self.high, self.value), self.high)
        low = torch.where(success, self.low, torch.maximum(self.low, self.value))
        value = torch.where(high < torch.inf, (low + high) / 2, (self.value * self.growth).clamp_max(LARGEST))
        return Constant(value, low, high, self.growth)

    def best(self) -> "Constant":
        """Return to the smallest weight that succeeded, where one did (the last round of ten or more)."""
        value = torch.where(self.high < torch.inf, self.high, self.value)
        return Constant(value, self.low, self.high, self.growth)

    def where(self, rows: Tensor, other: "Constant") -> "Constant":
        """Keep the masked rows, and take the rest from the other."""
        pairs = (self.value, other.value), (self.low, other.low), (self.high, other.high)
        value, low, high = (torch.where(rows, ours, theirs) for ours, theirs in pairs)
        return Constant(value, low, high, self.growth)

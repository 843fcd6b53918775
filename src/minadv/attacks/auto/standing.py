"""Who goes on after a round: samples stop where several rounds agree, or leave the rounds for random moves."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from minadv.attacks.auto.exploration import Stride
from minadv.attacks.auto.refinement import Refined

# A sample may stop when so many rounds have ended within this of its smallest distance, at a stationary point.
AGREEING, AGREEMENT, STATIONARY = 4, 2e-3, 0.05


@dataclass(frozen=True, eq=False)
class Standing:
    """Where samples stand between rounds, (batch,) each.

    Attributes:
        agreeing: how many rounds ended at the same stationary distance, which is about the smallest one so far.
        at: that smallest one.
        running: who has not stopped early; None is all.
        moving: whose best answer is moved at random in place of further rounds; None is nobody's.
    """

    agreeing: Tensor
    at: Tensor
    running: Tensor | None = None
    moving: Tensor | None = None

    @classmethod
    def at_first(cls, like: Tensor) -> "Standing":
        """All make rounds; `like` is a (batch,) tensor."""
        return cls(torch.zeros_like(like, dtype=torch.int64), torch.full_like(like, torch.inf))

    @property
    def live(self) -> Tensor | None:
        """Who makes the next round; None is all."""
        if self.moving is None:
            return self.running
        return ~self.moving if self.running is None else self.running & ~self.moving

    def after(self, best: Tensor, end: Refined) -> "Standing":
        """Take in how a round ended, and the `best` distances; what found nothing agrees with nothing."""
        within = (1 + AGREEMENT) * best
        same = end.reached.isfinite() & (end.reached <= within) & (end.residual <= STATIONARY)
        nearer = within < self.at  # than all that agreed
        agreeing, at = self.agreeing.masked_fill(nearer, 0) + same, torch.where(nearer, best, self.at)
        running = agreeing < AGREEING
        return replace(self, agreeing=agreeing, at=at, running=None if running.all() else running)

    def leaving(self, best: Tensor, stride: Stride) -> "Standing":
        """Let the samples make moves that have an answer, and whose gradients cannot be trusted."""
        if stride.masked is None:
            return self
        moving = (stride.masked > 0) & best.isfinite()
        return replace(self, moving=moving if self.running is None else moving & self.running)


def nobody(mask: Tensor | None) -> bool:
    """Whether a mask, None for all, holds no sample."""
    return mask is not None and not bool(mask.any())

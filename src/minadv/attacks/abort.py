"""Giving up runs that make no progress (C&W, EAD), per sample or for a whole batch."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

# progress is a loss that falls to this share of what it was at the check before
FALL = 0.9999

Compat = Literal["sample", "batch"]


@dataclass(frozen=True, eq=False)
class Stall:
    """Loss at the last check, and for how many checks in a row it has not fallen.

    `scope` decides who stops: "each" sample by its own loss, "all" together when none falls, or all by the "sum".
    """

    loss: Tensor
    idle: Tensor
    scope: Literal["each", "all", "sum"] = "each"

    @classmethod
    def start(cls, like: Tensor, scope: Literal["each", "all", "sum"]) -> "Stall":
        """Before the first check, which nobody fails. `like` is a (batch,) tensor."""
        return cls(torch.full_like(like, torch.inf), torch.zeros_like(like), scope)

    def after(self, loss: Tensor, due: Tensor | None = None) -> "Stall":
        """Take in the losses of the next check of the samples `due`, (batch,); None is all."""
        if self.scope == "sum":
            stalled = (loss.sum() > FALL * self.loss.sum()).expand_as(loss)
        else:
            stalled = loss > FALL * self.loss
            stalled = stalled.all().expand_as(loss) if self.scope == "all" else stalled
        idle = torch.where(stalled, self.idle + 1, 0)
        if due is not None:
            loss, idle = torch.where(due, loss, self.loss), torch.where(due, idle, self.idle)
        return Stall(loss, idle, self.scope)

    def again(self, rows: Tensor) -> "Stall":
        """Go back to before the first check in the masked rows."""
        return Stall(self.loss.masked_fill(rows, torch.inf), self.idle.masked_fill(rows, 0), self.scope)

    def stalled(self, patience: int) -> Tensor:
        """(batch,) who has not made progress for so many checks in a row."""
        return self.idle >= patience

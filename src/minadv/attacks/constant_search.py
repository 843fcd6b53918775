"""Runs with one weight of the penalty after another (C&W, EAD), each sample at its own pace."""

from dataclasses import dataclass

import torch
from torch import Tensor

from minadv import host
from minadv.attacks.abort import Stall
from minadv.attacks.constant import Constant
from minadv.masks import possibly_any


@dataclass(eq=False)
class Searches:
    """Where each sample stands: a run that ends early is followed by the next at once, whatever others do.

    Attributes:
        searches, steps: most runs of a sample, and most steps of a run.
        period: steps between two checks of a run's progress.
        patience: checks without progress that end a run; None ends none.
        c: weights in use.
        progress: losses at the last checks.
        live: (batch,) samples that have runs left. Replaced and never changed: the oracle knows a mask again.
        age: (batch,) steps of the present run.
        number: (batch,) runs before it.
        success: (batch,) whether it has seen an adversarial.
        taken: steps of all.
        over: whether no sample is live.
    """

    searches: int
    steps: int
    period: int
    patience: int | None
    c: Constant
    progress: Stall
    live: Tensor
    age: Tensor
    number: Tensor
    success: Tensor
    taken: int = 0
    over: bool = False

    @classmethod
    def of(
        cls,
        live: Tensor,
        c: Constant,
        progress: Stall,
        *,
        searches: int,
        steps: int,
        period: int,
        patience: int | None,
    ) -> "Searches":
        """Begin the first run of the `live` samples."""
        age = torch.zeros_like(live, dtype=torch.int64)
        runs = cls(searches, steps, period, patience, c, progress, live, age, age.clone(), torch.zeros_like(live))
        runs._choose(live)
        return runs

    def check(self, loss: Tensor) -> Tensor:
        """Look at the losses of samples that are due; return who gives up its run now, (batch,)."""
        due = self.age % self.period == 0
        if self.patience is None or not possibly_any(due):
            return torch.zeros_like(self.live)
        self.progress = self.progress.after(loss, due)
        return self.live & due & self.progress.stalled(self.patience)

    def going_on(self, gave_up: Tensor) -> Tensor:
        """Return the live samples whose run goes on; on accelerators all live ones, so that none is waited for."""
        return self.live & ~gave_up if self._known and bool(gave_up.any()) else self.live

    def advance(self, gave_up: Tensor) -> Tensor:
        """End a step; return the samples whose run ended with it, (batch,), which start again at the original."""
        self.age, self.taken = self.age + self.live, self.taken + 1
        ended = self.live & (gave_up | (self.age >= self.steps))
        if possibly_any(ended):
            self.c = self.c.where(~ended, self.c.after(self.success))
            self.number, self.age = self.number + ended, self.age.masked_fill(ended, 0)
            self.success, self.progress = self.success & ~ended, self.progress.again(ended)
            self._choose(ended)
            if self._known or self.taken % self.period == 0:
                live = self.live & (self.number < self.searches)
                self.live = self.live if torch.equal(live, self.live) else live
                self.over = not bool(live.any())
        return ended

    @property
    def _known(self) -> bool:
        """Whether masks can be asked for free; on an accelerator, finished samples leave at checkpoints only."""
        return host.has(self.live)

    def _choose(self, rows: Tensor) -> None:
        """Repeat the best weight in the last run of ten or more."""
        if self.searches >= 10:
            self.c = self.c.where(~(rows & (self.number == self.searches - 1)), self.c.best())

"""Images in tanh space, which cannot leave the box: the variables of C&W and of the ADMM attack."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from minadv.attacks.adam import Adam
from minadv.elementwise import line
from minadv.masks import overwrite, possibly_any

SHRINK = 1e-6  # as published


@dataclass(eq=False)
class TanhSpace:
    """x = (tanh(v) + 1)/2, moved by Adam on v from v = atanh((1 − 1e-6)·(2x0 − 1)), kept `shrink` inside the ends.

    Attributes:
        v: (batch, ...) variables.
        t: tanh(v).
        x0: the originals.
        image: what `x` returned last, and scratch.
        adam: moments of the gradients in v.
        shrink: how far inside the ends of tanh black and white begin, 1e-6 at least; other colours stay.
        fresh: (batch,) rows at the originals themselves, not at their reconstruction, which rounds; None is none.
        moved: whether not all are.
    """

    v: Tensor
    t: Tensor
    x0: Tensor
    image: Tensor
    adam: Adam
    shrink: float
    fresh: Tensor | None = None
    moved: bool = False

    @property
    def x(self) -> Tensor:
        """The images, until the next call of anything here; at first the originals themselves."""
        if not self.moved:
            return self.x0
        x = line(0.5, self.t, 0.5, out=self.image)
        if self.fresh is not None:
            overwrite(x, self.fresh, self.x0)
        return x

    @classmethod
    def around(cls, x0: Tensor, steps: int = 0, shrink: float = SHRINK) -> "TanhSpace":
        """Start at the originals; `steps` is the largest age of samples that start again on their own."""
        t = _inside(x0, shrink)
        return cls(_atanh(t), t, x0, torch.empty_like(x0), Adam.like(x0, steps), shrink)

    def descend(self, gradient: Tensor, rate: float, age: Tensor | None = None) -> None:
        """Take a step of Adam against a gradient with respect to x."""
        squares = torch.mul(self.t, self.t, out=self.image)
        slope = line(0.5, squares, -0.5, out=squares).mul_(gradient)  # (1 − tanh²)/2
        self.v += self.adam.step(slope, rate, age)
        torch.tanh(self.v, out=self.t)
        self.fresh, self.moved = None, True

    def restart(self, rows: Tensor) -> None:
        """Go back to the originals in the masked rows; Adam starts again as their age does."""
        if possibly_any(rows):
            t = _inside(self.x0, self.shrink)
            overwrite(self.t, rows, t)
            overwrite(self.v, rows, _atanh(t))
            self.fresh = rows

    def again(self) -> "TanhSpace":
        """Stay where we are, with new moments."""
        return replace(self, adam=Adam.like(self.v))


def _atanh(t: Tensor) -> Tensor:
    return (torch.log1p(t) - torch.log1p(-t)) / 2  # torch's own rounds by an entry's place in the tensor


def _inside(x0: Tensor, shrink: float) -> Tensor:
    """tanh(v) of the originals: from the box to [−1, 1], as published inside of what has a finite v."""
    return ((2 * x0 - 1) * (1 - SHRINK)).clamp_(shrink - 1, 1 - shrink)

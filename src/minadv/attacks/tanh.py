"""Images in tanh space, which cannot leave the box: the variables of C&W and of the ADMM attack."""

from dataclasses import dataclass

import torch
from torch import Tensor

from minadv.attacks.adam import Adam
from minadv.masks import overwrite, possibly_any

# (2x − 1) is multiplied by this, so that black and white have a finite atanh
SATURATION = 1 - 1e-6


@dataclass(eq=False)
class TanhSpace:
    """x = (tanh(v) + 1)/2, moved by Adam on v from v = a.

    Attributes:
        a: (batch, ...) atanh of the originals.
        v: the variables.
        t: tanh(v).
        x0: the originals.
        adam: moments of the gradients in v.
    """

    a: Tensor
    v: Tensor
    t: Tensor
    x0: Tensor
    adam: Adam
    moved: bool = False

    @property
    def x(self) -> Tensor:
        """The images; at first the originals themselves and not their reconstruction, which rounds."""
        return (self.t + 1).mul_(0.5) if self.moved else self.x0

    @classmethod
    def around(cls, x0: Tensor, steps: int = 0) -> "TanhSpace":
        """Start at the originals; `steps` is the largest age of samples that start again on their own."""
        u = _scaled(x0)
        a = (torch.log1p(u) - torch.log1p(-u)) / 2  # atanh, which rounds by an entry's place in the tensor
        return cls(a, a.clone(), u, x0, Adam.like(x0, steps))

    def descend(self, gradient: Tensor, rate: float, age: Tensor | None = None) -> None:
        """Take a step of Adam against a gradient with respect to x."""
        slope = self.t.square().neg_().add_(1).mul_(gradient).mul_(0.5)
        self.v += self.adam.step(slope, rate, age)
        torch.tanh(self.v, out=self.t)
        self.moved = True

    def restart(self, rows: Tensor) -> None:
        """Go back to the originals in the masked rows; Adam starts again as their age does."""
        if possibly_any(rows):
            overwrite(self.v, rows, self.a)
            overwrite(self.t, rows, _scaled(self.x0))

    def again(self) -> "TanhSpace":
        """Stay where we are, with new moments."""
        return TanhSpace(self.a, self.v, self.t, self.x0, Adam.like(self.a), self.moved)


def _scaled(x0: Tensor) -> Tensor:
    """tanh(a): from the box to [−1, 1], a little inside."""
    return (2 * x0 - 1) * SATURATION

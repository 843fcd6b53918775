"""Images in tanh space, which cannot leave the box: the variables of C&W and of the ADMM attack."""

from dataclasses import dataclass

import torch
from torch import Tensor

from minadv.attacks.adam import Adam

# (2x − 1) is multiplied by this, so that black and white have a finite atanh
SATURATION = 1 - 1e-6


@dataclass(eq=False)
class TanhSpace:
    """x = (tanh(a + w) + 1)/2, moved by Adam on w from w = 0.

    Attributes:
        a: (batch, ...) atanh of the originals.
        w: the variables.
        t: tanh(a + w).
        x0: the originals.
        adam: moments of the gradients in w.
    """

    a: Tensor
    w: Tensor
    t: Tensor
    x0: Tensor
    adam: Adam
    moved: bool = False

    @property
    def x(self) -> Tensor:
        """The images; at first the originals themselves and not their reconstruction, which rounds."""
        return (self.t + 1).mul_(0.5) if self.moved else self.x0

    @classmethod
    def around(cls, x0: Tensor) -> "TanhSpace":
        """Start at the originals."""
        u = (2 * x0 - 1) * SATURATION
        a = (torch.log1p(u) - torch.log1p(-u)) / 2  # atanh, which rounds by an entry's place in the tensor
        return cls(a, torch.zeros_like(x0), torch.tanh(a), x0, Adam.like(x0))

    def descend(self, gradient: Tensor, rate: float) -> None:
        """Take a step of Adam against a gradient with respect to x."""
        slope = self.t.square().neg_().add_(1).mul_(gradient).mul_(0.5)
        self.w += self.adam.step(slope, rate)
        torch.add(self.a, self.w, out=self.t).tanh_()
        self.moved = True

    def restart(self) -> None:
        """Go back to the originals, in the memory that is there."""
        self.w.zero_()
        torch.tanh(self.a, out=self.t)
        self.adam, self.moved = Adam(self.adam.first.zero_(), self.adam.second.zero_()), False

    def again(self) -> "TanhSpace":
        """Stay where we are, with new moments."""
        return TanhSpace(self.a, self.w, self.t, self.x0, Adam.like(self.a), self.moved)

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
        x: the images. Where nothing has moved, they are the originals and not their reconstruction, which rounds.
        adam: moments of the gradients in w.
    """

    a: Tensor
    w: Tensor
    t: Tensor
    x: Tensor
    adam: Adam

    @classmethod
    def around(cls, x0: Tensor) -> "TanhSpace":
        """Start at the originals."""
        u = (2 * x0 - 1) * SATURATION
        a = (torch.log1p(u) - torch.log1p(-u)) / 2  # atanh, which rounds by an entry's place in the tensor
        return cls(a, torch.zeros_like(x0), torch.tanh(a), x0, Adam.like(x0))

    def descend(self, gradient: Tensor, rate: float) -> None:
        """Take a step of Adam against a gradient with respect to x."""
        self.w += self.adam.step(gradient * (1 - self.t * self.t) / 2, rate)
        self.t = torch.tanh(self.a + self.w)
        self.x = (self.t + 1) / 2

    def again(self) -> "TanhSpace":
        """Stay where we are, with new moments."""
        return TanhSpace(self.a, self.w, self.t, self.x, Adam.like(self.a))

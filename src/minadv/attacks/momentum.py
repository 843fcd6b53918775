"""Steps with momentum, normalised by the gradient's size per entry, as ALMA takes them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from minadv.distances.lp import Shrink


@dataclass(frozen=True, eq=False)
class Momentum:
    """RMS-normalised steps with momentum, and the distance's part by a proximal step where it has one.

    Everything happens in memory of its own: on a CPU, a new tensor of a batch costs more than filling it.

    Attributes:
        squares, velocity: state, (batch, ...).
        x: where the images are put; the next step overwrites them.
        scratch: what is needed in between.
    """

    squares: Tensor
    velocity: Tensor
    x: Tensor
    scratch: Tensor
    alpha_rms: float
    momentum: float
    shrink: Shrink | None

    @classmethod
    def like(cls, x: Tensor, alpha_rms: float, momentum: float, shrink: Shrink | None) -> "Momentum":
        """Start at rest."""
        squares, velocity = torch.ones_like(x), torch.zeros_like(x)
        return cls(squares, velocity, torch.empty_like(x), torch.empty_like(x), alpha_rms, momentum, shrink)

    def step(self, x: Tensor, h: Tensor, slope: Tensor | None, rate: Tensor) -> Tensor:
        """Return x moved against h, the penalty's gradient, and `slope`, the distance's (None at step 0).

        `x` is the originals or what the last step returned; `h` is overwritten.
        """
        total = h
        if slope is not None:
            total = h.add_(slope) if self.shrink is None else torch.add(h, slope, out=self.scratch)
        self.squares.mul_(self.alpha_rms).addcmul_(total, total, value=1 - self.alpha_rms)
        scale = torch.sqrt(self.squares, out=self.scratch).add_(1e-8)
        self.velocity.mul_(self.momentum).addcdiv_(h, scale)
        x = torch.addcmul(x, rate, self.velocity, value=-1, out=self.x)
        if self.shrink is None or slope is None:
            return x
        # momentum sums a steady slope up to 1/(1 − momentum) times its step: so does the proximal step
        return self.shrink(x, torch.div(rate, scale.mul_(1 - self.momentum), out=scale), h)

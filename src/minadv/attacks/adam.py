"""Adam (Kingma and Ba, 2015) on a batch of independent samples."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(eq=False)
class Adam:
    """First and second moments of the gradients, per entry; everything is elementwise."""

    first: Tensor
    second: Tensor
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    count: int = 0

    @classmethod
    def like(cls, x: Tensor) -> "Adam":
        """Start with zero moments, shaped like x."""
        return cls(torch.zeros_like(x), torch.zeros_like(x))

    def step(self, gradient: Tensor, rate: float | Tensor) -> Tensor:
        """Take in a gradient and return the displacement −rate·m̂/(√v̂ + ε)."""
        self.count += 1
        one, two = self.betas
        self.first.lerp_(gradient, 1 - one)
        self.second.mul_(two).addcmul_(gradient, gradient, value=1 - two)
        metric = self.metric()
        return torch.div(self.first, metric, out=metric).mul_(-rate / (1 - one**self.count))

    def metric(self) -> Tensor:
        """√v̂ + ε, the diagonal by which a step is divided."""
        return (self.second / (1 - self.betas[1] ** self.count)).sqrt_().add_(self.epsilon)

"""Adam (Kingma and Ba, 2015) on a batch of independent samples."""

from dataclasses import dataclass

import torch
from torch import Tensor

from minadv.distances.base import per_sample

BETAS, EPSILON = (0.9, 0.999), 1e-8


@dataclass(eq=False)
class Adam:
    """First and second moments of the gradients, per entry, without bias; everything is elementwise.

    A moment without bias is itself an average, m̂ ← m̂ + (g − m̂)·(1 − β)/(1 − βᵗ), whose first weight is 1: a sample
    that starts again forgets what was before, and nothing has to be cleared.

    Attributes:
        first, second: moments, (batch, ...).
        weights: (2, steps) weights of the newest gradient in both, where samples start again on their own.
    """

    first: Tensor
    second: Tensor
    weights: Tensor
    count: int = 0

    @classmethod
    def like(cls, x: Tensor, steps: int = 0) -> "Adam":
        """Start with zero moments, shaped like x; `steps` is the most of samples with an age."""
        weights = [[_weight(beta, t) for t in range(1, steps + 1)] for beta in BETAS]
        return cls(torch.zeros_like(x), torch.zeros_like(x), x.new_tensor(weights))

    def step(self, gradient: Tensor, rate: float | Tensor, age: Tensor | None = None) -> Tensor:
        """Take in a gradient and return the displacement −rate·m̂/(√v̂ + ε).

        Args:
            gradient: (batch, ...).
            rate: step size.
            age: (batch,) steps since each sample started; None is since all did.
        """
        self.count += 1
        if age is None:
            self.first.lerp_(gradient, _weight(BETAS[0], self.count))
            new = _weight(BETAS[1], self.count)
            self.second.mul_(1 - new).addcmul_(gradient, gradient, value=new)
        else:
            one, two = (per_sample(weights[age], gradient) for weights in self.weights)
            self.first.lerp_(gradient, one)
            self.second.lerp_(gradient.square(), two)
        metric = self.metric()
        return torch.div(self.first, metric, out=metric).mul_(-rate)

    def metric(self) -> Tensor:
        """√v̂ + ε, the diagonal by which a step is divided."""
        return self.second.sqrt().add_(EPSILON)


def _weight(beta: float, t: int) -> float:
    return (1 - beta) / (1 - beta**t)

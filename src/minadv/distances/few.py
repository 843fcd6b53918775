"""A smooth stand-in for the number of changed entries, for methods that need a gradient or a proximal step."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from minadv.shapes import Batch, PerSample

# Entry at which the count bends: below, it is nearly ℓ1, above, it hardly grows. Smaller ones find other minima.
EPSILON = 0.3
# So that an entry that goes from one end of the box to the other counts as one.
WHOLE = math.log1p(1 / EPSILON)


@dataclass(frozen=True, eq=False)
class AnchoredCount:
    """Σ_j log(1 + |x − x0|_j / ε) / log(1 + 1/ε): what ℓ0 is descended by.

    ℓ1 pulls at large entries as it does at small ones, so that many are needed; this concave sum leaves large
    ones alone (E. Candès, M. Wakin, S. Boyd, *Enhancing Sparsity by Reweighted ℓ1 Minimization*, 2008, which
    linearises the same sum).
    """

    x0: Tensor

    def __call__(self, x: Batch) -> PerSample:
        """Return the sum for each row."""
        return (x - self.x0).abs().div(EPSILON).log1p().flatten(1).sum(dim=1) / WHOLE

    def value_and_gradient(self, x: Batch) -> tuple[PerSample, Batch]:
        """Return the sums and their gradients, 0 where an entry is as it was."""
        delta = x.detach() - self.x0
        size = delta.abs()
        slope = delta.sign_().div_((size + EPSILON).mul_(WHOLE))
        return size.div_(EPSILON).log1p_().flatten(1).sum(dim=1) / WHOLE, slope

    def select(self, rows: Tensor) -> "AnchoredCount":
        """Return the sum for the originals of the given rows."""
        return AnchoredCount(self.x0[rows])

    def shrink(self, x: Tensor, by: Tensor, spare: Tensor) -> Tensor:
        """Proximal step of the sum, linearised at `x`: that of ℓ1, whose threshold is lower for larger entries.

        As `AnchoredLp.shrink`, in the memory of `x` and `spare`.
        """
        size = (x - self.x0).abs_()
        return soft_threshold(x, self.x0, torch.div(by, size.add_(EPSILON).mul_(WHOLE), out=size), spare)


def soft_threshold(x: Tensor, x0: Tensor, by: Tensor, spare: Tensor) -> Tensor:
    """Move entries of `x` by so much to `x0`, exactly onto it where they are nearer; as `AnchoredLp.shrink`."""
    delta = x.sub_(x0)
    # `clip`, without memory for the lower bound
    cut_off = torch.maximum(delta, torch.neg(by, out=spare), out=spare)
    return delta.sub_(torch.minimum(cut_off, by, out=spare)).add_(x0)

"""ℓp distances over all entries of a sample, p ∈ {0, 1, 2, ∞}, with closed-form gradients."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from minadv.distances.base import safe_sqrt
from minadv.distances.checks import check_pair
from minadv.distances.few import AnchoredCount, soft_threshold
from minadv.elementwise import clip
from minadv.masks import possibly_any
from minadv.shapes import Batch, PerSample, per_sample

# (x, by, spare) to the proximal step from x: see `AnchoredLp.shrink`
Shrink = Callable[[Tensor, Tensor, Tensor], Tensor]

# More change nothing in float32: each step removes entries, and few remain after a handful.
NEWTON_STEPS = 10


@dataclass(frozen=True)
class Lp:
    """‖x − x0‖_p over all entries (ℓ0 counts entries that differ, channels separately).

    Gradients are subgradients of smallest norm where the distance has a kink: 0 at x = x0, sign for ℓ1,
    shared evenly among the largest entries for ℓ∞. The gradient of ℓ0 is 0 wherever it exists.
    """

    p: float

    def __post_init__(self) -> None:
        if self.p not in (0, 1, 2, math.inf):
            raise ValueError(f"p must be 0, 1, 2 or math.inf, got {self.p!r}: others can be a function (x, x0)")

    @property
    def name(self) -> str:
        """Return l0, l1, l2 or linf."""
        return "linf" if self.p == math.inf else f"l{self.p:g}"

    def __call__(self, x: Batch, x0: Batch) -> PerSample:
        """‖x − x0‖_p for each row."""
        check_pair(self.name, x, x0)
        return self.anchored(x0)(x)

    def anchored(self, x0: Batch) -> "AnchoredLp":
        """Return the distance to `x0`."""
        return AnchoredLp(self.p, x0)


@dataclass(frozen=True, eq=False)
class AnchoredLp:
    """ℓp distance to fixed originals."""

    p: float
    x0: Tensor

    def __call__(self, x: Batch) -> PerSample:
        """‖x − x0‖_p for each row."""
        delta = (x - self.x0).flatten(1)
        return norm(delta, self.p) if delta.requires_grad else norm_(delta, self.p)

    def value_and_gradient(self, x: Batch) -> tuple[PerSample, Batch]:
        """Return the norms and their gradients in closed form."""
        delta = x.detach() - self.x0
        if self.p == 1:
            sign = delta.sign()
            return delta.mul_(sign).flatten(1).sum(dim=1), sign
        value = norm(delta.flatten(1), self.p)
        if self.p == 0:
            return value, delta.zero_()
        # where the norm is 0, so is every entry: any divisor but 0 will do
        direction = delta.div_(per_sample(value.clamp_min(torch.finfo(value.dtype).tiny), delta))
        if self.p == 2:
            return value, direction
        largest = direction.trunc_()  # the sign of the largest, 0 elsewhere: only equals have the quotient 1
        count = largest.flatten(1).abs().sum(dim=1).clamp_min_(1)
        return value, largest.div_(per_sample(count, delta))

    def select(self, rows: Tensor) -> "AnchoredLp":
        """Return the distance to the originals of the given rows."""
        return AnchoredLp(self.p, self.x0[rows])

    @property
    def surrogate(self) -> "AnchoredLp | AnchoredCount":
        """What gradient methods descend instead: a smooth count for ℓ0, whose own gradient says nothing."""
        return AnchoredCount(self.x0) if self.p == 0 else self

    @property
    def shrink(self) -> Shrink | None:
        """Proximal step `(x, by, spare) -> x` of the norms with kinks (ℓ1, ℓ∞), None for the others.

        It minimises ‖x′ − x0‖_p + Σ_j (x′_j − x_j)²/(2·by_j) over x′: `by` is a step size per entry. The result
        is in `x`'s memory; that of `spare` is used, too (a tensor of a batch costs more than filling it).
        """
        return {1: self._soft_threshold, math.inf: self._clip}.get(self.p)

    def _soft_threshold(self, x: Tensor, by: Tensor, spare: Tensor) -> Tensor:
        return soft_threshold(x, self.x0, by, spare)

    def _clip(self, x: Tensor, by: Tensor, spare: Tensor) -> Tensor:
        """Clip x − x0 at ±θ with Σ_j max(|x − x0|_j − θ, 0)/by_j = 1 (θ = 0 where the sum stays below)."""
        delta = x.sub_(self.x0)
        size = torch.abs(delta, out=spare).flatten(1)
        weight = by.expand_as(x).flatten(1).reciprocal()
        theta, above = torch.zeros_like(size[:, :1]), torch.empty_like(size)
        for _ in range(NEWTON_STEPS):  # from the left of the root of a convex function: monotone
            # the weights of entries above θ, in memory of its own: comparisons are slow, new tensors more so
            torch.sub(size, theta, out=above).clamp_min_(0).sign_().mul_(weight)
            mass = above.sum(dim=1, keepdim=True)
            moment = above.mul_(size).sum(dim=1, keepdim=True)
            ahead = torch.where(mass > 0, (moment - 1) / mass, theta).clamp_min_(0)
            if not possibly_any(ahead > theta):
                break
            theta = torch.maximum(theta, ahead)
        bound = per_sample(theta, x)
        return clip(delta, bound, out=delta).add_(self.x0)


def euclidean(rows: Tensor) -> Tensor:
    """ℓ2 norm of each row of (batch, entries) in one pass, for values that are not differentiated."""
    return cast("Tensor", torch.linalg.vector_norm(rows, dim=1))


def norm_(rows: Tensor, p: float) -> Tensor:
    """`norm` of rows that are neither differentiated nor needed any more, whose memory is overwritten."""
    if p == 2:
        return euclidean(rows)
    if p in (0, 1):
        size = rows.abs_()
        return (size.sign_() if p == 0 else size).sum(dim=1)
    return norm(rows, p)


def norm(rows: Tensor, p: float) -> Tensor:
    """ℓp norm of each row of (batch, entries), with gradient 0 where it is undefined."""
    if p == 0:
        count = (rows != 0).sum(dim=1, dtype=torch.int32).to(rows.dtype)
        # through a product with zero, so that the value stays part of the caller's graph
        return count + 0 * rows.sum(dim=1) if rows.requires_grad else count
    if p == 1:
        return rows.abs().sum(dim=1)
    if p == 2:
        squares = rows.square().sum(dim=1)
        return safe_sqrt(squares) if squares.requires_grad else squares.sqrt_()
    if rows.requires_grad and torch.is_grad_enabled():
        return rows.abs().amax(dim=1)
    return torch.maximum(rows.amax(dim=1), rows.amin(dim=1).neg_()).abs_()  # of zeros, it is −0 without

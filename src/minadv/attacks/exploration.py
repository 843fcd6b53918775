"""Exploration: large steps across the boundary and back, before anything is measured finely.

Gradients near an original can mislead (masked gradients, kinks). Steps that move every entry alike, however small
its gradient, leave that region; the pull back to the original then finds its own way to the boundary.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from minadv.attacks.directions import TINY, nonzero, norm
from minadv.distances.base import per_sample
from minadv.oracle import Oracle
from minadv.rounding import steady

Constrain = Callable[[Tensor], Tensor]
Pull = Callable[[Tensor], Tensor]

LARGEST_STEP = 0.4  # of the box's side


@dataclass(frozen=True, eq=False)
class Exploration:
    """Sign-like steps of falling size, along a blend of two unit gradients: the constraint's and the distance's.

    Where a distance is smallest, the two unit gradients are opposite: equal weights are stationary whatever the
    scales of logits, distance and image. So one number per sample is enough, the logit of the constraint's weight:
    it falls by a fixed amount after each adversarial point and rises after any other.

    Attributes:
        reach: first step, relative to the ℓ∞ distance to the linearised boundary at the original.
        decay: first step over last.
        smoothing: of squared gradients, which normalise the steps.
    """

    reach: float = 8.0
    decay: float = 20.0
    smoothing: float = 0.7
    bound: float = 5.0

    def scale(self, value: Tensor, slope: Tensor) -> Tensor:
        """(batch,) size of the first step, from the constraint and its gradient at the original."""
        return (self.reach * value / norm(slope, 1).clamp_min(TINY)).clamp(1e-4, LARGEST_STEP)

    def __call__(
        self,
        oracle: Oracle,
        start: Tensor,
        scale: Tensor | None,
        steps: int,
        change: float,
        advantage: float,
        constrain: Constrain,
        pull: Pull | None,
        live: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Explore from `start`; return the last adversarial point (the last one where there is none) and `scale`.

        Args:
            oracle: the samples.
            start: (batch, ...) first point.
            scale: (batch,) size of the first step; None computes it, the first point being the original.
            steps: forwards and backwards.
            change: of the weight's logit per step.
            advantage: first logit of the constraint's weight; it decides how long the search stays far beyond the
                boundary.
            constrain: logits to the constraint, (batch,).
            pull: direction back to the original; None is the distance's gradient.
            live: (batch,) samples that are still searched; None is all.
        """
        x, squares, seen = start, torch.zeros_like(start), torch.zeros_like(oracle.copies)
        logit, last = torch.full_like(oracle.best_distance, advantage), start
        for i in oracle.steps(steps):
            clean = x is oracle.originals  # known already, and without a direction back
            at = x if clean else oracle.project(x)
            probe = oracle.probe(at, live, distance_gradient=pull is None and not clean)
            constraint = constrain(probe.logits)
            h = nonzero(oracle.gradient(probe, constraint), oracle)
            if scale is None:
                scale = self.scale(constraint.detach(), h)
            seen = seen | probe.adversarial
            last = torch.where(per_sample(probe.adversarial | ~seen, x), x, last)
            weight = steady(torch.sigmoid, logit)
            h *= per_sample(weight / norm(h, 2), h)
            back = probe.distance_gradient if pull is None else pull(x - oracle.originals)
            if back is not None:
                h += back * per_sample((1 - weight) / norm(back, 2).clamp_min(TINY), h)
            squares.lerp_(h.square(), 1 - self.smoothing)
            length = scale * self.decay ** (-i / max(steps - 1, 1)) * (1 - self.smoothing ** (i + 1)) ** 0.5
            x = (x - h.div_(squares.sqrt().add_(TINY)).mul_(per_sample(length, x))).clamp_(0, 1)
            logit = (logit + torch.where(probe.adversarial, -change, change)).clamp(-self.bound, self.bound)
        return last, scale if scale is not None else torch.full_like(logit, LARGEST_STEP)

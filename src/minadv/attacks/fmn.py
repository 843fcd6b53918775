"""FMN: Fast Minimum-Norm attack.

M. Pintor, F. Roli, W. Brendel, B. Biggio, *Fast Minimum-norm Adversarial Attacks through Adaptive Norm
Constraints*, NeurIPS 2021.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from minadv import projections
from minadv.attacks.base import Attack, counts, positive, within
from minadv.attacks.directions import TINY, dual, farthest, norm, unit_
from minadv.attacks.schedules import cosine
from minadv.oracle import Oracle

# an entry's room times this bounds its gradient: not at all, or to 0 where there is none
HUGE = 1e30


@dataclass(frozen=True, kw_only=True)
class FMN(Attack):
    """Gradient steps, projected on a ball whose radius follows a linear estimate of the distance to the boundary.

    Source: Pintor, Roli, Brendel and Biggio, *Fast Minimum-norm Adversarial Attacks through Adaptive Norm
    Constraints*, NeurIPS 2021.

    Args:
        steps: forwards and backwards.
        step: first length (ℓ2) of the steps; None is 1, and 10 for ℓ∞.
        gamma: relative change of the radius at the first step; it falls to `final_gamma` along half a cosine.
        final_gamma: relative change of the radius at the last step.
        in_box: leave entries that have no room to move out of the gradient, so that neither the step nor the
            linear estimate counts on them; False as published.
        overshoot: factor on the linear estimate until an adversarial is found, or rounding keeps the search just
            short of a flat boundary; 1 as published.
        final_step: length of the last step, relative to the first.

    Of every attack: `distance`, what to minimise; `confidence`, logits beyond the boundary; `levels`, 256 for
    8-bit images; `budget`, most propagations per sample; `seed`.
    """

    steps: int = 100
    step: float | None = None
    final_step: float = 0.01
    gamma: float = 0.05
    final_gamma: float = 0.001
    in_box: bool = True
    overshoot: float = 1.1

    name: ClassVar[str] = "fmn"
    published: ClassVar[Mapping[str, Any]] = {"in_box": False, "overshoot": 1.0}

    def __post_init__(self) -> None:
        super().__post_init__()
        counts(self, "steps")
        positive(self, "final_step")
        positive(self, "step", or_none=True)
        within(self, "overshoot", inside=lambda value: value >= 1, needed="≥ 1")
        within(self, "gamma", "final_gamma", inside=lambda value: 0 < value < 1, needed="in (0, 1)")

    def search(self, oracle: Oracle) -> None:
        """Run section 7 of attacks.md."""
        N, p, x0 = self.steps, self.p, oracle.originals
        step = self.step or (10.0 if p == math.inf else 1.0)
        project, largest = projections.ball(p), farthest(x0, p)
        x, seen = x0, torch.zeros_like(largest, dtype=torch.bool)
        radius = torch.ones_like(largest) if p == 0 else torch.full_like(largest, math.inf)
        for i in oracle.steps(N):
            gamma = cosine(i, N, self.gamma, self.final_gamma)
            probe = oracle.probe(oracle.snap(x))
            loss = -oracle.goal.margin(probe.logits, self.confidence)
            h = oracle.gradient(probe, loss)
            h = self._free(h, x)
            seen = seen | probe.adversarial
            if p == 0:
                radius = _count(radius, gamma, probe.adversarial, oracle.best_distance)
            else:
                shrunk = torch.minimum((1 - gamma) * radius, oracle.best_distance)
                estimate = loss.detach().abs() / norm(h, dual(p)).clamp_min(TINY)
                here = probe.distance if probe.x is x else norm(x - x0, p)  # on a grid they differ
                boundary = here + self.overshoot * estimate
                radius = torch.where(seen, (1 + gamma) * radius, boundary)
                radius = torch.where(probe.adversarial, shrunk, radius)
            radius = torch.minimum(radius, largest)
            delta = (x - x0).add_(unit_(h, oracle), alpha=cosine(i, N, step, step * self.final_step))
            x = oracle.clip_(project(delta, radius).add_(x0))

    def _free(self, h: Tensor, x: Tensor) -> Tensor:
        """Drop entries that have no room to move, in the memory of `h`: bounds by room are faster than a mask."""
        if not self.in_box:
            return h
        room = x * -HUGE  # below, and then above
        torch.maximum(h, room, out=h)
        return torch.minimum(h, room.add_(HUGE), out=h)


def _count(radius: Tensor, gamma: float, adversarial: Tensor, best: Tensor) -> Tensor:
    """Next number of entries (ℓ0): at least one fewer where adversarial, one more where not."""
    fewer = torch.minimum(torch.minimum(radius - 1, ((1 - gamma) * radius).floor()), best)
    more = torch.maximum(radius + 1, ((1 + gamma) * radius).floor())
    return torch.where(adversarial, fewer, more).clamp_min(1)

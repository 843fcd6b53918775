"""σ-zero: gradient-based optimisation of ℓ0.

A. E. Cinà, F. Villani, M. Pintor, L. Schönherr, B. Biggio, M. Pelillo, *σ-zero: Gradient-based Optimization of
ℓ0-norm Adversarial Examples*, ICLR 2025 (arXiv 2402.01879).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from minadv.attacks.adam import Adam
from minadv.attacks.base import Attack, counts, positive, within
from minadv.attacks.directions import TINY, norm
from minadv.attacks.schedules import cosine
from minadv.distances import Distance
from minadv.oracle import Oracle
from minadv.shapes import per_sample

# squares of σ below underflow
SHARPEST = 1e-18


@dataclass(frozen=True, kw_only=True)
class SigmaZero(Attack):
    """Descend the margin plus a smooth count of entries, and set entries below an adaptive threshold to 0.

    Source: Cinà et al., *σ-zero: Gradient-based Optimization of ℓ0-norm Adversarial Examples*, ICLR 2025 (arXiv
    2402.01879).

    Args:
        distance: "l0" (entries, channels counted separately).
        steps: forwards and backwards.
        rate: first step size of Adam; it falls along half a cosine.
        final_rate: last step size of Adam, as a share of the first.
        sigma: smoothness of the count Σ δ²/(δ² + σ), at least 1e-18.
        threshold: first threshold.
        threshold_rate: change of the threshold per step, relative to the step size.

    Of every attack: `distance`, what to minimise; `confidence`, logits beyond the boundary; `levels`, 256 for
    8-bit images; `budget`, most propagations per sample; `seed`.
    """

    distance: str | Distance | Callable[..., Tensor] = "l0"
    steps: int = 1000
    rate: float = 1.0
    final_rate: float = 0.1
    sigma: float = 1e-3
    threshold: float = 0.3
    threshold_rate: float = 0.01

    name: ClassVar[str] = "sigma_zero"

    def __post_init__(self) -> None:
        super().__post_init__()
        counts(self, "steps")
        positive(self, "rate", "final_rate", "threshold_rate")
        within(self, "sigma", inside=lambda value: value >= SHARPEST, needed=f"≥ {SHARPEST:g}")
        within(self, "threshold", inside=lambda value: 0 <= value <= 1, needed="in [0, 1]")

    def search(self, oracle: Oracle) -> None:
        """Run section 17 of attacks.md."""
        N, x0 = self.steps, oracle.originals
        delta, adam = torch.zeros_like(x0), Adam.like(x0)
        threshold = torch.full_like(oracle.best_distance, self.threshold)
        for i in oracle.steps(N):
            probe = oracle.probe(x0 if i == 0 else oracle.project(x0 + delta))
            margin = oracle.goal.margin(probe.logits, self.confidence)
            h = oracle.gradient(probe, margin, (margin.detach() > 0).to(margin.dtype))
            h += 2 * self.sigma / x0[0].numel() * delta / (delta * delta + self.sigma).square()
            h /= per_sample(norm(h, math.inf).clamp_min(TINY), h)
            rate, next_rate = (cosine(j, N, self.rate, self.rate * self.final_rate) for j in (i, i + 1))
            delta = (x0 + delta + adam.step(h, rate)).clamp_(0, 1) - x0
            change = self.threshold_rate * next_rate
            threshold = (threshold + torch.where(probe.adversarial, change, -change)).clamp(0, 1)
            delta.masked_fill_(delta.abs() < per_sample(threshold, delta), 0)

"""DDN: Decoupled Direction and Norm.

J. Rony, L. Hafemann, L. Oliveira, I. Ben Ayed, R. Sabourin, E. Granger, *Decoupling Direction and Norm for
Efficient Gradient-Based L2 Adversarial Attacks and Defenses*, CVPR 2019.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from minadv.attacks.base import Attack, counts, positive, within
from minadv.attacks.directions import TINY, farthest, norm, unit_
from minadv.attacks.schedules import cosine
from minadv.oracle import Oracle
from minadv.shapes import per_sample


@dataclass(frozen=True, kw_only=True)
class DDN(Attack):
    """Normalised gradient steps, put back on a sphere that shrinks where adversarial and grows where not.

    They climb the cross-entropy, which has no κ: `confidence` decides alone what is adversarial.

    Source: Rony et al., *Decoupling Direction and Norm for Efficient Gradient-Based L2 Adversarial Attacks and
    Defenses*, CVPR 2019.

    Args:
        steps: forwards and backwards.
        gamma: change of the radius per step.
        radius: first radius (ℓ2).
        step: length of the first step (ℓ2); steps fall to `final_step` along half a cosine.
        final_step: length of the last step.
        round_iterate: with `levels`, go on from rounded points, as published, and not between those looked at.

    Of every attack: `distance`, what to minimise; `confidence`, logits beyond the boundary; `levels`, 256 for
    8-bit images; `budget`, most propagations per sample; `seed`.
    """

    steps: int = 100
    gamma: float = 0.05
    radius: float = 1.0
    step: float = 1.0
    final_step: float = 0.01
    round_iterate: bool = False

    name: ClassVar[str] = "ddn"
    # the paper's runs left the library's 8-bit rounding on
    published: ClassVar[Mapping[str, Any]] = {"levels": 256, "round_iterate": True}

    def __post_init__(self) -> None:
        super().__post_init__()
        counts(self, "steps")
        within(self, "gamma", inside=lambda value: 0 < value < 1, needed="in (0, 1)")
        positive(self, "radius", "step", "final_step")

    def search(self, oracle: Oracle) -> None:
        """Run section 6 of attacks.md."""
        N, x0 = self.steps, oracle.originals
        x, largest = x0, farthest(x0, 2)
        land = oracle.project_ if self.round_iterate else oracle.clip_
        radius = torch.full_like(largest, self.radius)
        for i in oracle.steps(N):
            probe = oracle.probe(oracle.snap(x))
            h = unit_(oracle.gradient(probe, oracle.goal.ascent(probe.logits)), oracle)
            radius = torch.where(probe.adversarial, (1 - self.gamma) * radius, (1 + self.gamma) * radius)
            radius = torch.minimum(radius, largest)
            delta = (x - x0).add_(h, alpha=cosine(i, N, self.step, self.final_step))
            scale = per_sample(radius / norm(delta, 2).clamp_min(TINY), delta)
            x = land(torch.addcmul(x0, scale, delta, out=delta))

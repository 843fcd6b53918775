"""Trust region attack.

Z. Yao, A. Gholami, P. Xu, K. Keutzer, M. Mahoney, *Trust Region Based Adversarial Attack on Neural Networks*,
CVPR 2019.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch

from minadv.attacks.base import Attack, among, counts, positive, within
from minadv.attacks.boundary import cross, labels_of, nearest, others_by_logit, towards
from minadv.attacks.directions import TINY, dual, inner
from minadv.oracle import Oracle
from minadv.shapes import per_sample

RADII = {2: (5e-4, 0.05), float("inf"): (1e-4, 0.01)}


@dataclass(frozen=True, kw_only=True)
class TrustRegion(Attack):
    """Short first-order steps towards one class until misclassified; cheap, and not refined.

    Source: Yao et al., *Trust Region Based Adversarial Attack on Neural Networks*, CVPR 2019.

    Args:
        steps: at most; each costs two forwards (three when adaptive) and a backward.
        radius: first length of the steps.
        n_classes: runner-up classes among which the target is chosen, by the distance to their boundary.
        worst_case: choose the farthest of the runner-up classes instead of the nearest.
        adaptive: lengthen steps that do as expected, and shorten those that don't.
        expected: what tells whether a step did as expected. "slope": the rise of z_t − z_y over what its slope
            foretells, whatever the scale of logits; and no step is shorter than what brings the search to the
            boundary in those that are left. "label", as published: the fall of z_y over the step's length, so
            that all steps get shorter where logits are small or rounded.
        overshoot: how much farther a step goes.

    Of every attack: `distance`, what to minimise; `confidence`, logits beyond the boundary; `levels`, 256 for
    8-bit images; `budget`, most propagations per sample; `seed`.
    """

    steps: int = 100
    radius: float = 1e-3
    n_classes: int = 9
    worst_case: bool = False
    adaptive: bool = True
    expected: Literal["slope", "label"] = "slope"
    overshoot: float = 0.02

    name: ClassVar[str] = "trust_region"
    published: ClassVar[Mapping[str, Any]] = {"expected": "label"}

    def __post_init__(self) -> None:
        super().__post_init__()
        counts(self, "steps", "n_classes")
        positive(self, "radius")
        among(self, "expected", "slope", "label")
        within(self, "overshoot", inside=lambda value: value >= 0, needed="≥ 0")

    def search(self, oracle: Oracle) -> None:
        """Run section 18 of attacks.md."""
        p, x = self.p, oracle.originals
        labels = labels_of(oracle)
        clean = oracle.probe(x)
        classes = others_by_logit(clean.logits, labels)[:, : self.n_classes]
        target = nearest(
            oracle, clean, dual(p), self.confidence, classes=classes, farthest=self.worst_case
        ).classes
        del clean
        live, radius = None, torch.full_like(oracle.best_distance, self.radius)
        for i in oracle.steps(self.steps):
            # on a grid, how the logits change is measured between its points: short steps would round to none
            probe = oracle.probe(x, live)
            boundary = towards(oracle, probe, target, self.confidence)
            way = boundary.distance(dual(p))
            if self.adaptive and self.expected == "slope":
                radius = torch.maximum(radius, way / (self.steps - i))
            size = torch.minimum(way, radius)
            ahead = oracle.clip_(x + cross(boundary, p, size, self.overshoot))
            ahead = ahead if live is None else torch.where(per_sample(live, x), ahead, x)
            if self.adaptive:
                after = oracle.probe(ahead, live, differentiate=False)
                rise = (after.logits - probe.logits).detach()
                fall = -rise.gather(1, labels[:, None]).squeeze(1)
                if self.expected == "label":
                    ratio = fall / size.clamp_min(TINY)
                else:  # clipped steps foretell less
                    foretold = inner(boundary.slope, ahead - x)
                    ratio = (rise.gather(1, target[:, None]).squeeze(1) + fall) / foretold.clamp_min(TINY)
                longer, shorter = 1.2 * size, size / 1.2
                radius = torch.where(ratio > 0.9, longer, torch.where(ratio < 0.5, shorter, size)).clamp(*RADII[p])
            x = ahead
            found = oracle.reaches(oracle.snap(x), live)
            live = ~found if live is None else live & ~found
            if not live.any():
                break

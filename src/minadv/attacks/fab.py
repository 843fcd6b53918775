"""FAB: Fast Adaptive Boundary attack, and its targeted-search variant FAB^T.

F. Croce, M. Hein, *Minimally distorted Adversarial Examples with a Fast Adaptive Boundary Attack*, ICML 2020.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from minadv import random
from minadv.attacks.base import Attack, counts, shares, within
from minadv.attacks.boundary import labels_of, nearest, others_by_logit, towards
from minadv.attacks.directions import dual, norm
from minadv.oracle import Oracle
from minadv.projections import hyperplane_box, total, wide
from minadv.shapes import per_sample

# radius of the noise of restarts
RANDOM_RADIUS = {1: 5.0, 2: 1.0, math.inf: 0.3}


@dataclass(frozen=True, kw_only=True)
class FAB(Attack):
    """Project on the linearised decision boundary inside the box, with a pull towards the original.

    Entries move where the slope of a difference of logits is above 1e-8: logits should not be much below 1e-3.

    Source: Croce and Hein, *Minimally distorted Adversarial Examples with a Fast Adaptive Boundary Attack*, ICML
    2020.

    Args:
        steps: each costs two forwards, and a backward per class (one alone for FAB^T).
        n_targets: None looks for the nearest boundary at every step; a number makes it FAB^T: one run towards each
            of so many classes, those of largest clean logits. Success is any misclassification either way.
        alpha_max: largest pull towards the original.
        overshoot: η, how far beyond the boundary a step goes.
        back: β, a point that is adversarial goes back to this share of its perturbation.
        restarts: runs in all; all but the first start at random points.
        differences: take the gradients of the logits' differences to the label's, one backward fewer per step; the
            original, and so the paper's counts, take one of every logit.

    Of every attack: `distance`, what to minimise; `confidence`, logits beyond the boundary; `levels`, 256 for
    8-bit images; `budget`, most propagations per sample; `seed`.
    """

    steps: int = 100
    n_targets: int | None = None
    alpha_max: float = 0.1
    overshoot: float = 1.05
    back: float = 0.9
    restarts: int = 1
    differences: bool = False

    name: ClassVar[str] = "fab"

    def __post_init__(self) -> None:
        super().__post_init__()
        counts(self, "steps", "restarts")
        counts(self, "n_targets", or_none=True)
        shares(self, "alpha_max", "back")
        within(self, "overshoot", inside=lambda value: value >= 1, needed="≥ 1")

    def search(self, oracle: Oracle) -> None:
        """Run section 8 of attacks.md."""
        targets: list[Tensor | None] = [None]
        if self.n_targets is not None:
            clean = oracle.probe(oracle.originals).logits.detach()
            targets = list(others_by_logit(clean, labels_of(oracle)).T[: self.n_targets])
        for run in oracle.rounds(self.restarts * len(targets)):
            restart, target = divmod(run, len(targets))
            self._run(oracle, self._start(oracle, restart), targets[target])

    def _run(self, oracle: Oracle, x: Tensor, target: Tensor | None) -> None:
        p, x0 = self.p, oracle.originals
        oracle.reaches(x)  # a start may be adversarial; published runs look, too, and are counted so
        for _ in oracle.steps(self.steps):
            probe = oracle.probe(oracle.snap(x))
            if target is None:
                boundary = nearest(oracle, probe, dual(p), self.confidence, differences=self.differences)
            else:
                boundary = towards(oracle, probe, target, self.confidence)
            w = boundary.slope
            # in double precision: near the boundary the value is lost in the products' rounding
            b = total(wide((w * x).flatten(1))) - boundary.value
            here, home = hyperplane_box(x, w, b, p), hyperplane_box(x0, w, b, p)
            near, far = norm(here, p).clamp_min(1e-8), norm(home, p).clamp_min(1e-8)
            alpha = per_sample((near / (near + far)).clamp_max(self.alpha_max), x)
            x = torch.lerp(x + self.overshoot * here, x0 + self.overshoot * home, alpha)
            x = oracle.clip_(x)
            found = per_sample(oracle.reaches(oracle.snap(x)), x)
            x = torch.where(found, torch.lerp(x0, x, self.back), x)

    def _start(self, oracle: Oracle, restart: int) -> Tensor:
        """Return the original, or a random point half as far as the best adversarial so far."""
        if restart == 0:
            return oracle.originals
        noise = random.normal(oracle.keys, oracle.originals, stream=restart)
        length = oracle.best_distance.clamp_max(RANDOM_RADIUS[self.p]) / (2 * norm(noise, self.p))
        return (oracle.originals + per_sample(length, noise) * noise).clamp(0, 1)

"""DeepFool and SuperDeepFool.

S.-M. Moosavi-Dezfooli, A. Fawzi, P. Frossard, *DeepFool: a simple and accurate method to fool deep neural
networks*, CVPR 2016. A. Abdollahpoorrostam, M. Abroshan, S.-M. Moosavi-Dezfooli, *SuperDeepFool: a new fast and
accurate minimal adversarial attack*, arXiv 2303.12481.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from minadv.attacks.base import Attack, counts, within
from minadv.attacks.boundary import cross, labels_of, nearest, towards
from minadv.attacks.directions import TINY, dual, inner, norm
from minadv.bisection import bisect
from minadv.masks import overwrite
from minadv.oracle import Oracle
from minadv.shapes import per_sample


def deepfool(
    oracle: Oracle, x: Tensor, live: Tensor | None, *, p: float, steps: int, overshoot: float, confidence: float
) -> tuple[Tensor, Tensor]:
    """Step to the nearest boundary until adversarial; return the last points and the last target classes.

    A sample that is adversarial leaves the batch: n steps cost it n + 1 forwards and n·(classes − 1) backwards.
    `live` is who takes part, None is everyone.
    """
    classes = torch.zeros_like(oracle.best_distance, dtype=torch.int64)
    for i in oracle.steps(steps + 1):
        probe = oracle.probe(oracle.snap(x), live)
        live = oracle.able(~probe.adversarial if live is None else live & ~probe.adversarial)
        if i == steps or not live.any():
            break
        boundary = nearest(oracle, probe, dual(p), confidence, differences=True, live=live)
        ahead = oracle.clip_(cross(boundary, p, boundary.distance(dual(p)), overshoot).add_(x))
        overwrite(ahead, ~live, x)
        x, classes = ahead, torch.where(live, boundary.classes, classes)
        del probe, boundary, ahead  # free before the next pass
    return x, classes


@dataclass(frozen=True, kw_only=True)
class DeepFool(Attack):
    """Step to the nearest linearised boundary until adversarial.

    Source: Moosavi-Dezfooli, Fawzi and Frossard, *DeepFool: a simple and accurate method to fool deep neural
    networks*, CVPR 2016.

    Args:
        steps: at most; each costs a forward and a backward for every class but one.
        overshoot: how much farther than the boundary a step goes.

    Of every attack: `distance`, what to minimise; `confidence`, logits beyond the boundary; `levels`, 256 for
    8-bit images; `budget`, most propagations per sample; `seed`.
    """

    steps: int = 100
    overshoot: float = 0.02

    name: ClassVar[str] = "deepfool"

    def __post_init__(self) -> None:
        super().__post_init__()
        counts(self, "steps")
        within(self, "overshoot", inside=lambda value: value >= 0, needed="≥ 0")

    def search(self, oracle: Oracle) -> None:
        """Run the DeepFool step of section 16 of attacks.md."""
        deepfool(
            oracle,
            oracle.originals,
            None,
            p=self.p,
            steps=self.steps,
            overshoot=self.overshoot,
            confidence=self.confidence,
        )


@dataclass(frozen=True, kw_only=True)
class SuperDeepFool(Attack):
    """Project the perturbation that DeepFool finds on the normal of the boundary there, and repeat.

    Source: Abdollahpoorrostam, Abroshan and Moosavi-Dezfooli, *SuperDeepFool: a new fast and accurate minimal
    adversarial attack*, 2023 (arXiv 2303.12481).

    Args:
        steps: projections at most, each after a run of DeepFool.
        deepfool_steps: of each run of DeepFool, at most.
        overshoot: how much farther than the boundary DeepFool's steps go.
        restart: set out from the original with every projection; False adds it to the last point, as published.
        searches: bisections between the original and what was found.

    Of every attack: `distance`, what to minimise; `confidence`, logits beyond the boundary; `levels`, 256 for
    8-bit images; `budget`, most propagations per sample; `seed`.
    """

    steps: int = 100
    deepfool_steps: int = 100
    overshoot: float = 0.02
    restart: bool = False
    searches: int = 10

    name: ClassVar[str] = "superdeepfool"

    def __post_init__(self) -> None:
        super().__post_init__()
        counts(self, "steps", "deepfool_steps")
        counts(self, "searches", least=0)
        within(self, "overshoot", inside=lambda value: value >= 0, needed="≥ 0")

    def search(self, oracle: Oracle) -> None:
        """Run section 16 of attacks.md."""
        x = x0 = oracle.originals
        live = ~oracle.reaches(x0)
        for k in oracle.rounds(self.steps):
            if k > 0:
                live = live & ~oracle.reaches(oracle.snap(x), live)
                if not live.any():
                    break
            crossed, target = deepfool(
                oracle,
                x,
                live,
                p=2,
                steps=self.deepfool_steps,
                overshoot=self.overshoot,
                confidence=self.confidence,
            )
            probe = oracle.probe(oracle.snap(crossed), live)
            reached = probe.logits.argmax(dim=1)
            classes = torch.where(reached == labels_of(oracle), target, reached)
            w = towards(oracle, probe, classes, self.confidence, live).slope
            del probe
            w /= per_sample(norm(w, 2).clamp_min(TINY), w)
            w *= per_sample(inner(crossed - x0, w), w)
            ahead = oracle.clip_(w.add_(x0 if self.restart else x))
            overwrite(ahead, ~live, x)
            x = ahead
            del crossed, w, ahead
        else:
            live = live & ~oracle.reaches(oracle.snap(x), live)
        if not live.all():
            zeros = torch.zeros_like(oracle.best_distance)
            bisect(
                lambda t: ~oracle.reaches(oracle.project(x0 + per_sample(t, x) * (x - x0)), ~live),
                zeros,
                zeros + 1,
                self.searches,
            )

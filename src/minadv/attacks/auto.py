"""Auto: the smallest perturbation that a budget buys, under any distance (docs/auto.md)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor

from minadv import random
from minadv.attacks.alma import ALMA
from minadv.attacks.base import Attack, counts
from minadv.attacks.directions import norm
from minadv.attacks.exploration import Constrain, Exploration, Pull
from minadv.attacks.refinement import NearestByNorm, NearestByWeights, Refinement, SparseRefinement
from minadv.distances import Lp, resolve
from minadv.distances.base import per_sample
from minadv.goals import Constraint, Targeted
from minadv.oracle import Oracle

ROUND = 100  # steps; a shorter one does not converge, a longer one ends where a shorter one does
EXPLORED = 0.7  # share of a round
NOISE = (0.25, 0.5, 0.75, 1.0, 1.25)  # of the rounds' starts, relative to the first step


@dataclass(frozen=True, kw_only=True)
class Auto(Attack):
    """Rounds of exploration and refinement from new starting points, one forward and one backward per step.

    Args:
        distance: any: a name, a Distance, or a differentiable function `(x, x0) -> (batch,)`.
        budget: most forwards, and most backwards, per sample.
    """

    budget: int | None = 1000

    name: ClassVar[str] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        counts(self, "budget")

    @property
    def propagations(self) -> int | None:
        """No limit on the sum: steps cost one of each."""
        return None

    def search(self, oracle: Oracle) -> None:
        """Run rounds, the first from the originals."""
        steps = cast("int", self.budget)
        rounds = max(steps // ROUND, 1)
        constrain, live, scale = self._constrain(oracle), None, None
        p = distance.p if isinstance(distance := resolve(self.distance), Lp) else None
        for phase in oracle.rounds(2 * rounds):
            number, refining = divmod(phase, 2)
            length = steps * (number + 1) // rounds - steps * number // rounds
            explored = max(round(EXPLORED * length), 1)
            if refining:
                self._refine(oracle, found, length - explored, constrain, p, live)
            elif number == 0 and p is None and distance.name != "ssim":
                ALMA(distance=self.distance, confidence=self.confidence, steps=explored).search(oracle)
                found = oracle.best
            else:
                start = self._start(oracle, number, scale)
                found, scale = Exploration()(oracle, start, scale, explored, length, constrain, _pull(p), live)

    def _constrain(self, oracle: Oracle) -> Constrain:
        """DLR⁺, or the margin where there are too few classes for it."""
        least = 4 if isinstance(oracle.goal, Targeted) else 3
        kind: Constraint = "dlr" if oracle.clean_logits.shape[1] >= least else "margin"
        return lambda logits: oracle.goal.constraint(logits, kind, self.confidence)

    def _start(self, oracle: Oracle, number: int, scale: Tensor | None) -> Tensor:
        x0 = oracle.originals
        if number == 0:
            return x0
        reach = torch.full_like(oracle.best_distance, 0.4) if scale is None else scale
        noise = random.normal(oracle.keys, x0, stream=number).sign()
        return (x0 + per_sample(reach * NOISE[(number - 1) % len(NOISE)], x0) * noise).clamp(0, 1)

    def _refine(
        self, oracle: Oracle, x: Tensor, steps: int, constrain: Constrain, p: float | None, live: Tensor | None
    ) -> Tensor:
        if p == 0:
            return SparseRefinement()(oracle, x, steps, constrain, live)
        nearest = NearestByWeights(oracle.originals) if p is None else NearestByNorm(oracle.originals, p)
        return Refinement()(oracle, x, steps, constrain, nearest, live)


def _pull(p: float | None) -> Pull | None:
    """Direction of a smooth stand-in for a norm's gradient; None is the distance's own gradient."""
    known: dict[float, Callable[[Tensor], Tensor]] = {
        0: lambda share: share.sqrt(),
        1: lambda share: share.sqrt(),
        2: lambda share: share,
        math.inf: lambda share: share.square().pow_(2).mul_(share).mul_(share.square()),
    }
    if p is None:
        return None
    power = known[p]

    def pull(probe: object, delta: Tensor) -> Tensor:
        largest = per_sample(norm(delta, math.inf), delta).clamp_min(1e-12)
        return power(delta.abs().div_(largest)).mul_(delta.sign())

    return pull

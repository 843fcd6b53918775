"""Auto: the smallest perturbation that a budget buys, under any distance (docs/auto.md)."""

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor

from minadv import random
from minadv.attacks.alma import ALMA
from minadv.attacks.base import Attack, counts
from minadv.attacks.exploration import LARGEST_STEP, Constrain, Exploration
from minadv.attacks.families import By, Family, of
from minadv.attacks.nearest import ByMetric, ByNorm, ByWeights, Nearest
from minadv.attacks.refinement import Refined, Refinement, SparseRefinement
from minadv.distances import resolve
from minadv.distances.base import per_sample
from minadv.goals import Constraint, Targeted
from minadv.oracle import Oracle

# Steps of a round: a shorter one does not converge, a longer one hardly ends anywhere else.
ROUND = 100
# Share of the budget that a Lagrangian gets, where the family has one and the budget is more than a few rounds.
LAGRANGIAN = 0.3
# Noise at the start of the second and later rounds, relative to the first step.
NOISE = (0.25, 0.5, 0.75, 1.0, 1.25)
# A sample may stop when so many rounds have ended within this of its smallest distance, at a stationary point.
AGREEING, AGREEMENT, STATIONARY = 4, 2e-3, 0.05


@dataclass(frozen=True, kw_only=True)
class Auto(Attack):
    """Rounds of exploration and refinement from ever new starts; one forward and one backward per step.

    Args:
        distance: any: a name, a Distance, or a differentiable function `(x, x0) -> (batch,)`.
        budget: most forwards, and most backwards, per sample.
        explored: share of each round's steps that explore; the others refine.
        stop_early: give the rest of the budget back where several rounds have ended at the same stationary distance.
    """

    budget: int | None = 1000
    explored: float = 0.7
    stop_early: bool = True

    name: ClassVar[str] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        counts(self, "budget")

    @property
    def propagations(self) -> int | None:
        """No limit on their sum: a step costs one of each."""
        return None

    def search(self, oracle: Oracle) -> None:
        """Run rounds, the first from the originals."""
        x0, family, constrain = oracle.originals, of(resolve(self.distance).name), self._constrain(oracle)
        lengths = _rounds(cast("int", self.budget), family)
        nearest: dict[By, Nearest] = {
            "weights": ByWeights(x0),
            "metric": ByMetric(x0, oracle.surrogate),  # computed at its first use, and once
            "norm": ByNorm(x0, family.members[0].p),
        }
        agreeing = torch.zeros_like(oracle.copies, dtype=torch.int64)
        live, scale = torch.ones_like(oracle.copies), None
        for number in oracle.rounds(len(lengths)):
            member, length = family.members[number % len(family.members)], lengths[number]
            explored = max(round(self.explored * length), 1)
            if number == 0 and family.lagrangian:
                ALMA(distance=self.distance, confidence=self.confidence, steps=explored).search(oracle)
                start = oracle.best
            else:
                start = x0 if number == 0 else self._start(oracle, number, scale)
                explore = Exploration(advantage=member.advantage)
                start, scale = explore(oracle, start, scale, explored, length, constrain, member.pull, live)
            end = self._refine(oracle, start, length - explored, constrain, nearest.get(member.by), live)
            if self.stop_early:
                same = end.reached <= (1 + AGREEMENT) * oracle.best_distance
                agreeing = agreeing + (same & (end.residual <= STATIONARY))
                live = agreeing < AGREEING
                if not live.any():
                    break

    def _constrain(self, oracle: Oracle) -> Constrain:
        """DLR⁺, or the margin where there are too few classes for it."""
        least = 4 if isinstance(oracle.goal, Targeted) else 3
        kind: Constraint = "dlr" if oracle.clean_logits.shape[1] >= least else "margin"
        return lambda logits: oracle.goal.constraint(logits, kind, self.confidence)

    def _start(self, oracle: Oracle, number: int, scale: Tensor | None) -> Tensor:
        """Originals with noise of a new amount and sign."""
        x0 = oracle.originals
        amount = NOISE[(number - 1) % len(NOISE)]
        reach = torch.full_like(oracle.best_distance, LARGEST_STEP) if scale is None else scale
        noise = random.normal(oracle.keys, x0, stream=number).sign()
        return (x0 + per_sample(amount * reach, x0) * noise).clamp(0, 1)

    def _refine(
        self,
        oracle: Oracle,
        start: Tensor,
        steps: int,
        constrain: Constrain,
        nearest: Nearest | None,
        live: Tensor,
    ) -> Refined:
        if nearest is None:
            return SparseRefinement()(oracle, start, steps, constrain, live)
        return Refinement()(oracle, start, steps, constrain, nearest, live)


def _rounds(budget: int, family: Family) -> list[int]:
    """Steps of each round: the budget in equal parts of about `ROUND`, after a longer Lagrangian where there is one."""
    first = round(LAGRANGIAN * budget) if family.lagrangian and budget >= 3 * ROUND else 0
    rest = budget - first
    count = max(rest // ROUND, 1)
    return [first] * (first > 0) + [rest * (i + 1) // count - rest * i // count for i in range(count)]

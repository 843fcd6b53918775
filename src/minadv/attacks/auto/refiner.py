"""Where and how one of Auto's refinements goes on, by what is known of the distance and of the gradients."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from minadv.attacks.auto.exploration import Constrain, Stride
from minadv.attacks.auto.families import By, Family
from minadv.attacks.auto.fewer import leave_out
from minadv.attacks.auto.nearest import ByMetric, ByNorm, ByWeights, Nearest
from minadv.attacks.auto.refinement import GATE, Refined, Refinement
from minadv.attacks.auto.rounds import SHORT
from minadv.attacks.auto.secants import BySecants
from minadv.attacks.auto.sparse_refinement import SparseRefinement
from minadv.oracle import Oracle


@dataclass(frozen=True, eq=False)
class Refiner:
    """The refinements of one run.

    Attributes:
        oracle: the samples.
        family: of the distance.
        memory: last weight of the past in the average normal.
        gate: first and last width of soft gates in backward passes where gradients are masked; None for none.
        nearest: nearest points of a hyperplane; ℓ0 has none: it counts entries.
    """

    oracle: Oracle
    family: Family
    memory: float
    gate: tuple[float, float] | None
    nearest: Mapping[By, Nearest]

    @classmethod
    def of(cls, oracle: Oracle, family: Family, memory: float, budget: int, metric: ByMetric) -> "Refiner":
        """Return those of a run with such a `budget`; `metric` is shared with its explorations."""
        x0 = oracle.originals
        nearest: dict[By, Nearest] = {
            "weights": ByWeights(x0),
            "secants": BySecants(x0, oracle.surrogate),
            "metric": metric,
            "norm": ByNorm(x0, family.members[0].p),
        }
        gate = family.ajar if budget < SHORT else GATE
        return cls(oracle, family, memory, gate if budget >= family.gated else None, nearest)

    def __call__(
        self,
        start: Refined,
        steps: int,
        by: By,
        stride: Stride | None,
        *,
        homeward: tuple[float, float],
        constrain: Constrain,
        live: Tensor | None,
        kept: float = 1.0,
        bold: bool = True,
        blind: int = 0,
        schedule: tuple[int, int] | None = None,
        finish: bool = False,
    ) -> Refined:
        """Refine from `start`, in its memory, with fewer entries first if only a share of the squares is `kept`.

        `bold`: whether first steps home may be longer where gradients can be trusted, as `stride` tells. All else
        is as `Refinement` and `SparseRefinement` have it.
        """
        if kept < 1 and steps > 1:
            start = leave_out(self.oracle, start, kept, live)
            done, total = schedule or (0, steps)
            # without a backward: one of those that the looks at the boundaries are paid with
            steps, blind, schedule = steps - 1, max(blind - 1, 0), (done + 1, total)
        masked = stride.masked if self.gate and stride is not None else None
        gate = self.gate or GATE
        if by == "count":
            sparse = SparseRefinement(gate=gate)
            return sparse(self.oracle, start, steps, constrain, live, blind, schedule, finish, masked)
        first, _ = Refinement.memory
        memory = min(first, self.memory), self.memory
        refinement = Refinement(pull=homeward, memory=memory, across=self.family.across, gate=gate)
        longer, nearest = self.family.bold(stride) if bold else None, self.nearest[by]
        return refinement(self.oracle, start, steps, constrain, nearest, live, blind, schedule, longer, masked)

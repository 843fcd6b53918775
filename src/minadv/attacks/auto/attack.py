"""Auto: the smallest perturbation that a budget buys, under any distance (docs/auto.md)."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, cast, get_args

from torch import Tensor

from minadv.attacks.alma import ALMA
from minadv.attacks.auto import aiming
from minadv.attacks.auto.aiming import Aims
from minadv.attacks.auto.coordinates import Coordinates, coordinates
from minadv.attacks.auto.exploration import Stride
from minadv.attacks.auto.explorer import Explorer
from minadv.attacks.auto.families import Family, of
from minadv.attacks.auto.moves import move_about
from minadv.attacks.auto.nearest import ByMetric
from minadv.attacks.auto.outlook import Outlook, outlook
from minadv.attacks.auto.refinement import GATE, Across, Refined, closer, hurried
from minadv.attacks.auto.refiner import Refiner
from minadv.attacks.auto.rounds import SHORT, Round, divide
from minadv.attacks.auto.standing import Standing, nobody
from minadv.attacks.base import Attack, among, counts, positive, shares, within
from minadv.attacks.directions import dual
from minadv.distances import Distance, as_published
from minadv.distances import family as family_of
from minadv.oracle import Oracle

# So many of the likeliest classes are looked at: at the originals, and at the best answers of the first round.
FIRST_LOOK, SECOND_LOOK = 5, 9
# After several rounds, the best answer is refined on, with so much of the way home, first and last.
GENTLY = 0.3, 0.15
# Softer first steps are shorter: fewer steps than this have no time for a boundary that was not crossed by them.
SOFTLY = 5


@dataclass(frozen=True, kw_only=True)
class Auto(Attack):
    """Rounds of exploration and refinement from ever new starts; one forward and one backward per step.

    Args:
        distance: any: a name, a Distance, or a differentiable function `(x, x0) -> (batch,)`.
        budget: most forwards, and most backwards, per sample.
        explored: share of each round's steps that explore, while the others refine; None is the family's.
        explorations: most of a round, in the same steps together: each end is refined a little, the nearest on.
        round_length: steps of a round, about; shorter ones do not converge, longer ones hardly end elsewhere.
        memory: last weight of the past in the refinement's average normal; 0 takes the newest normal alone.
        aimed: classes are told apart by their boundaries: some explorations aim at one that none has reached,
            others go to the nearest by its slope at the original instead of to the likeliest.
        lagrangian: ALMA explores in the first round, where the distance's family has it.
        softness: how much less like signs the first round's steps are where gradients can be trusted; None is the
            family's, 0 not at all.
        across: where a refinement's steps to the boundary go, see `Refinement`; None is the family's.
        bolder: factor on a refinement's first steps home where gradients can be trusted; None is the family's.
        soft_gates: backward passes see what ReLUs would pass if they were nearly on where gradients are masked.
        moves: random moves of the best answer take the last rounds' place where gradients are masked, if the
            distance's family has them.
        stop_early: give the rest of the budget back where several rounds ended at the same stationary distance.
    """

    budget: int = 1000  # narrower than other attacks': there are no rounds without one
    explored: float | None = None
    explorations: int = 2
    round_length: int = 100
    memory: float = 0.9
    aimed: bool = True
    lagrangian: bool = True
    softness: float | None = None
    across: Across | None = None
    bolder: float | None = None
    soft_gates: bool = True
    moves: bool = True
    stop_early: bool = True

    name: ClassVar[str] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        counts(self, "budget", "explorations", "round_length")
        shares(self, "explored", or_none=True)
        within(self, "memory", inside=lambda value: 0 <= value < 1, needed="in [0, 1)")
        positive(self, "bolder", or_none=True)
        within(self, "softness", inside=lambda value: value >= 0, needed=">= 0", or_none=True)
        if self.across is not None:
            among(self, "across", *get_args(Across))

    @classmethod
    def paper(cls, distance: str | Distance | None = None, steps: int | None = None, **others: Any) -> "Auto":
        """Return Auto with the scale of the paper's distances and the budget of a row of its tables.

        Args:
            distance: a name or a Distance; "ciede2000" on the paper's scale, "lpips" without learned weights.
            steps: of the row, our budget.
            **others: further hyper-parameters.
        """
        given: dict[str, Any] = {} if steps is None else {"budget": steps}
        return cls(distance=as_published(distance or "l2"), **given | others)

    @property
    def propagations(self) -> int | None:
        """No limit on their sum: a step costs one of each."""
        return None

    def search(self, oracle: Oracle) -> None:
        """Run rounds, the first from the originals, and refine the best of their answers."""
        x0, budget = oracle.originals, max(self.budget - oracle.reserved, 1)
        family = self._family(budget)
        rounds, last = divide(budget, family, self.round_length, self.explorations, self.explored)
        metric = ByMetric(x0, oracle.surrogate, looks=family.looks)  # computed at its first use, and once
        refiner = Refiner.of(oracle, family, self.memory, budget, metric)
        explores = len(rounds) > 1 or budget < family.lagrangian
        kinds = (family.briefly,) if budget < SHORT and family.briefly is not None else family.scaled
        scaled = coordinates(kinds if explores else (), x0, oracle.surrogate, metric)
        gate = GATE[0] if refiner.gate else 0.0
        explorer = Explorer(oracle, family, self.explorations, self.confidence, scaled, gate)
        look = partial(self._look, oracle, family, explorer.coordinates(0, 0))
        aims, standing = Aims.of(oracle, self.aimed), Standing.at_first(oracle.best_distance)
        stride, forwards = None, 0
        moves = rounds[len(rounds) - int(family.moved * len(rounds)) :]  # what becomes of them where masked
        owed = aims.affordable(FIRST_LOOK, rounds[0].refining) if explores else 0  # backwards more than forwards
        if owed:
            aims = replace(aims, view=look(x0, owed))
        for number in oracle.rounds(len(rounds)):
            steps, by = rounds[number], family.members[number % len(family.members)].by
            live = standing.live  # once: the oracle knows a mask again
            refine = partial(
                refiner,
                by=by,
                homeward=hurried(family.homeward, steps.tries[0].refining + steps.refining),
                constrain=aims.constrain(oracle, number, aims.at((number, 0), family.aimed), self.confidence),
                live=live,
            )
            if number == 0 and budget >= family.lagrangian:
                self._lagrangian(oracle, steps.tried)
                end, before = Refined.at(oracle.best.clone(), oracle), 0
            else:
                end, stride, aims = self._tries(explorer, steps, refine, stride, aims, live)
                before = steps.tries[0].refining
                owed -= steps.ends if by != "count" else 0
            rest = steps.refining - forwards
            kept = family.kept if before else 1.0
            finish = number == len(rounds) - 1 and not last
            schedule = before, before + rest
            end = refine(end, rest, stride=stride, kept=kept, blind=max(owed, 0), schedule=schedule, finish=finish)
            if self.stop_early:
                standing = standing.after(oracle.best_distance, end)
            classes = end.classes
            del end  # before the next round takes memory
            aims, looks = aims.after(classes), 0
            if number == 0 and rounds[1:] and (1, 0) in family.aimed:
                looks = aims.affordable(SECOND_LOOK, rounds[1].refining)
            if looks:
                aims = aims.again(oracle, classes, look(oracle.best.clone(), looks).ways)
            # a look is one forward, and a backward for each class
            forwards, owed = min(looks, 1), min(owed, 0) + max(looks - 1, 0)
            if moves and moves[0].number == number + 1 and stride is not None:
                standing = standing.leaving(oracle.best_distance, stride)
            if nobody(standing.live):
                break
        if nobody(standing.running):
            return
        refiner(
            Refined.at(oracle.best.clone(), oracle),
            last,
            family.members[0].by,
            stride,
            homeward=GENTLY,
            constrain=aiming.constrain(oracle, None, self.confidence),
            live=standing.running,
            bold=False,
            finish=True,
        )
        if standing.moving is not None:
            count, p = sum(one.steps for one in moves), family.members[0].p
            move_about(oracle, count, p, self.confidence, standing.moving)

    def _family(self, budget: int) -> Family:
        """Return what the distance's family does, with what was asked for instead."""
        family = of(family_of(self.distance))
        softness = family.softness if self.softness is None else self.softness
        return replace(
            family,
            lagrangian=family.lagrangian if self.lagrangian else math.inf,
            softness=softness if budget >= SOFTLY else 0.0,
            across=self.across or family.across,
            bolder=self.bolder or family.bolder,
            gated=family.gated if self.soft_gates else math.inf,
            # on a grid, no move is a little nearer at ℓ∞
            moved=family.moved if self.moves and not (self.levels and family.members[0].p == math.inf) else 0.0,
        )

    def _look(
        self, oracle: Oracle, family: Family, measured: Coordinates | None, at: Tensor, most: int
    ) -> Outlook:
        """Look at the boundaries of the `most` likeliest classes from a point; slopes are `measured` in these."""
        # ℓ1 looks as ℓ2 does: the steepest entry alone, its dual norm, tells little of a boundary that bends
        q = min(dual(max(family.members[0].p, 1)), 2)
        return outlook(oracle, at, q, self.confidence, most, measured)

    def _lagrangian(self, oracle: Oracle, steps: int) -> None:
        alma = ALMA(
            distance=self.distance,
            confidence=self.confidence,
            constraint=None if aiming.kind_of(oracle) == "dlr" else "margin",
            steps=steps,
            soft_gates=self.soft_gates,
        )
        alma.search(oracle)

    def _tries(
        self,
        explorer: Explorer,
        steps: Round,
        refine: Callable[..., Refined],
        stride: Stride | None,
        aims: Aims,
        live: Tensor | None,
    ) -> tuple[Refined, Stride, Aims]:
        """Explore from several starts and refine their ends a little: return the closest, stride and aims."""
        best = None
        for i, one in enumerate(steps.tries):
            found, stride, aims = explorer(steps.number, i, one, stride, aims, live)
            schedule = 0, one.refining + steps.refining
            end = refine(Refined.after(found), one.refining, stride=stride, schedule=schedule)
            del found
            best = end if best is None else closer(best, end)
            del end  # before the next one takes memory
        return cast("Refined", best), cast("Stride", stride), aims

"""Auto: the smallest perturbation that a budget buys, under any distance (docs/auto.md)."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from minadv import random
from minadv.attacks import aiming
from minadv.attacks.alma import ALMA
from minadv.attacks.base import Attack, counts, require
from minadv.attacks.boundary import Outlook, outlook
from minadv.attacks.curvature import units
from minadv.attacks.directions import dual, typical
from minadv.attacks.exploration import LARGEST_STEP, Constrain, Exploration, Explored, closer
from minadv.attacks.families import By, Family, of
from minadv.attacks.nearest import ByMetric, ByNorm, ByWeights, Nearest
from minadv.attacks.refinement import Refined, Refinement, SparseRefinement
from minadv.distances import Distance, as_published, resolve
from minadv.distances.base import per_sample
from minadv.goals import Untargeted
from minadv.guard import Model
from minadv.oracle import Oracle
from minadv.result import Result

# Noise at the start of all explorations but the first, relative to the first step.
NOISE = (0.25, 0.5, 0.75, 1.0, 1.25)
# So many of the likeliest classes are looked at: at the originals, and at the best answers of the first round.
FIRST_LOOK, SECOND_LOOK = 5, 9
# A look's backwards come from the end of a refinement, of which they are at most one in so many steps.
SIGHTED = 3
# Steps of what follows a round's explorations are shorter than theirs by this factor, but not than this share of
# the typical entry of a perturbation that is still large, and fall and turn less.
SHORTER, SHARE, SETTLING = 8.0, 0.3, Exploration(decay=4.0, change=3.0)
# After several rounds, the best answer is refined on: with this share of the budget, so much of the way at first.
SEVERAL, POLISH, GENTLY = 3, 0.05, 0.3
# A sample may stop when so many rounds have ended within this of its smallest distance, at a stationary point.
AGREEING, AGREEMENT, STATIONARY = 4, 2e-3, 0.05


@dataclass(frozen=True, eq=False)
class Ground:
    """What is known before the first round.

    Attributes:
        family: of the distance.
        view: of boundaries from the originals, where there was a look.
        entries: (batch, ...) units in which explorations step.
    """

    family: Family
    view: Outlook | None
    entries: Tensor | None


@dataclass(frozen=True, kw_only=True)
class Auto(Attack):
    """Rounds of exploration and refinement from ever new starts; one forward and one backward per step.

    Args:
        distance: any: a name, a Distance, or a differentiable function `(x, x0) -> (batch,)`.
        budget: most forwards, and most backwards, per sample.
        explored: share of each round's steps that explore, while the others refine; None is the family's.
        explorations: most of a round, in the same steps together: the nearest of their ends is carried on.
        round_length: steps of a round, about; shorter ones do not converge, longer ones hardly end elsewhere.
        memory: last weight of the past in the refinement's average normal; 0 takes the newest normal alone.
        aimed: some explorations aim at the likeliest class that none has reached: its boundary may be nearer.
        lagrangian: ALMA explores in the first round, where the distance's family has it.
        stop_early: give the rest of the budget back where several rounds ended at the same stationary distance.
    """

    budget: int | None = 1000
    explored: float | None = None
    explorations: int = 2
    round_length: int = 100
    memory: float = 0.9
    aimed: bool = True
    lagrangian: bool = True
    stop_early: bool = True

    name: ClassVar[str] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        counts(self, "budget", "explorations", "round_length")
        require("explored", self.explored, self.explored is None or 0 < self.explored <= 1, "None or in (0, 1]")
        require("memory", self.memory, 0 <= self.memory < 1, "in [0, 1)")

    @classmethod
    def paper(cls, distance: str | Distance | None = None, steps: int | None = None, **others: Any) -> "Auto":
        """Return Auto with the scale of the paper's distances and the budget of a row of its tables.

        Args:
            distance: a name or a Distance; "ciede2000" on the paper's scale, "lpips" without learned weights.
            steps: of the row, our budget.
            **others: further hyper-parameters.
        """
        given: dict[str, Any] = {"budget": steps} if steps else {}
        return cls(distance=as_published(distance or "l2"), **given | others)

    @property
    def propagations(self) -> int | None:
        """No limit on their sum: a step costs one of each."""
        return None

    def search(self, oracle: Oracle) -> None:
        """Run rounds, the first from the originals, and refine the best of their answers."""
        x0, family = oracle.originals, of(resolve(self.distance).name)
        budget = max(cast("int", self.budget) - oracle.reserved, 1)
        if not self.lagrangian:
            family = replace(family, lagrangian=math.inf)
        lengths = _rounds(budget, family, self.round_length)
        last = round(POLISH * budget) if len(lengths) >= SEVERAL else 0
        lengths[-1] -= last
        nearest: dict[By, Nearest] = {
            "weights": ByWeights(x0),
            "metric": ByMetric(x0, oracle.surrogate, probes=family.probes),  # computed at its first use, and once
            "norm": ByNorm(x0, family.members[0].p),
        }
        agreeing = torch.zeros_like(oracle.copies, dtype=torch.int64)
        explores = len(lengths) > 1 or budget < family.lagrangian
        entries = units(x0, oracle.surrogate) if family.scaled and explores else None
        plans = [portions(self._shares(family, i), length) for i, length in enumerate(lengths)]
        blind = self._classes(oracle, FIRST_LOOK, lengths[0] - sum(plans[0])) if explores else 0
        view = self._look(oracle, x0, family, blind, entries) if blind else None
        ground, chances = Ground(family, view, entries), aiming.chances(oracle)
        live = scale = None
        for number in oracle.rounds(len(lengths)):
            member, steps = family.members[number % len(family.members)], plans[number]
            constrain = self._constrain(oracle, ground, number, self._aim(oracle, ground, chances, (number, 0)))
            if number == 0 and budget >= family.lagrangian:
                self._lagrangian(oracle, sum(steps))
                start = oracle.best
            else:
                start, scale, chances = self._explore(oracle, ground, number, steps, scale, chances, live)
            rest = lengths[number] - sum(steps)
            end = self._refine(
                oracle, start, rest, family.homeward, constrain, nearest.get(member.by), live, blind
            )
            chances, blind = aiming.reached(chances, end.classes), 0
            if lengths[1:] and number == 0 and (1, 0) in family.aimed and self.aimed:
                blind = self._classes(oracle, SECOND_LOOK, lengths[1] - sum(plans[1]))
                if blind:
                    lengths[1] -= 1  # the look's forward
                    blind -= 1
                    view = self._look(oracle, oracle.best.clone(), family, blind + 1, entries)
                    # an exploration's end that was not carried on is no reason to leave a class out
                    chances = aiming.nearer(aiming.reached(aiming.chances(oracle), end.classes), view.ways)
            if self.stop_early:
                same = end.reached <= (1 + AGREEMENT) * oracle.best_distance
                agreeing = agreeing + (same & (end.residual <= STATIONARY))
                running = agreeing < AGREEING
                if not running.any():
                    break
                live = None if running.all() else running
        else:
            near = nearest.get(family.members[0].by)
            constrain = aiming.constrain(oracle, None, self.confidence)
            self._refine(oracle, oracle.best.clone(), last, GENTLY, constrain, near, live)

    def _classes(self, oracle: Oracle, most: int, refining: int) -> int:
        """How many classes to look at, where so many steps of a refinement are there to pay for it."""
        able = self.aimed and aiming.constraint_for(oracle) == "dlr" and isinstance(oracle.goal, Untargeted)
        count = min(most, oracle.logits_of_originals.shape[1] - 1, refining // SIGHTED)
        return count if able and count > 1 else 0

    def _look(self, oracle: Oracle, at: Tensor, family: Family, classes: int, entries: Tensor | None) -> Outlook:
        # the steepest entry alone, the dual norm of ℓ1, says little about where a boundary is that bends
        q, again = min(dual(family.members[0].p), 2), at is oracle.originals
        return outlook(oracle, at, q, self.confidence, classes, entries, again)

    def _aim(self, oracle: Oracle, ground: Ground, chances: Tensor, place: tuple[int, int]) -> Tensor | None:
        """Return the chances of classes to aim at in this exploration of this round; None is to aim at none."""
        able = self.aimed and aiming.constraint_for(oracle) == "dlr" and isinstance(oracle.goal, Untargeted)
        if not able or place not in ground.family.aimed:
            return None
        first = place[0] == 0 and ground.view is not None
        return aiming.likely(chances, cast("Outlook", ground.view).ways) if first else chances

    def _constrain(self, oracle: Oracle, ground: Ground, number: int, aim: Tensor | None) -> Constrain:
        """Every other round goes by logits alone: neither way finds all that the other does."""
        slopes = None if ground.view is None or number % 2 else ground.view.slopes
        return aiming.constrain(oracle, aim, self.confidence, slopes)

    def _lagrangian(self, oracle: Oracle, steps: int) -> None:
        kind = aiming.constraint_for(oracle)
        ALMA(distance=self.distance, confidence=self.confidence, constraint=kind, steps=steps).search(oracle)

    def _shares(self, family: Family, number: int) -> tuple[float, ...]:
        """Shares of a round for each of its explorations, and for what goes on from the nearest of their ends.

        Every other round has one long exploration instead: neither way finds all that the other does.
        """
        explored, whole = family.explored[: self.explorations], sum(family.explored)
        shares = (*(share * whole / sum(explored) for share in explored), family.settled)
        if number % 2 and len(explored) > 1:
            shares = (family.alone, 0.0)
        factor = 1.0 if self.explored is None else self.explored / sum(shares)
        return tuple(factor * share for share in shares)

    def _explore(
        self,
        oracle: Oracle,
        ground: Ground,
        number: int,
        steps: list[int],
        scale: Tensor | None,
        chances: Tensor,
        live: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Explore from several starts, and on from the nearest end: return where to, scale and chances."""
        *several, settled = steps
        family, entries = ground.family, ground.entries
        member, nearest = family.members[number % len(family.members)], None
        for i, count in enumerate(several):
            if not count:
                continue
            index = number * self.explorations + i
            aim = self._aim(oracle, ground, chances, (number, i))
            constrain = self._constrain(oracle, ground, number, aim)
            start = self._start(oracle, index, scale, aim, entries)
            advantage = member.advantage[i % len(member.advantage)]
            found = Exploration(change=family.change)(
                oracle, start, scale, count, advantage, constrain, member.pull, live, entries
            )
            scale, chances = found.scale, aiming.reached(chances, found.classes)
            nearest = found if nearest is None else closer(nearest, found)
        nearest = cast("Explored", nearest)
        if settled:
            large = typical(nearest.point - oracle.originals).flatten()
            short = torch.maximum(nearest.scale / SHORTER, SHARE * large)
            constrain = self._constrain(oracle, ground, number, None)
            nearest = SETTLING(oracle, nearest.point, short, settled, 0.0, constrain, member.pull, live, entries)
        return nearest.point, cast("Tensor", scale), chances

    def _start(
        self, oracle: Oracle, index: int, scale: Tensor | None, chances: Tensor | None, entries: Tensor | None
    ) -> Tensor:
        """Originals, for all but the first exploration and new classes with noise of a new amount and sign."""
        x0 = oracle.originals
        if not index:
            return x0
        amount = NOISE[(index - 1) % len(NOISE)]
        reach = torch.full_like(oracle.best_distance, LARGEST_STEP) if scale is None else scale
        if chances is not None:
            reach = reach * (chances == -torch.inf).all(dim=1)
        noise = random.normal(oracle.keys, x0, stream=index).sign()
        noise = noise if entries is None else noise.mul_(entries)
        return (x0 + per_sample(amount * reach, x0) * noise).clamp(0, 1)

    def _refine(
        self,
        oracle: Oracle,
        start: Tensor,
        steps: int,
        homeward: float,
        constrain: Constrain,
        nearest: Nearest | None,
        live: Tensor | None,
        blind: int = 0,
    ) -> Refined:
        if nearest is None:
            return SparseRefinement()(oracle, start, steps, constrain, live, blind)
        first, _ = Refinement.memory
        refinement = Refinement(pull=(homeward, Refinement.pull[1]), memory=(min(first, self.memory), self.memory))
        return refinement(oracle, start, steps, constrain, nearest, live, blind)


def portions(shares: tuple[float, ...], length: int) -> list[int]:
    """Return these shares of a round's steps, of which the first is at least one."""
    ends = [min(max(round(sum(shares[: i + 1]) * length), 1), length) for i in range(len(shares))]
    return [end - start for start, end in pairwise([0, *ends])]


def _rounds(budget: int, family: Family, length: int) -> list[int]:
    """Divide the budget in equal rounds of about `length` steps, after a longer Lagrangian where there is one."""
    first = round(family.share * budget) if budget >= max(family.lagrangian, 3 * length) else 0
    rest = budget - first
    count = max(rest // length, 1)
    return [first] * (first > 0) + [rest * (i + 1) // count - rest * i // count for i in range(count)]


def minimise(
    model: Model,
    inputs: Tensor,
    labels: Tensor,
    distance: str | Distance | Callable[..., Tensor] = "l2",
    budget: int = 1000,
    *,
    targets: Tensor | None = None,
    **hyper_parameters: Any,
) -> Result:
    """Find the smallest perturbations of a batch that a budget buys.

    Args:
        model: from inputs (batch, ...) in [0, 1] to logits (batch, classes), in evaluation mode.
        inputs: (batch, ...) floating point in [0, 1].
        labels: (batch,) int64 true classes.
        distance: what to minimise: a name, a Distance, or a differentiable function `(x, x0) -> (batch,)`.
        budget: most forwards, and most backwards, of the model per sample.
        targets: (batch,) int64 classes to reach; None for any class but the label.
        **hyper_parameters: others of `Auto`, e.g. seed, levels or confidence.

    Raises:
        TypeError, ValueError: for bad input; the message names the argument, its value and the remedy.
    """
    attack = Auto(distance=distance, budget=budget, **hyper_parameters)
    return attack(model, inputs, labels, targets=targets)

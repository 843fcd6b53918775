"""Refinement at ℓ0: as few entries as possible, each moved to a face of the box."""

from dataclasses import dataclass

import torch
from torch import Tensor

from minadv import largest, random
from minadv.attacks.auto.exploration import Constrain
from minadv.attacks.auto.refinement import GATE, Refined, seen_before
from minadv.attacks.auto.tangent import tangent, weight_of_past
from minadv.attacks.directions import inner, norm
from minadv.attacks.gating import narrowing
from minadv.elementwise import heaviside_
from minadv.masks import overwrite, possibly_any
from minadv.oracle import Oracle
from minadv.projections import l0_ball
from minadv.shapes import per_sample

# So many of the last steps, and at most this share of a refinement's, leave out single entries.
SINGLE, SHARE = 8, 0.4
# Stream of random numbers that no start of an exploration takes.
CHANCE = -1


@dataclass(frozen=True, eq=False)
class SparseRefinement:
    """Move as few entries as the average linearisation needs to the box's faces, fewer while that succeeds (ℓ0).

    Soon one entry less than the best answer has is all that is left to try, and there the average hardly changes:
    the same entries again would tell nothing. So every other try then goes by what the exploration has seen from
    farther off, which is more to be trusted where gradients are masked, and entries that come again are drawn by
    their gains instead. At the very end, single entries of the best answer are left out, one after the other.

    Attributes:
        change: smallest and largest relative change of the number of entries per step; it doubles where a step
            ends as the one before did, and is halved where not.
        memory: first and last weight of the past in the average normal.
        loyalty: how much more an entry counts that is moved already.
        farther: weight of the exploration's normal in every other try of one entry less.
        heat: gains are multiplied by uniform numbers to a power: the first one, its growth whenever the entries
            are the same again, and its bound.
        gate: as in `Refinement`.
    """

    change: tuple[float, float] = (0.05, 1.0)
    memory: tuple[float, float] = (0.8, 0.9)
    loyalty: float = 0.5
    farther: float = 0.7
    heat: tuple[float, float, float] = (0.3, 1.5, 2.0)
    gate: tuple[float, float] = GATE

    def __call__(
        self,
        oracle: Oracle,
        start: Refined,
        steps: int,
        constrain: Constrain,
        live: Tensor | None = None,
        blind: int = 0,
        schedule: tuple[int, int] | None = None,
        finish: bool = False,
        masked: Tensor | None = None,
    ) -> Refined:
        """Refine from `start` as `Refinement` does; nothing tells whether ℓ0 is optimal.

        To `finish` is to leave out single entries of the best answer in the last steps.
        """
        x, x0, seen, chance = start.point, oracle.originals, seen_before(start), None
        reached, classes, normal = start.reached, start.classes, start.afar
        done, total = schedule or (0, steps)
        count = torch.full_like(reached, torch.inf)
        change, before, heat = torch.ones_like(reached), oracle.best_distance.isfinite(), torch.zeros_like(reached)
        single, rank = min(SINGLE, int(SHARE * steps)) * finish, torch.zeros_like(oracle.copies, dtype=torch.int64)
        for i in oracle.steps(steps):
            sighted = i < max(steps - blind, 1)
            widths = narrowing(self.gate, masked, done + i, total)
            probe = oracle.probe(oracle.snap(x), live, differentiate=sighted, widths=widths)
            classes = probe.logits.detach().argmax(dim=1)
            new = 1 - weight_of_past(self.memory, done + i, total)
            seen = tangent(oracle, probe, constrain, seen, new, sighted)
            average, way = seen.normal, seen.way
            reached = torch.where(probe.adversarial, torch.minimum(reached, probe.distance), reached)

            if normal is not None and i % 2:
                last = ~probe.adversarial & (count >= oracle.best_distance - 1)
                average = average.lerp(normal, per_sample(self.farther * last.to(x.dtype), x))
            away = heaviside_(-average).sub_(x0)  # to the face that lowers the constraint
            gain = (average * away).neg_().flatten(1)
            if i == 0:
                count = largest.enough(gain, way - inner(average, x - x0))
            else:
                change = torch.where(probe.adversarial == before, 2 * change, change / 2)
                change = change.clamp(*self.change)
                fewer = torch.minimum((count / (1 + change)).floor(), count - 1)
                more = torch.maximum((count * (1 + change)).ceil(), count + 1)
                count = torch.where(probe.adversarial, fewer, more)
            before = probe.adversarial
            del probe  # as below: free before the next pass
            count = torch.minimum(count, oracle.best_distance - 1).clamp(1, gain.shape[1])
            moved = heaviside_((x0 - x).mul_(average)).flatten(1)
            gain.addcmul_(gain, moved, value=self.loyalty)
            del moved
            if possibly_any(heat > 0):
                if chance is None:
                    chance = random.uniform(oracle.keys, gain.shape[1], stream=CHANCE).log_().to(gain.dtype)
                gain *= chance.roll(i, dims=1).mul_(heat[:, None]).exp_()  # rolled, they are as good as new
            kept = l0_ball(gain, count).sign_()
            following = away.mul_(kept.reshape(x0.shape)).add_(x0)
            again = norm(x.sub_(following), 2) == 0
            first, growth, most = self.heat
            heat = torch.where(again, (growth * heat).clamp(first, most), heat)
            x = following
            if i >= steps - single:
                rank = torch.where(before, 0, rank + 1)
            if steps - single <= i + 1 < steps:
                fewer, there = without(oracle.best, x0, seen.normal, rank)
                overwrite(x, there & (count >= oracle.best_distance - 1), fewer)
            del average, away, gain, kept, following
        return Refined(x, reached, classes, start.residual, None if seen is None else seen.normal, normal)


def without(best: Tensor, x0: Tensor, normal: Tensor, rank: Tensor) -> tuple[Tensor, Tensor]:
    """Return each best answer without one of its entries, and where there is such an entry, and others.

    That is the one whose return raises the linearised constraint least but for `rank`, (batch,), others.
    """
    back = x0 - best
    changed = back.sign().abs_()
    rise = back.mul_(normal).add_(changed.reciprocal().sub_(1)).flatten(1)  # ∞ where nothing is changed
    count = changed.flatten(1).sum(dim=1)
    order = rise.topk(min(SINGLE, rise.shape[1]), dim=1, largest=False).indices
    chosen = order.gather(1, rank.clamp_max(order.shape[1] - 1)[:, None])
    fewer = best.flatten(1).scatter(1, chosen, x0.flatten(1).gather(1, chosen))
    return fewer.reshape(x0.shape), (rank < count) & (count > 1)

"""Refinement: alternate between the decision boundary and the nearest point of its average linearisation."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from minadv.attacks.auto.exploration import Constrain, Explored
from minadv.attacks.auto.nearest import Nearest
from minadv.attacks.auto.tangent import Tangent, tangent, weight_of_past
from minadv.attacks.directions import TINY, inner, norm
from minadv.attacks.gating import narrowing
from minadv.attacks.schedules import between, passed
from minadv.elementwise import heaviside_
from minadv.masks import overwrite, possibly_any
from minadv.oracle import Oracle
from minadv.shapes import per_sample

# Few steps go home in longer ones: the first share of the way is at least HURRY / steps, the last one its square.
HURRY = 6.0
# Where few entries count: those that are less than this share of the largest go home, and the others take steps to
# the boundary alone, as long as they hold so much of the normal's square.
SLIGHT, ENOUGH = 0.01, 0.05
# First and last width of soft gates; the first is what explorations end with.
GATE = 0.015, 0.0015

Across = Literal["normal", "few", "home"]


class Refined(NamedTuple):
    """How far a refinement has come, per sample.

    Attributes:
        point: (batch, ...) where it goes on.
        reached: (batch,) smallest distance of its own adversarial points, ∞ without any.
        classes: (batch,) that of the last point.
        residual: (batch,) how far the last point is from the nearest one of its linearisation, relative to the
            perturbation: 0 at a stationary point.
        average: (batch, ...) of the boundary's last unit normals, None before the first.
        afar: (batch, ...) that of the exploration before it, None where none was remembered.
    """

    point: Tensor
    reached: Tensor
    classes: Tensor
    residual: Tensor
    average: Tensor | None = None
    afar: Tensor | None = None

    @classmethod
    def at(cls, point: Tensor, oracle: Oracle) -> "Refined":
        """Start at a point of which nothing is known."""
        unknown = torch.full_like(oracle.best_distance, torch.inf)
        return cls(point, unknown, oracle.logits_of_originals.argmax(dim=1), unknown)

    @classmethod
    def after(cls, found: Explored) -> "Refined":
        """Start where an exploration ended."""
        unknown = torch.full_like(found.distance, torch.inf)
        return cls(found.point, found.distance, found.classes, unknown, None, found.normal)


def closer(one: Refined, other: Refined) -> Refined:
    """Return each sample's refinement that came nearer to the original, in the memory of `one`."""
    rows = other.reached < one.reached
    for mine, its in ((one.point, other.point), (one.average, other.average), (one.afar, other.afar)):
        if mine is not None and its is not None:
            overwrite(mine, rows, its)
    return one._replace(
        reached=torch.where(rows, other.reached, one.reached),
        classes=torch.where(rows, other.classes, one.classes),
        residual=torch.where(rows, other.residual, one.residual),
    )


def hurried(shares: tuple[float, float], steps: int) -> tuple[float, float]:
    """Return the first and last share of the way home that so few steps need, where `shares` do for many."""
    first, last = shares
    least = min(HURRY / max(steps, 1), 1.0)
    return max(first, least), max(last, least**2)


@dataclass(frozen=True, eq=False)
class Refinement:
    """Move to the boundary along its average normal, and part of the way to its point nearest to the original.

    One gradient tells little where boundaries have kinks: full steps to the nearest point of one linearisation
    cycle or diverge. The average of the last normals is that of the face that the search hovers around.

    Attributes:
        pull: first and last share of the way to the nearest point.
        memory: first and last weight of the past in the average normal.
        overshoot: factor on the step to the boundary, first and after an adversarial point. It grows after any
            other by `bolder`, up to `boldest`: the average normal is not quite the boundary's own, and steps along
            it may come nearer and nearer without ever crossing.
        adaptation: relative growth of the pull after an adversarial point, and what it shrinks by after any other.
        strongest: bound on how much more that makes it.
        longest: bound on the step to the boundary, relative to the perturbation's ℓ2 norm. Where it ends the way
            back to a boundary far behind, it grows by `farther`, up to `farthest`.
        lost: the same bound while nothing was adversarial.
        across: where steps to the boundary go: along its average "normal", the shortest way at ℓ2. Other distances
            grow less along the normal's part in the "few" entries that are changed (ℓ1), or the way from "home" to
            the nearest point (ℓ∞).
        gate: first and last width of soft gates in backward passes where gradients are masked.
        forgetful: factor on the memory there, as soft gates average, too.
    """

    pull: tuple[float, float] = (0.5, 0.15)
    memory: tuple[float, float] = (0.7, 0.9)
    overshoot: float = 1.1
    bolder: float = 1.2
    boldest: float = 16.0
    adaptation: tuple[float, float] = (0.2, 0.15)
    strongest: float = 4.0
    longest: float = 0.2
    farther: float = 1.5
    farthest: float = 0.9
    lost: float = 1.0
    across: Across = "normal"
    gate: tuple[float, float] = GATE
    forgetful: float = 0.8

    def __call__(
        self,
        oracle: Oracle,
        start: Refined,
        steps: int,
        constrain: Constrain,
        nearest: Nearest,
        live: Tensor | None = None,
        blind: int = 0,
        schedule: tuple[int, int] | None = None,
        bold: Tensor | None = None,
        masked: Tensor | None = None,
    ) -> Refined:
        """Refine from `start`, in its memory: a forward and a backward a step, no backward in the last `blind`.

        `schedule` is how many steps were before, and how many there are in all; None is 0 and `steps`. `bold`,
        (batch,), is a factor on the first share, which falls geometrically to 1 at the last. `masked`, (batch,),
        is 1 where backward passes go through soft gates, else 0; None is 0 for all.
        """
        x, x0, seen, remembered = start.point, oracle.originals, seen_before(start), None
        done, total = schedule or (0, steps)
        pull = torch.ones_like(oracle.best_distance)
        overshoot, longest = self.overshoot * pull, self.longest * pull
        reached, residual, classes = start.reached, start.residual, start.classes
        grown, shrunk = self.adaptation
        more, less = pull.new_full((), 1 + grown), pull.new_full((), 1 - shrunk)
        for i in oracle.steps(steps):
            sighted = i < max(steps - blind, 1)
            by_gradient, widths = nearest.by_gradient, narrowing(self.gate, masked, done + i, total)
            probe = oracle.probe(oracle.snap(x), live, by_gradient, differentiate=sighted, widths=widths)
            classes = probe.logits.detach().argmax(dim=1)
            new: float | Tensor = 1 - weight_of_past(self.memory, done + i, total)
            if masked is not None:
                shorter = (self.forgetful * self.memory[0], self.forgetful * self.memory[1])
                past = torch.full_like(masked, weight_of_past(shorter, done + i, total))
                new = torch.where(masked > 0, 1 - past, new)
            seen = tangent(oracle, probe, constrain, seen, new, sighted)
            average, way = seen.normal, seen.way
            normal = average / per_sample(norm(average, 2).clamp_min(TINY), average)
            reached = torch.where(probe.adversarial, torch.minimum(reached, probe.distance), reached)

            delta = x - x0
            size = norm(delta, 2)
            lost = oracle.best_distance.isinf()
            bound = longest.masked_fill(lost, self.lost) * size
            if possibly_any(lost):  # and still at the original
                bound = torch.where(lost & (size == 0), way.abs(), bound)
            step = overshoot * torch.maximum(torch.minimum(way, bound), -bound)
            overshoot = (self.bolder * overshoot).clamp_max_(self.boldest)
            overshoot.masked_fill_(probe.adversarial, self.overshoot)
            near = ~(probe.adversarial & (way < -bound))
            longest = (self.farther * longest).clamp_max_(self.farthest).masked_fill_(near, self.longest)
            need = step - inner(normal, delta)
            moved = delta if self.across == "few" else None
            del delta  # as below: before the nearest point takes memory
            home, remembered = nearest(normal, need, probe, remembered)
            if i == steps - 1:
                residual = norm(home - x, 2) / size.clamp_min(TINY)
            pull = (pull * torch.where(probe.adversarial, more, less)).clamp_(0.05, self.strongest)
            share = pull * between(self.pull, done + i, total)
            share = (share if bold is None else share * bold ** (1 - passed(done + i, total))).clamp_max(1)
            del probe  # as below: before x changes, and free before the next pass
            kept = None
            if moved is not None:
                kept = changed(moved, home, x0, lost)
                normal *= kept
                step = step / inner(normal, normal).clamp_min(ENOUGH)
            elif self.across == "home":
                normal = direct(normal, home, x0, need)
            del moved
            x.addcmul_(normal, per_sample(step, x), value=-1).lerp_(home, per_sample(share, x))
            if kept is not None:
                torch.lerp(x0, x, kept, out=x)
            oracle.clip_(x)
            del average, normal, home, kept
        return Refined(x, reached, classes, residual, None if seen is None else seen.normal, start.afar)


def changed(delta: Tensor, home: Tensor, x0: Tensor, lost: Tensor) -> Tensor:
    """1.0 for entries that are changed, or going to be, by more than is slight, else 0.0; in `delta`'s memory.

    A perturbation that goes home by a share of the way a step never has few entries, and steps along the normal
    change all of them again: at ℓ1 that is some per cent of it. In samples that are `lost` all entries count.
    """
    size = delta.abs_().add_((home - x0).abs_())
    least = (SLIGHT * size.flatten(1).amax(dim=1)).masked_fill_(lost, -1)
    return heaviside_(size.sub_(per_sample(least, size)))


def direct(normal: Tensor, home: Tensor, x0: Tensor, need: Tensor) -> Tensor:
    """Return the way that the nearest point is from home, as long as the normal takes to the same plane.

    The normal itself is kept, and its memory taken, where the original is on the other side.
    """
    known = heaviside_(per_sample(need, normal).clone())
    return normal.lerp_((x0 - home).div_(per_sample(need.clamp_min(TINY), normal)), known)


def seen_before(start: Refined) -> Tangent | None:
    """Return what is known of the boundary where a refinement goes on: its normal, until the next gradient."""
    unknown = torch.zeros_like(start.reached)
    return None if start.average is None else Tangent(start.average, unknown, unknown)

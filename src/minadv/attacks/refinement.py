"""Refinement: alternate between the decision boundary and the nearest point of its average linearisation."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from minadv import random
from minadv.attacks.directions import TINY, inner, nonzero, norm
from minadv.attacks.exploration import Constrain, Explored
from minadv.attacks.nearest import Nearest
from minadv.distances.base import per_sample
from minadv.masks import overwrite, possibly_any
from minadv.oracle import Oracle
from minadv.probe import Probe
from minadv.projections import l0_ball

# Streams of random numbers that no start of an exploration takes (as many as there are explorations).
CHANCE = -1


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


def nearer(one: Refined, other: Refined) -> Refined:
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


class Boundary(NamedTuple):
    """The boundary near a point.

    `normal`: (batch, ...) average of the last unit normals. `way`: (batch,) signed ℓ2 way to it.
    `steepness`: (batch,) ℓ2 norm of the last gradient.
    """

    normal: Tensor
    way: Tensor
    steepness: Tensor


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
    """

    pull: tuple[float, float] = (0.5, 0.15)
    memory: tuple[float, float] = (0.7, 0.9)
    overshoot: float = 1.1
    bolder: float = 1.2
    boldest: float = 8.0
    adaptation: tuple[float, float] = (0.2, 0.15)
    strongest: float = 4.0
    longest: float = 0.1
    farther: float = 1.5
    farthest: float = 0.9

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
    ) -> Refined:
        """Refine from `start`, in its memory: a forward and a backward a step, no backward in the last `blind`.

        `schedule` is how many steps were before, and how many there are in all; None is 0 and `steps`.
        """
        x, x0, seen, remembered = start.point, oracle.originals, _seen(start), None
        done, total = schedule or (0, steps)
        pull = torch.ones_like(oracle.best_distance)
        overshoot, longest = self.overshoot * pull, self.longest * pull
        reached, residual, classes = start.reached, start.residual, start.classes
        for i in oracle.steps(steps):
            sighted = i < max(steps - blind, 1)
            probe = oracle.probe(oracle.snap(x), live, distance_gradient=True, differentiate=sighted)
            classes = probe.logits.detach().argmax(dim=1)
            seen = boundary(oracle, probe, constrain, seen, _memory(self.memory, done + i, total), sighted)
            average, way = seen.normal, seen.way
            normal = average / per_sample(norm(average, 2).clamp_min(TINY), average)
            reached = torch.where(probe.adversarial, torch.minimum(reached, probe.distance), reached)

            delta = x - x0
            size = norm(delta, 2)
            bound = longest * size
            step = overshoot * torch.maximum(torch.minimum(way, bound), -bound)
            overshoot = torch.where(probe.adversarial, self.overshoot, self.bolder * overshoot).clamp_max(
                self.boldest
            )
            far = probe.adversarial & (way < -bound)
            longest = torch.where(far, self.farther * longest, self.longest).clamp_max(self.farthest)
            need = step - inner(normal, delta)
            del delta
            home, remembered = nearest(normal, need, probe, remembered)
            if i == steps - 1:
                residual = norm(home - x, 2) / size.clamp_min(TINY)
            grown, shrunk = self.adaptation
            pull *= torch.where(probe.adversarial, 1 + grown, 1 - shrunk)
            pull = pull.clamp(0.05, self.strongest)
            share = (pull * _between(self.pull, done + i, total)).clamp_max(1)
            del probe  # as below: before x changes, and free before the next pass
            x.addcmul_(normal, per_sample(step, x), value=-1).lerp_(home, per_sample(share, x)).clamp_(0, 1)
            del average, normal, home
        return Refined(x, reached, classes, residual, None if seen is None else seen.normal, start.afar)


@dataclass(frozen=True, eq=False)
class SparseRefinement:
    """Move as few entries as the average linearisation needs to the box's faces, fewer while that succeeds (ℓ0).

    Soon one entry less than the best answer has is all that is left to try, and there the average hardly changes:
    the same entries again would tell nothing. So every other try then goes by what the exploration has seen from
    farther off, which is more to be trusted where gradients are masked, and entries that come again are drawn by
    their gains instead.

    Attributes:
        change: smallest and largest relative change of the number of entries per step; it doubles where a step
            ends as the one before did, and is halved where not.
        memory: first and last weight of the past in the average normal.
        loyalty: how much more an entry counts that is moved already.
        farther: weight of the exploration's normal in every other try of one entry less.
        heat: gains are multiplied by uniform numbers to a power: the first one, its growth whenever the entries
            are the same again, and its bound.
    """

    change: tuple[float, float] = (0.05, 1.0)
    memory: tuple[float, float] = (0.7, 0.9)
    loyalty: float = 1.0
    farther: float = 0.7
    heat: tuple[float, float, float] = (0.3, 1.5, 2.0)

    def __call__(
        self,
        oracle: Oracle,
        start: Refined,
        steps: int,
        constrain: Constrain,
        live: Tensor | None = None,
        blind: int = 0,
        schedule: tuple[int, int] | None = None,
    ) -> Refined:
        """Refine from `start` as `Refinement` does; nothing tells whether ℓ0 is optimal."""
        x, x0, seen, chance = start.point, oracle.originals, _seen(start), None
        reached, classes, normal = start.reached, start.classes, start.afar
        done, total = schedule or (0, steps)
        count = torch.full_like(reached, torch.inf)
        change, before, heat = torch.ones_like(reached), oracle.best_distance.isfinite(), torch.zeros_like(reached)
        for i in oracle.steps(steps):
            sighted = i < max(steps - blind, 1)
            probe = oracle.probe(oracle.snap(x), live, differentiate=sighted)
            classes = probe.logits.detach().argmax(dim=1)
            seen = boundary(oracle, probe, constrain, seen, _memory(self.memory, done + i, total), sighted)
            average, way = seen.normal, seen.way
            reached = torch.where(probe.adversarial, torch.minimum(reached, probe.distance), reached)

            if normal is not None and i % 2:
                last = ~probe.adversarial & (count >= oracle.best_distance - 1)
                average = average.lerp(normal, per_sample(self.farther * last.to(x.dtype), x))
            room = torch.where(average > 0, x0, 1 - x0)
            gain = (average.abs() * room).flatten(1)
            if i == 0:
                count = enough(gain, way - inner(average, x - x0))
            else:
                change = torch.where(probe.adversarial == before, 2 * change, change / 2)
                change = change.clamp(*self.change)
                fewer = torch.minimum((count / (1 + change)).floor(), count - 1)
                more = torch.maximum((count * (1 + change)).ceil(), count + 1)
                count = torch.where(probe.adversarial, fewer, more)
            before = probe.adversarial
            count = torch.minimum(count, oracle.best_distance - 1).clamp(1, gain.shape[1])
            moved = ((x - x0) * average < 0).flatten(1)
            gain.mul_(1 + self.loyalty * moved)
            if possibly_any(heat > 0):
                if chance is None:
                    chance = random.uniform(oracle.keys, gain.shape[1], stream=CHANCE).log_().to(gain.dtype)
                gain *= chance.roll(i, dims=1).mul_(heat[:, None]).exp_()  # rolled, they are as good as new
            kept = l0_ball(gain, count).sign_()
            following = x0 - average.sign() * room * kept.reshape(x0.shape)
            again = (following == x).flatten(1).all(dim=1)
            first, growth, most = self.heat
            heat = torch.where(again, (growth * heat).clamp(first, most), heat)
            x = following
        return Refined(x, reached, classes, start.residual, None if seen is None else seen.normal, normal)


def _seen(start: Refined) -> Boundary | None:
    """Return what is known of the boundary where a refinement goes on: its normal, until the next gradient."""
    unknown = torch.zeros_like(start.reached)
    return None if start.average is None else Boundary(start.average, unknown, unknown)


def boundary(
    oracle: Oracle, probe: Probe, constrain: Constrain, seen: Boundary | None, memory: float, sighted: bool = True
) -> Boundary:
    """Linearise the constraint at a point (one backward) and average its unit normal with the earlier ones.

    Without sight, the boundary that was `seen` before is moved to where the constraint's value has it.
    """
    constraint = constrain(probe.logits)
    if seen is not None and not sighted:
        return seen._replace(way=constraint.detach() / seen.steepness)
    h = nonzero(oracle.gradient(probe, constraint), oracle)
    steepness = norm(h, 2)
    h /= per_sample(steepness, h)
    way = constraint.detach() / steepness
    return Boundary(h if seen is None else seen.normal.lerp(h, 1 - memory), way, steepness)


def enough(gain: Tensor, need: Tensor) -> Tensor:
    """Return how many of the largest gains, (batch, entries), it takes to reach `need`."""
    sums = gain.sort(dim=1, descending=True).values.cumsum(dim=1)
    return (sums < need[:, None]).sum(dim=1).to(need.dtype) + 1


def _between(ends: tuple[float, float], step: int, steps: int) -> float:
    first, last = ends
    return first * (last / first) ** (step / max(steps - 1, 1))


def _memory(ends: tuple[float, float], step: int, steps: int) -> float:
    first, last = ends
    return 1 - _between((1 - first, 1 - last), step, steps)

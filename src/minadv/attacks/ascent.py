"""Auto-PGD: maximise a loss inside balls of given radii, with step sizes that adapt per sample.

F. Croce, M. Hein, *Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
attacks*, ICML 2020 (ℓ2, ℓ∞); *Mind the box: ℓ1-APGD for sparse adversarial attacks on image classifiers*, ICML
2021 (ℓ1).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor

from minadv import projections
from minadv.attacks.directions import TINY, norm
from minadv.bisection import largest_share
from minadv.masks import overwrite
from minadv.oracle import Oracle
from minadv.shapes import per_sample
from minadv.verification import quantise

# the share of steps that must raise the loss, or the step size is halved
RHO = 0.75
# ℓ1: shares of the steps at multiples of the radius, each warm-starting the next
LARGE_RADII = ((0.3, 3.0), (0.3, 2.0), (0.4, 1.0))
# bisections of how much of the way to a point, rounded, stays in a ball
SHARES = 8
# an adversarial on the sphere may lie outside by rounding
SLACK = 1 + 1e-5


@dataclass(frozen=True, eq=False)
class Ball:
    """ℓp balls of per-sample radius around the originals, inside the box and, where they `land`, on the grid."""

    x0: Tensor
    p: float
    radius: Tensor
    levels: int | None = None

    def project(self, x: Tensor) -> Tensor:
        """Nearest point of the ball for ℓ1; ball first, then box for the others, as published. `x` is used up."""
        delta = x.sub_(self.x0)
        if self.p == 1:
            return projections.l1_ball_box(delta, self.radius, self.x0).add_(self.x0)
        if self.levels is not None and self.p == math.inf:
            return torch.clamp(delta.add_(self.x0), *self.bounds)
        return projections.ball(self.p)(delta, self.radius).add_(self.x0).clamp_(0, 1)

    @cached_property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """(batch, ...) outermost points of the grid in an ℓ∞ ball and the box: rounding does not leave them."""
        cells, radius = cast("int", self.levels) - 1, per_sample(self.radius * SLACK, self.x0)
        low, high = (self.x0 - radius) * cells, (self.x0 + radius) * cells
        return low.ceil().clamp_min(0) / cells, high.floor().clamp_max(cells) / cells

    def land(self, x: Tensor) -> Tensor:
        """Nearest point of the grid; where that is outside, of a point on the way back to the original."""
        if self.levels is None or self.p == math.inf:  # whose `project` is on the grid
            return x
        home = quantise(self.x0, self.levels)

        def at(share: Tensor) -> Tensor:
            return quantise(torch.lerp(home, x, per_sample(share, x)), self.levels)

        def inside(share: Tensor) -> Tensor:
            return self.holds(norm(at(share) - self.x0, self.p))

        return at(largest_share(inside, self.radius, SHARES))

    def holds(self, distance: Tensor) -> Tensor:
        """Whether a sample at such a distance, (batch,), lies in its ball, up to rounding."""
        return distance <= self.radius * SLACK

    def start(self, noise: Tensor) -> Tensor:
        """Point of the sphere in a random direction, clipped to the box. `noise` is Gaussian, uniform for ℓ∞."""
        if self.p != 1:
            noise = noise * per_sample(self.radius / norm(noise, self.p), noise)
        return self.project(self.x0 + noise)


@dataclass(frozen=True, eq=False)
class Point:
    """A point, its loss and the loss's gradient, per sample."""

    x: Tensor
    loss: Tensor
    gradient: Tensor

    def replaced(self, mask: Tensor, other: "Point") -> "Point":
        """Return this point with the other's masked rows, in its own memory."""
        overwrite(self.x, mask, other.x)
        overwrite(self.gradient, mask, other.gradient)
        return Point(self.x, torch.where(mask, other.loss, self.loss), self.gradient)

    def clone(self) -> "Point":
        """Return a copy with memory of its own."""
        return Point(self.x.clone(), self.loss, self.gradient.clone())


@runtime_checkable
class Rule(Protocol):
    """How one run chooses its steps, and when a sample goes back to its best point."""

    def step(self, gradient: Tensor) -> Tensor:
        """Displacement for a gradient."""
        ...

    def restart(self, now: Point, best: Point) -> Tensor:
        """(batch,) which samples go back to their best point, after a step to `now`."""
        ...


class Halving:
    """ℓ2 and ℓ∞: the step size is halved at checkpoints where the loss rose too rarely or not at all."""

    def __init__(self, ball: Ball, steps: int, start: Point) -> None:
        """Nothing has risen yet; the published flag "halved at the last checkpoint" starts true."""
        self._p, self._size = ball.p, 2 * ball.radius
        self._period, self._since = max(int(0.22 * steps), 1), 0
        self._shorter, self._shortest = max(int(0.03 * steps), 1), max(int(0.06 * steps), 1)

        # rises are counted from step to step as they happened, also after going back to the best point
        self._rises, self._last = torch.zeros_like(start.loss), start.loss
        self._checked, self._halved = start.loss, torch.ones_like(start.loss, dtype=torch.bool)

    def step(self, gradient: Tensor) -> Tensor:
        """Sign of the gradient (ℓ∞) or its direction (ℓ2), times the step size."""
        direction = gradient.sign()
        if self._p == 2:
            direction = gradient / per_sample(norm(gradient, 2).clamp_min(TINY), gradient)
        return direction.mul_(per_sample(self._size, gradient))

    def restart(self, now: Point, best: Point) -> Tensor:
        """At checkpoints, who halves the step size goes back."""
        self._rises, self._since = self._rises + (now.loss > self._last), self._since + 1
        self._last = now.loss
        if self._since < self._period:
            return torch.zeros_like(self._halved)
        halve = (self._rises <= RHO * self._period) | (~self._halved & (best.loss <= self._checked))
        self._size = torch.where(halve, self._size / 2, self._size)
        self._halved, self._checked = halve, best.loss
        self._rises, self._since = torch.zeros_like(self._rises), 0
        self._period = max(self._period - self._shorter, self._shortest)
        return halve


class Sparser:
    """ℓ1: sign steps in the largest entries; how many follows the sparsity of the best point."""

    def __init__(self, ball: Ball, steps: int) -> None:
        """Start with a fifth of the entries and steps as long as the radius."""
        self._ball, self._period, self._since = ball, max(int(0.04 * steps), 1), 0
        self._entries = ball.x0[0].numel()
        self._share = torch.full_like(ball.radius, 0.2)
        self._size = ball.radius
        self._nonzeros = torch.full_like(ball.radius, self._entries)

    def step(self, gradient: Tensor) -> Tensor:
        """Signs of the largest entries, with ℓ1 norm of the step size."""
        sizes = gradient.abs().flatten(1)
        kept = (self._share * self._entries).long().clamp(1, self._entries)
        smallest = sizes.sort(dim=1, descending=True).values.gather(1, kept[:, None] - 1)
        signs = gradient.sign() * (gradient.abs() >= per_sample(smallest, gradient))
        return signs.mul_(per_sample(self._size / norm(signs, 1).clamp_min(1), signs))

    def restart(self, now: Point, best: Point) -> Tensor:
        """At checks, who became sparser goes back, with the first step size again."""
        self._since += 1
        if self._since < self._period:
            return torch.zeros_like(now.loss, dtype=torch.bool)
        nonzeros = norm(best.x - self._ball.x0, 0)
        sparser = nonzeros < 0.95 * self._nonzeros
        smaller = torch.maximum(self._size / 1.5, self._ball.radius / 10)
        self._size = torch.where(sparser, self._ball.radius, smaller)
        self._share, self._nonzeros = nonzeros / (1.5 * self._entries), nonzeros
        self._since = 0
        return sparser


@dataclass(frozen=True, eq=False)
class Ascent:
    """Runs of APGD through an oracle: `loss` of logits is increased for the samples that are `live`."""

    oracle: Oracle
    loss: Callable[[Tensor], Tensor]
    live: Tensor

    def run(self, ball: Ball, start: Tensor, steps: int) -> Tensor:
        """Look `steps` + 1 times; return which samples were adversarial inside their ball."""
        if ball.p != 1 or steps < len(LARGE_RADII):
            return self._run(ball, start, steps)[1]
        # the starts of the three runs are looks too
        total, broken, x = steps - len(LARGE_RADII) + 1, ~self.live, start
        shares = [int(share * total) for share, _ in LARGE_RADII[:-1]]
        shares += [total - sum(shares)]
        for share, (_, factor) in zip(shares, LARGE_RADII, strict=True):
            larger = replace(ball, radius=factor * ball.radius)
            x, broken = self._run(larger, larger.project(x.clone()), share)
        return broken

    def _look(self, x: Tensor, ball: Ball) -> tuple[Point, Tensor]:
        probe = self.oracle.probe(x, self.live)
        loss = self.loss(probe.logits)
        point = Point(x, loss.detach(), self.oracle.gradient(probe, loss))
        return point, probe.adversarial & ball.holds(probe.distance)

    def _run(self, ball: Ball, start: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """One run; returns the best point and who is broken."""
        now, broken = self._look(self.oracle.project(ball.land(start)), ball)
        best, before = now.clone(), now.x
        rule: Rule = Sparser(ball, steps) if ball.p == 1 else Halving(ball, steps, now)
        for i in self.oracle.steps(steps):
            ahead = ball.project(rule.step(now.gradient).add_(now.x))
            if ball.p != 1 and i > 0:  # momentum
                ahead = ahead.sub_(now.x).mul_(0.75).add_(now.x).add_((now.x - before).mul_(0.25))
                ahead = ball.project(ahead)
            before = now.x
            now, found = self._look(self.oracle.project_(ball.land(ahead)), ball)
            broken = broken | found
            best = best.replaced(now.loss > best.loss, now)
            now = now.replaced(rule.restart(now, best), best)
        return best.x, broken

"""Refinement: alternate between the decision boundary and the nearest point of its average linearisation."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from minadv.attacks.directions import TINY, inner, nonzero, norm
from minadv.attacks.exploration import Constrain
from minadv.distances.base import per_sample
from minadv.oracle import Oracle
from minadv.probe import Probe
from minadv.projections import hyperplane_box, total, weighted_hyperplane_box, wide

# (normal, offset, probe, memory) to the nearest point of ⟨normal, x⟩ = offset in the box, and what to remember
Nearest = Callable[[Tensor, Tensor, Probe, Tensor | None], tuple[Tensor, Tensor | None]]


@dataclass(frozen=True, eq=False)
class Refinement:
    """Move to the boundary along its average normal, and part of the way to its point nearest to the original.

    One gradient tells little where boundaries have kinks: full steps to the nearest point of one linearisation cycle
    or diverge. The average of the last normals is that of the face that the search hovers around.

    Attributes:
        pull: first and last share of the way to the nearest point.
        memory: first and last weight of the past in the average normal.
        overshoot: factor on the step to the boundary.
        adaptation: relative growth of the pull after an adversarial point; what it shrinks by after any other.
        longest: bound on the step to the boundary, relative to the perturbation's ℓ2 norm.
    """

    pull: tuple[float, float] = (0.5, 0.1)
    memory: tuple[float, float] = (0.7, 0.9)
    overshoot: float = 1.1
    adaptation: float = 0.15
    longest: float = 0.1

    def __call__(
        self,
        oracle: Oracle,
        start: Tensor,
        steps: int,
        constrain: Constrain,
        nearest: Nearest,
        live: Tensor | None,
    ) -> Tensor:
        """Refine from `start`; return how far the last point is from the nearest one, relative to its distance."""
        x, x0, average, remembered = start, oracle.originals, None, None
        factor = torch.ones_like(oracle.best_distance)
        residual = torch.full_like(factor, torch.inf)
        for i in oracle.steps(steps):
            along = i / max(steps - 1, 1)
            probe = oracle.probe(x, live, distance_gradient=True)
            constraint = constrain(probe.logits)
            h = nonzero(oracle.gradient(probe, constraint), oracle)
            steepness = norm(h, 2)
            h /= per_sample(steepness, h)
            past = 1 - _between((1 - self.memory[0], 1 - self.memory[1]), along)
            average = h if average is None else average.lerp(h, 1 - past)
            normal = average / per_sample(norm(average, 2).clamp_min(TINY), average)
            factor = (factor * torch.where(probe.adversarial, 1 + self.adaptation, 1 - self.adaptation)).clamp(0.05, 2)
            size = norm(x - x0, 2)
            step = constraint.detach() / steepness
            step = self.overshoot * torch.maximum(torch.minimum(step, self.longest * size), -self.longest * size)
            offset = total(wide((normal * x).flatten(1))) - step
            home, remembered = nearest(normal, offset, probe, remembered)
            residual = norm(home - x, 2) / size.clamp_min(TINY)
            share = (factor * _between(self.pull, along)).clamp_max(1)
            at = torch.addcmul(x, normal, per_sample(step, x), value=-1)
            x = torch.lerp(at, home, per_sample(share, x)).clamp_(0, 1)
        return residual


@dataclass(frozen=True)
class NearestByNorm:
    """The nearest point in an ℓp norm, exactly."""

    x0: Tensor
    p: float

    def __call__(
        self, normal: Tensor, offset: Tensor, probe: Probe, remembered: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return x0 moved to the hyperplane."""
        return self.x0 + hyperplane_box(self.x0, normal, offset, self.p), None


@dataclass(frozen=True, eq=False)
class NearestByWeights:
    """The nearest point in any distance, by iteratively reweighted least squares.

    Around x the distance is replaced by Σ a_j·(x′_j − x0_j)²/2 with the same gradient there, a = ∇D/(x − x0), kept
    away from 0 and averaged over the steps.
    """

    x0: Tensor
    floor: float = 0.1
    memory: float = 0.8

    def __call__(
        self, normal: Tensor, offset: Tensor, probe: Probe, remembered: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return x0 moved to the hyperplane, and the weights."""
        delta, slope = probe.x - self.x0, probe.slope
        weights = (slope.abs() + self.floor * _typical(slope)) / (delta.abs() + self.floor * _typical(delta))
        weights /= _typical(weights)
        if remembered is not None:
            weights = remembered.lerp(weights, 1 - self.memory)
        return self.x0 + weighted_hyperplane_box(self.x0, normal, offset, weights), weights


def _typical(values: Tensor) -> Tensor:
    """Root mean square of each sample."""
    return per_sample(norm(values, 2) / values[0].numel() ** 0.5, values).clamp_min(TINY)


def _between(ends: tuple[float, float], along: float) -> float:
    first, last = ends
    return first * (last / first) ** along


@dataclass(frozen=True, eq=False)
class SparseRefinement:
    """Move as few entries as the average linearisation asks for to the box's faces, fewer while that succeeds (ℓ0).

    Attributes:
        shrinkage: first and last relative change of the number of entries per step.
        memory: first and last weight of the past in the average normal.
        loyalty: what an entry that is moved already counts more than others.
    """

    shrinkage: tuple[float, float] = (0.3, 0.05)
    memory: tuple[float, float] = (0.5, 0.9)
    loyalty: float = 1.0

    def __call__(
        self, oracle: Oracle, start: Tensor, steps: int, constrain: Constrain, live: Tensor | None
    ) -> Tensor:
        """Refine from `start`; return ∞ for each sample: there is no condition of optimality."""
        x, x0, average, count = start, oracle.originals, None, None
        for i in oracle.steps(steps):
            along = i / max(steps - 1, 1)
            probe = oracle.probe(x, live)
            constraint = constrain(probe.logits)
            h = nonzero(oracle.gradient(probe, constraint), oracle)
            steepness = norm(h, 2)
            h /= per_sample(steepness, h)
            past = 1 - _between((1 - self.memory[0], 1 - self.memory[1]), along)
            average = h if average is None else average.lerp(h, 1 - past)
            room = torch.where(average > 0, x0, 1 - x0)
            gain = (average.abs() * room).flatten(1)
            if count is None:
                need = constraint.detach() / steepness - inner(average, x - x0)
                enough = gain.sort(dim=1, descending=True).values.cumsum(dim=1)
                count = (enough < need[:, None]).sum(dim=1).to(need.dtype) + 1
            else:
                change = _between(self.shrinkage, along)
                fewer = torch.minimum((count * (1 - change)).floor(), count - 1)
                more = torch.maximum((count * (1 + change)).ceil(), count + 1)
                count = torch.where(probe.adversarial, fewer, more)
            count = torch.minimum(count, oracle.best_distance - 1).clamp(1, gain.shape[1])
            delta = x - x0
            moved = (delta * average < 0).flatten(1)
            gain = gain * (1 + self.loyalty * moved)
            ranked = gain.argsort(dim=1, descending=True, stable=True)
            places = torch.arange(gain.shape[1], device=gain.device).expand_as(gain)
            kept = torch.zeros_like(gain).scatter_(1, ranked, (places < count[:, None]).to(gain.dtype))
            x = x0 - average.sign() * room * kept.reshape(x0.shape)
        return torch.full_like(oracle.best_distance, torch.inf)

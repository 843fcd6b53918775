"""The nearest point of a hyperplane by a model of the distance that its gradients along the search teach."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from minadv.attacks.auto.curvature import energy_slope, grows_like_a_square
from minadv.attacks.auto.nearest import LEAST, along, entry_weights
from minadv.attacks.directions import cosine, inner
from minadv.distances.base import Selectable
from minadv.probe import Probe
from minadv.shapes import per_sample

# Secants along which the slope rises less than this, relative to their lengths, tell of no convex distance.
FLAT = 1e-6
# How far away the distance is asked whether it grows like a square: SSIM of black images does so up to here.
LENGTH = 1e-3


class Secant(NamedTuple):
    """A move, (batch, ...), the change of the slope along it, and (batch,) 1/⟨move, change⟩.

    The last is 0 where the slope does not rise.
    """

    move: Tensor
    change: Tensor
    inverse: Tensor

    @classmethod
    def of(cls, move: Tensor, change: Tensor) -> "Secant":
        """Return the secant of a move and the change along it."""
        product = inner(move, change)
        rising = product > FLAT * (inner(move, move) * inner(change, change)).sqrt()
        return cls(move, change, torch.where(rising, 1 / product.clamp_min(LEAST), 0.0))

    def packed(self) -> "Secant":
        """Return it in half the memory: a little off in each entry, it is a model of the distance still."""
        return self._replace(move=self.move.bfloat16(), change=self.change.bfloat16())


class Learned(NamedTuple):
    """What the last points taught: the last perturbation and its slope, weights of entries, and their worth.

    `longer` is how much longer the last step to the plane was, see `along`. The secants, newest last, are those
    that the next call still goes by. It overwrites the first two.
    """

    delta: Tensor
    slope: Tensor
    weights: Tensor
    trust: Tensor
    longer: Tensor
    secants: tuple[Secant, ...]


@dataclass(frozen=True, eq=False)
class BySecants:
    """Nearest in any distance, by a quasi-Newton model (L-BFGS: Liu and Nocedal, Mathematical Programming, 1989).

    Entries may count for each other, as in features or in neighbours' differences; then no weights of single ones
    are a model. But each step shows how the slope of D²/2 (or of D, if it grows like a square) changes along it,
    and that it rises from 0 at the original along the whole perturbation: the newest of the secants, as it were.
    Weights of entries, |slope| / |x − x0| with a floor for both, are what the model starts from: with a low floor
    where these foretell how the slope changes along a step better than with a high one, which hardly trusts them.

    Attributes:
        x0: (batch, ...) originals.
        distance: from them.
        kept: secants of steps.
        floors: low and high, of the weights' two parts, relative to their typical entry.
        memory: weight of the past in the weights, and in how much better low floors foretell.
    """

    x0: Tensor
    distance: Selectable
    kept: int = 3
    floors: tuple[float, float] = (0.01, 1.0)
    memory: float = 0.7

    by_gradient: ClassVar[bool] = True

    def __call__(
        self, normal: Tensor, need: Tensor, probe: Probe, remembered: Learned | None
    ) -> tuple[Tensor, Learned]:
        """Return the nearest point, and what was learned."""
        delta = probe.x - self.x0
        slope = energy_slope(probe.distance, probe.slope, self._squared)
        low, high = self.floors
        weights, trust, secants = entry_weights(slope, delta, high), torch.zeros_like(need), tuple[Secant, ...]()
        if remembered is not None:
            move = torch.sub(delta, remembered.delta, out=remembered.delta)
            change = torch.sub(slope, remembered.slope, out=remembered.slope)
            bold = entry_weights(slope, delta, low)
            better = cosine(bold * move, change) - cosine(weights * move, change)
            trust = remembered.trust.lerp(better, 1 - self.memory)
            weights = torch.where(per_sample(trust > 0, weights), bold, weights)
            del bold
            weights = remembered.weights.to(weights.dtype).lerp_(weights, 1 - self.memory)
            secants = (*remembered.secants, Secant.of(move, change))
        # by the last of them, the model is smallest at the original
        direction = solve(normal, (*secants, Secant.of(delta, slope)), weights)
        uphill = inner(direction, normal) > 0
        direction = torch.where(per_sample(uphill, normal), direction, normal / weights)
        weights = weights.bfloat16()
        longer = None if remembered is None else remembered.longer
        home, longer = along(self.x0, direction, normal, need, longer)
        del direction  # before what is remembered takes memory
        kept = secants[1:] if len(secants) == self.kept else secants
        return home, Learned(delta, slope, weights, trust, longer, tuple(secant.packed() for secant in kept))

    @cached_property
    def _squared(self) -> Tensor:
        return grows_like_a_square(self.x0, self.distance, LENGTH)


def solve(vector: Tensor, secants: Sequence[Secant], weights: Tensor) -> Tensor:
    """Inverse of the model's Hessian times (batch, ...) vectors, by two loops over the secants, newest last.

    The model starts from the diagonal of `weights`, scaled to fit the newest secant.
    """
    found, scratch, parts = vector.clone(), torch.empty_like(vector), list[Tensor]()
    for move, change, inverse in reversed(secants):
        parts.append(inverse * inner(move, found, out=scratch))
        found.addcmul_(per_sample(parts[-1], change), change, value=-1)
    found /= weights
    move, change, inverse = secants[-1]
    steep = inner(torch.div(change, weights, out=scratch), change, out=scratch).clamp_min(LEAST)
    rise = inner(move, change, out=scratch)
    found *= per_sample(torch.where(inverse > 0, rise / steep, 1.0), found)
    for (move, change, inverse), part in zip(secants, reversed(parts), strict=True):
        found.addcmul_(per_sample(part - inverse * inner(change, found, out=scratch), move), move)
    return found

"""Coordinates in which equal steps change a distance alike, near the original: x − x0 = A·u."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, cast

import torch
from torch import Tensor

from minadv.attacks.auto.blocks import Blocks
from minadv.attacks.auto.curvature import pixels, sampled, units
from minadv.attacks.auto.nearest import ByMetric
from minadv.attacks.auto.shaped import Shaped, shape
from minadv.distances.base import Curved, Selectable
from minadv.shapes import per_sample

Per = Literal["plain", "sampled", "entry", "pixel", "shape", "filter"]

# Bounds on how far entries move, see `units`: sampled diagonals are not to be trusted where they are small.
SAMPLED, EXACT = 3e-3, 1e-3


@dataclass(frozen=True, eq=False)
class PerEntry:
    """A is diagonal.

    Attributes:
        units: (batch, ...) how far entries move at equal distance.
    """

    units: Tensor

    def slope(self, gradient: Tensor) -> Tensor:
        """Aᵀ·gradient, the gradient in u; in its memory or not."""
        return gradient.mul_(self.units)

    def step(self, u: Tensor) -> Tensor:
        """A·u; in its memory or not."""
        return u.mul_(self.units)

    def of(self, delta: Tensor) -> Tensor:
        """Return u of a perturbation; in its memory or not."""
        return delta.div_(self.units)

    def without(self, rows: Tensor) -> "PerEntry":
        """Return plain entries in these rows, (batch,)."""
        return PerEntry(torch.where(per_sample(rows, self.units), 1.0, self.units))


@dataclass(frozen=True, eq=False)
class PerPixel:
    """A = L⁻ᵀ/size for each pixel, where L·Lᵀ is the distance's Hessian there.

    Attributes:
        blocks: the Hessian.
        size: (batch,) root mean square of the entries that unit vectors move, so that a step of 1 is one of 1.
    """

    blocks: Blocks
    size: Tensor

    @classmethod
    def of_blocks(cls, blocks: Blocks, like: Tensor) -> "PerPixel":
        """Return those of the blocks of (batch, ...) originals `like`."""
        squares, vectors = torch.zeros_like(blocks.mean), pixels(like)
        for channel in range(vectors.shape[1]):
            unit = torch.zeros_like(vectors)
            unit[:, channel] = 1
            squares += blocks.backward_(unit).square_().flatten(1).sum(dim=1)
        return cls(blocks, (squares / like[0].numel()).sqrt())

    def slope(self, gradient: Tensor) -> Tensor:
        """Aᵀ·gradient, the gradient in u; in its memory or not."""
        return self._scaled(self.blocks.forward(pixels(gradient)), 1 / self.size, gradient)

    def step(self, u: Tensor) -> Tensor:
        """A·u; in its memory or not."""
        return self._scaled(self.blocks.backward_(pixels(u)), 1 / self.size, u)

    def of(self, delta: Tensor) -> Tensor:
        """Return u of a perturbation; in its memory or not."""
        return self._scaled(self.blocks.multiply(pixels(delta)), self.size, delta)

    def _scaled(self, vectors: Tensor, factor: Tensor, like: Tensor) -> Tensor:
        return vectors.mul_(factor[:, None, None]).reshape(like.shape)


Coordinates = PerEntry | PerPixel | Shaped


def coordinates(
    rounds: Sequence[Sequence[Per]], x0: Tensor, distance: Selectable, metric: ByMetric
) -> list[list[Coordinates | None]]:
    """Return these kinds for `distance` from originals `x0`, whose `metric` knows the Hessian's blocks.

    Its diagonal is sampled by as many looks. None are the plain entries. Kinds that recur are computed once.
    """
    diagonal = cache(lambda: units(sampled(x0, distance, metric.looks), SAMPLED))
    seen = cache(lambda: shape(x0, distance, diagonal()))

    @cache
    def known(kind: Per) -> Coordinates | None:
        return _coordinates(kind, x0, distance, metric, diagonal, seen)

    return [[known(kind) for kind in kinds] for kinds in rounds]


def _coordinates(
    kind: Per,
    x0: Tensor,
    distance: Selectable,
    metric: ByMetric,
    diagonal: Callable[[], Tensor],
    seen: Callable[[], Shaped],
) -> Coordinates | None:
    match kind:
        case "plain":
            return None
        case "pixel":
            return PerPixel.of_blocks(metric.hessian, x0)
        case "entry":
            return PerEntry(units(cast("Curved", distance).curvature(), EXACT))
        case "sampled":
            return PerEntry(diagonal())
        case "shape":
            return seen()
        case "filter":
            return seen().plainly()

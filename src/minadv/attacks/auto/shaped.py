"""Distances for which entries count for each other as neighbours do: filters, diagonal in frequencies."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import torch
from torch import Tensor

from minadv import random
from minadv.attacks.auto.curvature import ENTRIES, energy_slope, grows, units
from minadv.attacks.directions import cosine, inner
from minadv.distances.base import Anchored, Selectable
from minadv.distances.portions import portions
from minadv.masks import possibly_any
from minadv.shapes import per_sample

# Bound on how far frequencies move, relative to what their mean does.
RIDGE = 1e-2
# A side of fewer entries has too few frequencies to be told apart.
SMALLEST = 4
# A filter leaves less than this share unexplained of what the identity does, or the distance is none.
LEFT = 0.5


@dataclass(frozen=True, eq=False)
class Shaped:
    """Coordinates x − x0 = A·u, where A is a filter in the rows that are `smooth`, and diagonal elsewhere.

    Attributes:
        units: (batch, ...) the diagonal, or 1.
        gain: (batch, 1, ...) the filter, real, for each frequency of the real Fourier transform; None without any.
        smooth: (batch,) bool.
    """

    units: Tensor
    gain: Tensor | None
    smooth: Tensor

    def slope(self, gradient: Tensor) -> Tensor:
        """Aᵀ·gradient, the gradient in u; in its memory or not."""
        return self._either(gradient, gradient * self.units, self.gain)

    def step(self, u: Tensor) -> Tensor:
        """A·u; in its memory or not."""
        return self._either(u, u * self.units, self.gain)

    def of(self, delta: Tensor) -> Tensor:
        """Return u of a perturbation; in its memory or not."""
        return self._either(delta, delta / self.units, None if self.gain is None else 1 / self.gain)

    def without(self, rows: Tensor) -> "Shaped":
        """Return plain entries in these rows, (batch,)."""
        plain = torch.where(per_sample(rows, self.units), 1.0, self.units)
        return replace(self, units=plain, smooth=self.smooth & ~rows)

    def plainly(self) -> "Shaped":
        """Return plain entries where A is diagonal."""
        return replace(self, units=self.units.new_ones((1,) * self.units.ndim))

    def _either(self, x: Tensor, scaled: Tensor, gain: Tensor | None) -> Tensor:
        if gain is None or not possibly_any(self.smooth):
            return scaled
        return torch.where(per_sample(self.smooth, x), filtered(x, gain), scaled)


class Pair(NamedTuple):
    """Two points: the move of all entries between them, (batch, ...), and the change of the slope along it."""

    move: Tensor
    change: Tensor


def shape(x0: Tensor, distance: Selectable, units: Tensor, pairs: int = 4, length: float = 0.01) -> Shaped:
    """Return a filter where that explains how slopes change along random moves, and `units` elsewhere.

    It takes 2·`pairs` distances and no model pass. Blurred and differentiated images are such: their Hessian is
    that of one kernel, whatever is where.
    """
    smooth = torch.zeros_like(x0.flatten(1)[:, 0], dtype=torch.bool)
    if x0.ndim < 3 or min(x0.shape[2:]) < SMALLEST:
        return Shaped(units, None, smooth)
    found = [_filter(x0[rows], distance.select(rows), pairs, length) for rows in portions(x0, ENTRIES)]
    gains, smooths = zip(*found, strict=True)
    return Shaped(units, torch.cat(gains), torch.cat(smooths))


def filtered(x: Tensor, gain: Tensor) -> Tensor:
    """Multiply the frequencies of (batch, channels, ...) images by (batch, 1, ...) real numbers."""
    axes = tuple(range(2, x.ndim))
    return cast("Tensor", torch.fft.irfftn(_spectrum(x).mul_(gain), s=x.shape[2:], dim=axes))


def _spectrum(x: Tensor) -> Tensor:
    return cast("Tensor", torch.fft.rfftn(x, dim=tuple(range(2, x.ndim))))


def _filter(x0: Tensor, distance: Anchored, pairs: int, length: float) -> tuple[Tensor, Tensor]:
    """Return the gain, and in which rows it explains the distance."""
    found = _pairs(x0, distance, pairs, length)
    gain = _gain(found)
    inside = [Pair(filtered(move, 1 / gain), filtered(change, gain)) for move, change in found]
    return gain, 1 - _fit(inside) < LEFT * (1 - _fit(found))


def _pairs(x0: Tensor, distance: Anchored, pairs: int, length: float) -> list[Pair]:
    """Look at the slope of D²/2 (or of D, if that grows like a square) at pairs of points.

    They are `length` apart in each entry, on both sides of the original or, at a face of the box, both inside. So
    the signs of a move are independent of each other, whatever the image is.
    """
    keys, half, squared = random.keys(x0, 0), length / 2, None
    inside = x0.clamp(half, 1 - half)
    found = list[Pair]()
    for number in range(pairs):
        signs = random.signs(keys, x0, stream=number)
        (value, ahead), (other, behind) = (
            distance.value_and_gradient(inside + turn * signs) for turn in (half, -half)
        )
        if squared is None:
            squared = grows(value, inner(ahead, inside + half * signs - x0))
        found.append(Pair(signs, energy_slope(value, ahead, squared) - energy_slope(other, behind, squared)))
    return found


def _fit(pairs: Sequence[Pair]) -> Tensor:
    """(batch,) mean cosine between moves and changes, which are parallel where A is right."""
    return torch.stack([cosine(move, change) for move, change in pairs]).mean(dim=0)


def _gain(pairs: Sequence[Pair]) -> Tensor:
    """How far each frequency moves at equal distance, (batch, 1, ...), by the power that the Hessian has there."""
    rises, sizes = list[Tensor](), list[Tensor]()
    for move, change in pairs:
        u, h = (torch.view_as_real(_spectrum(each)) for each in (move, change))
        rises.append((u * h).sum(dim=-1).sum(dim=1, keepdim=True))
        sizes.append(u.square().sum(dim=-1).sum(dim=1, keepdim=True))
    even = pairs[0].move.shape[-1] % 2 == 0
    rise, size = (_around(torch.stack(each).sum(dim=0), even) for each in (rises, sizes))
    return units(rise / size, RIDGE)


def _around(power: Tensor, even: bool) -> Tensor:
    """Sum over each frequency and its neighbours: one alone is seen too rarely. The last side is `even` or not."""
    for axis in range(2, power.ndim - 1):
        power = power + power.roll(1, axis) + power.roll(-1, axis)
    # of the last axis there is one half: what is beyond its ends is the conjugate of what is before them
    before, after = _negative(power[..., 1:2]), _negative(power[..., -2:-1] if even else power[..., -1:])
    wide = torch.cat((before, power, after), dim=-1)
    return wide[..., :-2] + wide[..., 1:-1] + wide[..., 2:]


def _negative(power: Tensor) -> Tensor:
    """Power at the opposite frequencies of all axes but the last."""
    for axis in range(2, power.ndim - 1):
        power = power.flip(axis).roll(1, axis)
    return power

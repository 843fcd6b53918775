"""A distance's Hessian at the original, by differences of its gradients: no model pass, and once a run.

It is that of D²/2 or, where D itself grows like the square of a perturbation, of D: one block per pixel, which
tells how its channels compensate each other, or the diagonal alone.
"""

from collections.abc import Iterator
from typing import NamedTuple, cast

import torch
from torch import Tensor

from minadv import random
from minadv.attacks.directions import TINY, inner, typical
from minadv.distances.base import Anchored, Selectable, per_sample
from minadv.distances.portions import portions
from minadv.masks import possibly_any
from minadv.projections import wide

# The distance is differentiated for so many entries at a time, on a CPU.
ENTRIES = 2**16
# Blocks are factored for so many parts of the pixels in turn.
PARTS = 4
# A distance that grows like rᵖ with the size of a perturbation grows like its square if p is above this.
SQUARE = 1.5


def units(diagonal: Tensor, ridge: float) -> Tensor:
    """(batch, ...) how far entries move at equal distance, by the diagonal of its Hessian, in its memory; RMS 1.

    `ridge`, relative to the diagonal's mean, bounds the largest.
    """
    diagonal = diagonal.clamp_(min=0)
    mean = per_sample(diagonal.flatten(1).mean(dim=1) + TINY, diagonal)
    free = diagonal.add_(ridge * mean).rsqrt_()
    return free.div_(typical(free))


def sampled(x0: Tensor, distance: Selectable, looks: int = 8, length: float = 0.01) -> Tensor:
    """(batch, ...) of which the expectation is the Hessian's diagonal at the original, up to a factor.

    It takes as many distances as `looks`.
    """
    found = torch.empty_like(x0)
    for rows in portions(x0, ENTRIES):
        found[rows] = _sampled(x0[rows], distance.select(rows), looks, length)
    return found


def _sampled(x0: Tensor, distance: Anchored, looks: int, length: float) -> Tensor:
    diagonal = torch.zeros_like(pixels(x0))
    for look in _looks(x0, distance, slice(None), looks, length):
        diagonal.addcmul_(look.moves, look.slope)
    return diagonal.reshape(x0.shape)


class Blocks(NamedTuple):
    """One symmetric positive definite matrix per pixel, `mean`·L·Lᵀ.

    A factor serves for products and for solutions, in half of the memory of a matrix and its inverse.

    Attributes:
        mean: (batch,) of the matrices' diagonals.
        factors: (batch, n(n + 1)/2, pixels) rows of the upper triangles of Lᵀ, one after another.
    """

    mean: Tensor
    factors: Tensor

    def square(self, vectors: Tensor) -> Tensor:
        """(batch, 1, pixels) vᵀMv of (batch, n, pixels) vectors."""
        total = torch.zeros_like(vectors[:, :1])
        for row in range(vectors.shape[1]):
            part = self._row(row, vectors)
            total[:, 0].addcmul_(part, part)
        return total.mul_(self.mean[:, None, None])

    def multiply(self, vectors: Tensor) -> Tensor:
        """Lᵀv of (batch, n, pixels) vectors."""
        return torch.stack([self._row(row, vectors) for row in range(vectors.shape[1])], dim=1)

    def solve(self, vectors: Tensor) -> Tensor:
        """`mean`·M⁻¹v of (batch, n, pixels) vectors: forward through L, backward through Lᵀ."""
        return self.backward_(self.forward(vectors))

    def forward(self, vectors: Tensor) -> Tensor:
        """L⁻¹v of (batch, n, pixels) vectors."""
        found = vectors.clone()
        for row in range(found.shape[1]):
            for column in range(row):
                found[:, row].addcmul_(self._entry(column, row), found[:, column], value=-1)
            found[:, row].div_(self._entry(row, row))
        return found

    def backward_(self, vectors: Tensor) -> Tensor:
        """(Lᵀ)⁻¹v of (batch, n, pixels) vectors, in their memory."""
        n = vectors.shape[1]
        for row in reversed(range(n)):
            for column in range(row + 1, n):
                vectors[:, row].addcmul_(self._entry(row, column), vectors[:, column], value=-1)
            vectors[:, row].div_(self._entry(row, row))
        return vectors

    def _row(self, row: int, vectors: Tensor) -> Tensor:
        part = self._entry(row, row) * vectors[:, row]
        for column in range(row + 1, vectors.shape[1]):
            part.addcmul_(self._entry(row, column), vectors[:, column])
        return part

    def _entry(self, row: int, column: int) -> Tensor:
        n = int((2 * self.factors.shape[1]) ** 0.5)  # n² < n(n + 1) < (n + 1)²
        return self.factors[:, row * n - row * (row - 1) // 2 + column - row]


def blocks(
    x0: Tensor, distance: Selectable, looks: int, length: float, ridge: float, rounder: float = 0.0
) -> tuple[Tensor, Blocks]:
    """Whether D grows like a square, (batch,), and its Hessian's blocks.

    It takes as many distances per channel as `looks`. `ridge`, relative to the mean of all eigenvalues, is added
    to all, and `rounder`, relative to the mean of a block's own.
    """
    found = [
        _blocks(x0[rows], distance.select(rows), looks, length, ridge, rounder) for rows in portions(x0, ENTRIES)
    ]
    squared, means, factors = zip(*found, strict=True)
    return torch.cat(squared), Blocks(torch.cat(means), torch.cat(factors))


def _blocks(
    x0: Tensor, distance: Anchored, looks: int, length: float, ridge: float, rounder: float
) -> tuple[Tensor, Tensor, Tensor]:
    columns, squared = list[Tensor](), None
    for channel in range(pixels(x0).shape[1]):
        column, moved = torch.zeros_like(pixels(x0)), slice(channel, channel + 1)
        for look in _looks(x0, distance, moved, looks, length, squared):
            column.addcmul_(look.slope, look.moves.expand_as(look.slope))
            squared = look.squared
        columns.append(column.div_(looks * length))
    whole = torch.stack(columns, dim=2)
    whole = whole.add_(whole.transpose(1, 2).clone()).div_(2)
    diagonal = whole.diagonal(dim1=1, dim2=2)
    mean = diagonal.clamp_min(0).flatten(1).mean(dim=1) + TINY
    diagonal += rounder * diagonal.clamp_min(0).mean(dim=2, keepdim=True)
    # a part of the pixels at a time: factors are found in float64
    factors = torch.cat([factored(part, mean, ridge) for part in whole.chunk(PARTS, dim=3)], dim=2)
    return cast("Tensor", squared), mean, factors


def grows_like_a_square(x0: Tensor, distance: Selectable, length: float) -> Tensor:
    """(batch,) `quadratic` for parts of the originals in turn."""
    return torch.cat([quadratic(x0[rows], distance.select(rows), length) for rows in portions(x0, ENTRIES)])


def quadratic(x0: Tensor, distance: Anchored, length: float) -> Tensor:
    """(batch,) whether D grows like the square of a perturbation, as SSIM's does."""
    return next(_looks(x0, distance, slice(None), 1, length)).squared


def grows(value: Tensor, rise: Tensor) -> Tensor:
    """(batch,) whether D grows like a square: where it grows like rᵖ, its rise ⟨∇D, δ⟩ is p·D."""
    return rise > SQUARE * value


def energy_slope(value: Tensor, slope: Tensor, squared: Tensor) -> Tensor:
    """Gradient of D²/2, from D and its own; of D in the rows, (batch,), where that grows like a square itself."""
    return slope * per_sample(torch.where(squared, 1.0, value), slope)


class Look(NamedTuple):
    """What the distance's slope is at a small perturbation.

    Attributes:
        moves: its signs, (batch, moved channels, pixels).
        slope: (batch, channels, pixels) that of D²/2 or, where D itself grows like a square, of D.
        squared: (batch,) whether it does.
    """

    moves: Tensor
    slope: Tensor
    squared: Tensor


def _looks(
    x0: Tensor, distance: Anchored, moved: slice, looks: int, length: float, squared: Tensor | None = None
) -> Iterator[Look]:
    """Look along random signs of the `moved` channels, `length` away; `squared` is found where it is not known.

    Signs come in pairs of opposite ones, so that odd orders cancel, but where only one of them stays in the box.
    """
    places, keys = pixels(x0)[:, moved], random.keys(x0, 0)
    for stream in range((looks + 1) // 2):
        signs = random.signs(keys, places, stream=stream)
        for turned in (signs, -signs)[: looks - 2 * stream]:
            moves = _inside(places, turned, length)
            step = torch.zeros_like(pixels(x0))
            step[:, moved] = moves
            value, slope = distance.value_and_gradient(x0 + length * step.reshape(x0.shape))
            slope = pixels(slope)
            if squared is None:
                squared = grows(value, length * inner(moves, slope[:, moved]))
            yield Look(moves, energy_slope(value, slope, squared), squared)


def _inside(places: Tensor, signs: Tensor, length: float) -> Tensor:
    """Return the signs, turned around where they lead out of the box."""
    ends = places + length * signs
    return torch.where(ends == ends.clamp(0, 1), signs, -signs)


def factored(matrices: Tensor, mean: Tensor, ridge: float) -> Tensor:
    """(batch, n(n + 1)/2, pixels) rows of the upper triangles of Lᵀ: (batch, n, n, pixels) ones are `mean`·L·Lᵀ.

    Eigenvalues are those of the given ones, at least 0, plus `ridge`·`mean`, (batch,). Hardly a matrix has
    negative ones beyond half the ridge: only of these the eigenvectors are found.
    """
    scaled = wide(matrices) / wide(mean)[:, None, None, None]
    diagonal, one_each = scaled.diagonal(dim1=1, dim2=2), scaled.permute(0, 3, 1, 2)
    diagonal += ridge / 2
    _, indefinite = _cholesky(scaled)
    if possibly_any(indefinite):
        values, vectors = cast("tuple[Tensor, Tensor]", torch.linalg.eigh(one_each[indefinite]))
        values = values.clamp_min(ridge / 2)[:, None]
        one_each[indefinite] = (vectors * values) @ vectors.transpose(1, 2)
    diagonal += ridge / 2
    rows, _ = _cholesky(scaled)
    return torch.stack(rows, dim=1).to(matrices.dtype)


def _cholesky(matrices: Tensor) -> tuple[list[Tensor], Tensor]:
    """Rows of the upper triangles of Lᵀ, each (batch, pixels), and which pixels' pivots are not positive.

    Few channels and many pixels: an entry of all matrices at a time.
    """
    n, indefinite = matrices.shape[1], torch.zeros_like(matrices[:, 0, 0], dtype=torch.bool)
    found = dict[tuple[int, int], Tensor]()
    for row in range(n):
        for column in range(row, n):
            rest = matrices[:, row, column].clone()
            for before in range(row):
                rest.addcmul_(found[before, row], found[before, column], value=-1)
            if row == column:
                indefinite |= ~(rest > 0)
                found[row, row] = rest.clamp_min_(TINY).sqrt_()
            else:
                found[row, column] = rest.div_(found[row, row])
    return list(found.values()), indefinite


def pixels(values: Tensor) -> Tensor:
    """(batch, channels, pixels) of images with up to four channels; otherwise every entry is a pixel."""
    colour = values.ndim >= 3 and values.shape[1] <= 4
    return values.flatten(2) if colour else values.flatten(1)[:, None]

"""A distance's Hessian at the original, one block per pixel: how its channels compensate each other."""

from typing import NamedTuple, cast

import torch
from torch import Tensor

from minadv.attacks.auto.curvature import ENTRIES, looks_around, pixels
from minadv.attacks.directions import TINY
from minadv.distances.base import Anchored, Selectable
from minadv.distances.portions import portions
from minadv.masks import possibly_any
from minadv.projections import wide

# Blocks are factored for so many parts of the pixels in turn.
PARTS = 4


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
        for look in looks_around(x0, distance, moved, looks, length, squared):
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

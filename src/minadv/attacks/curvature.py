"""A distance's Hessian at the original, by differences of its gradients: no model pass, and once a run.

It is that of D²/2 or, where D itself grows like the square of a perturbation, of D: one block per pixel, which
tells how its channels compensate each other, or the diagonal alone.
"""

from collections.abc import Iterator
from typing import NamedTuple, cast

import torch
from torch import Tensor

from minadv import random
from minadv.attacks.directions import TINY, typical
from minadv.distances.base import Anchored, Selectable, per_sample
from minadv.distances.portions import portions
from minadv.masks import possibly_any
from minadv.projections import wide

# The distance is differentiated for so many entries at a time, on a CPU.
ENTRIES = 2**16
# Blocks are factored for so many parts of the pixels in turn.
PARTS = 16


def units(diagonal: Tensor, ridge: float) -> Tensor:
    """(batch, ...) how far entries move at equal distance, by the diagonal of its Hessian, in its memory; RMS 1.

    `ridge`, relative to the diagonal's mean, bounds the largest.
    """
    diagonal = diagonal.clamp_(min=0)
    mean = per_sample(diagonal.flatten(1).mean(dim=1) + TINY, diagonal)
    free = diagonal.add_(ridge * mean).rsqrt_()
    return free.div_(typical(free))


def sampled(x0: Tensor, distance: Selectable, probes: int = 4, length: float = 0.01) -> Tensor:
    """(batch, ...) of which the expectation is the Hessian's diagonal at the original, up to a factor.

    It takes 2·`probes` distances.
    """
    found = torch.empty_like(x0)
    for rows in portions(x0, ENTRIES):
        found[rows] = _sampled(x0[rows], distance.select(rows), probes, length)
    return found


def _sampled(x0: Tensor, distance: Anchored, probes: int, length: float) -> Tensor:
    squared = quadratic(x0, distance, length)
    diagonal = torch.zeros_like(pixels(x0))
    for signs, slope in _looks(x0, distance, squared, slice(None), probes, length):
        diagonal.addcmul_(signs, slope)
    return diagonal.reshape(x0.shape)


class Blocks(NamedTuple):
    """One symmetric positive definite matrix per pixel, `mean`·L·Lᵀ.

    A factor serves for products and for solutions, in half of the memory of a matrix and its inverse.

    Attributes:
        mean: (batch,) of the matrices' diagonals.
        factors: (batch, n(n + 1)/2, pixels) the `upper` triangles of Lᵀ.
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


def blocks(x0: Tensor, distance: Selectable, probes: int, length: float, ridge: float) -> tuple[Tensor, Blocks]:
    """Whether D grows like a square, (batch,), and its Hessian's blocks.

    It takes 2·`probes` distances per channel. `ridge` is added to every eigenvalue, relative to their mean.
    """
    places = pixels(x0)
    squared, channels = torch.zeros_like(places[:, 0, 0], dtype=torch.bool), places.shape[1]
    mean, factors = (
        torch.zeros_like(places[:, 0, 0]),
        x0.new_empty(len(x0), channels * (channels + 1) // 2, places.shape[2]),
    )
    for rows in portions(x0, ENTRIES):
        squared[rows], (mean[rows], factors[rows]) = _blocks(
            x0[rows], distance.select(rows), probes, length, ridge
        )
    return squared, Blocks(mean, factors)


def _blocks(x0: Tensor, distance: Anchored, probes: int, length: float, ridge: float) -> tuple[Tensor, Blocks]:
    squared = quadratic(x0, distance, length)
    columns = list[Tensor]()
    for channel in range(pixels(x0).shape[1]):
        looks = _looks(x0, distance, squared, slice(channel, channel + 1), probes, length)
        column = torch.zeros_like(pixels(x0))
        for signs, slope in looks:
            column.addcmul_(slope, signs.expand_as(slope))
        columns.append(column / (2 * probes * length))
    whole = torch.stack(columns, dim=2)
    whole = whole.add_(whole.transpose(1, 2).clone()).div_(2)
    mean = whole.diagonal(dim1=1, dim2=2).clamp_min(0).flatten(1).mean(dim=1) + TINY
    # a part of the pixels at a time: in float64, those of all take as much memory as fifty images
    parts = [upper(factored(part, mean, ridge)) for part in whole.chunk(PARTS, dim=3)]
    return squared, Blocks(mean, torch.cat(parts, dim=2))


def grows_like_a_square(x0: Tensor, distance: Selectable, length: float) -> Tensor:
    """(batch,) `quadratic` for parts of the originals in turn."""
    return torch.cat([quadratic(x0[rows], distance.select(rows), length) for rows in portions(x0, ENTRIES)])


def quadratic(x0: Tensor, distance: Anchored, length: float) -> Tensor:
    """(batch,) whether D grows like the square of a perturbation, as SSIM's does."""
    signs = _signs(random.keys(x0, 0), x0, 0, length)
    return distance(x0 + length * signs) > 2**1.5 * distance(x0 + length / 2 * signs)


def energy_slope(value: Tensor, slope: Tensor, squared: Tensor) -> Tensor:
    """Gradient of D²/2, from D and its own; of D in the rows, (batch,), where that grows like a square itself."""
    return slope * per_sample(torch.where(squared, 1.0, value), slope)


def _looks(
    x0: Tensor, distance: Anchored, squared: Tensor, moved: slice, probes: int, length: float
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield random signs of the `moved` channels and the slope `length` away along them, both as pixels.

    The slope is that of D²/2 or, where D grows like a square, of D.
    """
    places, keys = pixels(x0)[:, moved], random.keys(x0, 0)
    for number in range(2 * probes):
        signs = _signs(keys, places, number, length)
        step = torch.zeros_like(pixels(x0))
        step[:, moved] = signs
        value, slope = distance.value_and_gradient(x0 + length * step.reshape(x0.shape))
        yield signs, pixels(energy_slope(value, slope, squared))


def _signs(keys: Tensor, places: Tensor, number: int, length: float) -> Tensor:
    """Random signs that stay in the box, in pairs of opposite ones: odd orders cancel."""
    signs = random.signs(keys, places, stream=number // 2) * (-1) ** number
    inside = ((places + length * signs) >= 0) & ((places + length * signs) <= 1)
    return torch.where(inside, signs, -signs)


def factored(given: Tensor, mean: Tensor, ridge: float) -> Tensor:
    """Return Lᵀ of (batch, channels, channels, pixels) matrices `mean`·L·Lᵀ without negative eigenvalues.

    Eigenvalues are those of the `given` ones, at least 0, plus `ridge`·`mean`, (batch,). Hardly a matrix has
    negative ones beyond half the ridge: only of these the eigenvectors are found.
    """
    scale, one = wide(mean)[:, None, None, None], torch.eye(given.shape[1], device=given.device)
    metric = wide(given.permute(0, 3, 1, 2)) / scale + ridge / 2 * one
    indefinite = cast("Tensor", torch.linalg.cholesky_ex(metric).info) > 0
    metric += ridge / 2 * one
    if possibly_any(indefinite):
        values, vectors = cast("tuple[Tensor, Tensor]", torch.linalg.eigh(metric[indefinite]))
        metric[indefinite] = (vectors * values.clamp_min(ridge)[:, None]) @ vectors.transpose(1, 2)
    lower = cast("Tensor", torch.linalg.cholesky(metric))
    return lower.permute(0, 3, 2, 1).to(given.dtype)


def pixels(values: Tensor) -> Tensor:
    """(batch, channels, pixels) of images with up to four channels; otherwise every entry is a pixel."""
    colour = values.ndim >= 3 and values.shape[1] <= 4
    return values.flatten(2) if colour else values.flatten(1)[:, None]


def upper(matrices: Tensor) -> Tensor:
    """(batch, n(n + 1)/2, pixels) rows of the upper triangles of (batch, n, n, pixels) matrices."""
    rows, columns = torch.triu_indices(matrices.shape[1], matrices.shape[2])
    return matrices[:, rows, columns]

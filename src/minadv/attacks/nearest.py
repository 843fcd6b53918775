"""The point of a hyperplane in the box that is nearest to the original: exact in norms, by a model otherwise."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, cast

import torch
from torch import Tensor

from minadv import random
from minadv.attacks.directions import TINY, inner, norm
from minadv.distances.base import Anchored, per_sample
from minadv.masks import possibly_any
from minadv.probe import Probe
from minadv.projections import IMMOBILE, cheapest, wide

# Clipped points reach their plane to this, relatively.
CLOSE = 2e-4
# Squares of a gradient's norm that are smaller are taken for 0.
LEAST = 1e-30
# Blocks are inverted for so many parts of the pixels in turn.
PARTS = 16


class Remembered(NamedTuple):
    """A model of the distance near the last points: where it is smallest, and the weights of entries or pixels."""

    centre: Tensor
    weights: Tensor


# (normal, need, probe, memory) to the nearest point in the box with ⟨normal, x0 − x⟩ = need, and what to remember
Nearest = Callable[[Tensor, Tensor, Probe, Remembered | None], tuple[Tensor, Remembered | None]]


@dataclass(frozen=True, eq=False)
class ByNorm:
    """Nearest in an ℓp norm, p ∈ {1, 2, ∞}."""

    x0: Tensor
    p: float

    def __call__(
        self, normal: Tensor, need: Tensor, _probe: Probe, _remembered: Remembered | None
    ) -> tuple[Tensor, Remembered | None]:
        """Return the nearest point; there is nothing to remember."""
        if self.p == 2:  # in plain steps, which are exact away from the box's faces
            return along(self.x0, normal, normal, need), None
        down = per_sample(need.sign(), normal) * normal  # what must fall, by |need|
        room = torch.where(down > 0, self.x0, self._ceiling)
        gain = down.abs()
        gain *= gain > IMMOBILE
        moves = cheapest(gain.flatten(1), room.flatten(1), need.abs()[:, None], self.p).reshape(normal.shape)
        return (self.x0 - moves.copysign_(down)).clamp_(0, 1), None

    @cached_property
    def _ceiling(self) -> Tensor:
        return 1 - self.x0


@dataclass(frozen=True, eq=False)
class ByWeights:
    """Nearest in any distance, by iteratively reweighted least squares.

    At each point x the distance is replaced by Σ_j a_j·(x′ − x0)_j²/2 with a = ∇D/(x − x0), which has the same
    gradient there; the weights are kept away from 0 and averaged over the steps.
    """

    x0: Tensor
    floor: float = 0.01
    memory: float = 0.8

    def __call__(
        self, normal: Tensor, need: Tensor, probe: Probe, remembered: Remembered | None
    ) -> tuple[Tensor, Remembered | None]:
        """Return the nearest point, and the model to remember."""
        delta, slope = probe.x - self.x0, probe.slope
        weights = slope.abs().add_(self.floor * _typical(slope)) / delta.abs().add_(self.floor * _typical(delta))
        weights /= _typical(weights)
        if remembered is not None:
            weights = remembered.weights.lerp(weights, 1 - self.memory)
        centre = self.x0 if remembered is None else remembered.centre
        centre = centre.lerp(_newton(self.x0, probe.x, slope, slope / weights), 1 - self.memory)
        found = along(centre, normal / weights, normal, need + inner(normal, centre - self.x0))
        return found, Remembered(centre, weights)


@dataclass(frozen=True, eq=False)
class ByMetric:
    """Nearest in any distance, by its Hessian at the original: one block per pixel, rescaled as the search goes.

    The blocks tell how channels compensate each other and how little some pixels count, where weights of single
    entries cannot; they cost a few distances and no model pass. They are those of D² or, where D itself grows with
    the square of the perturbation, of D.

    Attributes:
        ridge: what is added to every eigenvalue, relative to their mean.
        floor: stabilises the factors by which pixels far from the original count more or less than at it.
        memory: of those factors, over the steps.
        probes: pairs of random signs that tell a block from its neighbours; one where pixels are independent.
        length: of a difference between gradients.
    """

    x0: Tensor
    distance: Anchored
    ridge: float = 3e-3
    floor: float = 0.1
    memory: float = 0.8
    probes: int = 4
    length: float = 0.01

    def __call__(
        self, normal: Tensor, need: Tensor, probe: Probe, remembered: Remembered | None
    ) -> tuple[Tensor, Remembered | None]:
        """Return the nearest point, and the model, its blocks' factors, to remember."""
        squared, metric, inverse = self._model
        delta = _pixels(probe.x - self.x0)
        slope = _pixels(probe.slope) * torch.where(squared, 1.0, probe.distance)[:, None, None]
        here = (delta * _times(metric, delta)).sum(dim=1, keepdim=True)
        floor = self.floor * here.mean(dim=2, keepdim=True).clamp_min(TINY)
        factors = ((delta * slope).sum(dim=1, keepdim=True).clamp_min(0) + floor) / (here + floor)
        factors = factors.clamp(0.3, 100.0)
        if remembered is not None:
            factors = remembered.weights.lerp(factors, 1 - self.memory)
        direction, back = (
            (_times(inverse, values) / factors).reshape(normal.shape) for values in (_pixels(normal), slope)
        )
        centre = self.x0 if remembered is None else remembered.centre
        centre = centre.lerp(_newton(self.x0, probe.x, slope.reshape(normal.shape), back), 1 - self.memory)
        found = along(centre, direction, normal, need + inner(normal, centre - self.x0))
        return found, Remembered(centre, factors)

    @cached_property
    def _model(self) -> tuple[Tensor, Tensor, Tensor]:
        """Whether D grows like a square, (batch,); blocks and inverses, (batch, channels, channels, pixels)."""
        squared = quadratic(self.x0, self.distance, self.length)
        columns = list[Tensor]()
        for channel in range(_pixels(self.x0).shape[1]):
            looks = _looks(self.x0, self.distance, squared, slice(channel, channel + 1), self.probes, self.length)
            column = torch.zeros_like(_pixels(self.x0))
            for signs, slope in looks:
                column.addcmul_(slope, signs.expand_as(slope))
            columns.append(column / (2 * self.probes * self.length))
        blocks = torch.stack(columns, dim=2)
        columns.clear()
        blocks = blocks.add_(blocks.transpose(1, 2).clone()).div_(2)
        typical = blocks.diagonal(dim1=1, dim2=2).clamp_min(0).flatten(1).mean(dim=1) + TINY
        # a part of the pixels at a time: in float64, those of all take as much memory as fifty images
        parts = [definite(part, typical, self.ridge) for part in blocks.chunk(PARTS, dim=3)]
        metric, inverse = (torch.cat([part[i] for part in parts], dim=3) for i in (0, 1))
        return squared, metric, inverse


def _newton(x0: Tensor, x: Tensor, slope: Tensor, back: Tensor) -> Tensor:
    """Where a Newton step from x sees the smallest distance, by its gradient `slope` there.

    Where the model of the distance is right, that is the original. Where it is not, a search around the original
    would end where the model's gradient is parallel to the normal; around the average of these points, only where
    the distance's own is. `back` is the model's inverse times `slope`, up to a factor, which x − x0 decides.
    """
    part, own = inner(x - x0, slope).clamp_min(0), inner(back, slope)
    length = torch.where(own > 0, part / own.clamp_min(LEAST), 0.0)
    return torch.addcmul(x, per_sample(length, x), back, value=-1)


def units(x0: Tensor, distance: Anchored, probes: int = 4, length: float = 0.01, ridge: float = 3e-3) -> Tensor:
    """(batch, ...) how far entries move at equal distance, by the Hessian's diagonal at the original; RMS 1.

    It takes 2·`probes` distances. `ridge`, relative to the diagonal's mean, bounds the largest.
    """
    squared = quadratic(x0, distance, length)
    looks = _looks(x0, distance, squared, slice(None), probes, length)
    diagonal = torch.zeros_like(_pixels(x0))
    for signs, slope in looks:
        diagonal.addcmul_(signs, slope)
    diagonal = diagonal.clamp_(min=0).reshape(x0.shape)
    mean = per_sample(diagonal.flatten(1).mean(dim=1) + TINY, x0)
    free = diagonal.add_(ridge * mean).rsqrt_()
    return free.div_(per_sample(_typical(free), x0))


def quadratic(x0: Tensor, distance: Anchored, length: float) -> Tensor:
    """(batch,) whether D grows like the square of a perturbation, as SSIM's does."""
    signs = _signs(x0, x0, 0, length)
    return distance(x0 + length * signs) > 2**1.5 * distance(x0 + length / 2 * signs)


def _looks(
    x0: Tensor, distance: Anchored, squared: Tensor, moved: slice, probes: int, length: float
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield random signs of the `moved` channels and the slope `length` away along them, both as pixels.

    The slope is that of D²/2 or, where D grows like a square, of D.
    """
    places = _pixels(x0)[:, moved]
    for number in range(2 * probes):
        signs = _signs(x0, places, number, length)
        step = torch.zeros_like(_pixels(x0))
        step[:, moved] = signs
        value, slope = distance.value_and_gradient(x0 + length * step.reshape(x0.shape))
        yield signs, _pixels(slope * per_sample(torch.where(squared, 1.0, value), slope))


def _signs(x0: Tensor, places: Tensor, number: int, length: float) -> Tensor:
    """Random signs that stay in the box, in pairs of opposite ones: odd orders cancel."""
    signs = random.normal(random.keys(x0, 0), places, stream=number // 2).sign() * (-1) ** number
    inside = ((places + length * signs) >= 0) & ((places + length * signs) <= 1)
    return torch.where(inside, signs, -signs)


def along(x0: Tensor, direction: Tensor, normal: Tensor, need: Tensor, rounds: int = 4) -> Tensor:
    """Return x0 − θ·direction, clipped to the box, with ⟨normal, x0 − x⟩ = need up to a few corrections of θ."""
    theta = need / inner(normal, direction).clamp_min(TINY)
    x = _moved(x0, theta, direction)
    for _ in range(rounds):
        reached = inner(normal, x0 - x)
        off = (reached - need).abs() > CLOSE * need.abs()
        if not possibly_any(off):
            break
        correction = torch.where(reached.abs() > TINY, need / reached, 1.0).clamp(0.5, 2)
        theta = torch.where(off, theta * correction, theta)
        x = _moved(x0, theta, direction)
    return x


def _moved(x0: Tensor, theta: Tensor, direction: Tensor) -> Tensor:
    return torch.addcmul(x0, per_sample(theta, x0), direction, value=-1).clamp_(0, 1)


def _pixels(values: Tensor) -> Tensor:
    """(batch, channels, pixels) of images with up to four channels; otherwise every entry is a pixel."""
    colour = values.ndim >= 3 and values.shape[1] <= 4
    return values.flatten(2) if colour else values.flatten(1)[:, None]


def _times(blocks: Tensor, vectors: Tensor) -> Tensor:
    """Multiply pixel by pixel, one channel after the other: the order of the sum does not depend on the batch."""
    result = blocks[:, :, 0] * vectors[:, :1]
    for c in range(1, vectors.shape[1]):
        result.addcmul_(blocks[:, :, c], vectors[:, c : c + 1])
    return result


def definite(blocks: Tensor, typical: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """Return (batch, channels, channels, pixels) matrices without negative eigenvalues, and `typical`·inverses.

    Eigenvalues are those of `blocks`, at least 0, plus `ridge`·`typical`. Hardly a block has negative ones beyond
    half the ridge: only of these the eigenvectors are found.
    """
    scale, one = wide(typical)[:, None, None, None], torch.eye(blocks.shape[1], device=blocks.device)
    metric = wide(blocks.permute(0, 3, 1, 2)) + ridge / 2 * scale * one
    indefinite = cast("Tensor", torch.linalg.cholesky_ex(metric).info) > 0
    metric += ridge / 2 * scale * one
    if possibly_any(indefinite):
        least = ridge * scale.expand_as(metric)[indefinite][:, :, 0]
        values, vectors = cast("tuple[Tensor, Tensor]", torch.linalg.eigh(metric[indefinite]))
        metric[indefinite] = (vectors * torch.maximum(values, least)[:, None]) @ vectors.transpose(1, 2)
    inverse = scale * cast("Tensor", torch.linalg.inv(metric))
    return metric.permute(0, 2, 3, 1).to(blocks.dtype), inverse.permute(0, 2, 3, 1).to(blocks.dtype)


def _typical(values: Tensor) -> Tensor:
    """Root mean square of each sample."""
    return per_sample(norm(values, 2) / values[0].numel() ** 0.5, values).clamp_min(TINY)

"""A distance's Hessian at the original, by differences of its gradients: no model pass, and once a run.

It is that of D²/2 or, where D itself grows like the square of a perturbation, of D: here its diagonal, in
`blocks.py` one block per pixel.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from minadv import random
from minadv.attacks.directions import TINY, inner, typical
from minadv.distances.base import Anchored, Selectable
from minadv.distances.portions import portions
from minadv.shapes import per_sample

# The distance is differentiated for so many entries at a time, on a CPU.
ENTRIES = 2**16
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
    for look in looks_around(x0, distance, slice(None), looks, length):
        diagonal.addcmul_(look.moves, look.slope)
    return diagonal.reshape(x0.shape)


def grows_like_a_square(x0: Tensor, distance: Selectable, length: float) -> Tensor:
    """(batch,) `quadratic` for parts of the originals in turn."""
    return torch.cat([quadratic(x0[rows], distance.select(rows), length) for rows in portions(x0, ENTRIES)])


def quadratic(x0: Tensor, distance: Anchored, length: float) -> Tensor:
    """(batch,) whether D grows like the square of a perturbation, as SSIM's does."""
    return next(looks_around(x0, distance, slice(None), 1, length)).squared


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


def looks_around(
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


def pixels(values: Tensor) -> Tensor:
    """(batch, channels, pixels) of images with up to four channels; otherwise every entry is a pixel."""
    colour = values.ndim >= 3 and values.shape[1] <= 4
    return values.flatten(2) if colour else values.flatten(1)[:, None]

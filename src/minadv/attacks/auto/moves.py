"""Random moves of the best answer, without gradients: what is left to find where these are masked."""

import math
from typing import Protocol

import torch
from torch import Tensor

from minadv import random
from minadv.attacks.directions import TINY, norm
from minadv.masks import overwrite, possibly_any
from minadv.oracle import Oracle
from minadv.projections import l0_ball
from minadv.shapes import per_sample

# Moves are tried so much nearer to the original than the best answer, relatively.
NEARER = 2e-3
# Side of the first windows, relative to the image's; the last ones are single pixels.
WINDOW = 0.28
# An entry is changed that holds at least this share of the largest change.
SLIGHT = 0.02
# Share of the moves to another entry, at ℓ0, that go to the next pixel; the others go anywhere.
NEXT = 0.8
# Random numbers of a move, and their first stream, beyond those of explorations.
NUMBERS, STREAM = 4, 1 << 16


class Move(Protocol):
    """What is tried next."""

    def __call__(self, delta: Tensor, radius: Tensor, numbers: Tensor, left: float, /) -> Tensor:
        """Return another perturbation.

        Args:
            delta: (batch, channels, height, width) perturbations.
            radius: (batch,) their norms.
            numbers: (`NUMBERS`, batch) random ones in (0, 1).
            left: share of the moves that are left.
        """
        ...


def move_about(oracle: Oracle, steps: int, p: float, confidence: float, live: Tensor) -> None:
    """Move the best answers of the `live` samples, which all have one, at random: a forward a step, no backward.

    A move is made a little nearer to the original than the best answer, and kept where it lowers the margin. What
    becomes adversarial by that is the best answer, and the next moves start from there, nearer still.

    Args:
        oracle: of a batch.
        steps: forwards.
        p: order of the norm: 0, 1, 2 or ∞.
        confidence: of the margin.
        live: (batch,) bool.
    """
    if not possibly_any(live):
        return
    x0, x = oracle.originals, oracle.best.clone()
    move = {0: exchange, math.inf: window}.get(p, rearrangement)
    margin = torch.full_like(oracle.best_distance, torch.inf)  # before x itself was seen, as near as the moves are
    for i in oracle.steps(steps):
        best = oracle.best_distance
        radius = torch.where(live, (1 - NEARER) * best, 0.0)
        numbers = random.uniform(oracle.keys, NUMBERS, STREAM + i).T
        delta = x - x0
        moved = move(as_planes(delta), radius, numbers, 1 - i / steps).reshape(x.shape)
        overwrite(delta, margin < torch.inf, moved)
        tried = oracle.clip_(within(delta, radius, p).add_(x0))
        probe = oracle.probe(oracle.snap(tried), live, differentiate=False)
        seen = oracle.goal.margin(probe.logits, confidence)
        lower = live & (seen < margin)
        overwrite(x, lower, tried)
        # on a grid, what is tried may be the best answer itself
        margin = torch.where(lower, seen, margin).masked_fill(
            probe.adversarial & (probe.distance < best), torch.inf
        )


def within(delta: Tensor, radius: Tensor, p: float) -> Tensor:
    """Cut perturbations to this norm at ℓ∞, leave out their smallest entries at ℓ0, and scale them otherwise."""
    if p == 0:
        return l0_ball(delta, radius)
    if p == math.inf:
        bound = per_sample(radius, delta)
        return torch.minimum(torch.maximum(delta, -bound), bound)
    return delta * per_sample(radius / norm(delta, p).clamp_min(TINY), delta)


def window(delta: Tensor, radius: Tensor, numbers: Tensor, left: float) -> Tensor:
    """Change all entries of a square as far as possible, a channel in one direction: of use at ℓ∞."""
    _, channels, height, width = delta.shape
    side = max(round(left * WINDOW * (height * width) ** 0.5), 1)
    rows, columns = _places(numbers[0], height, side), _places(numbers[1], width, side)
    bits = (numbers[2] * 2**16).to(torch.int64)[:, None] >> torch.arange(channels, device=delta.device) % 16
    signs = per_sample(radius, delta) * (2 * (bits % 2) - 1).to(delta.dtype)[:, :, None, None]
    return torch.where(rows[:, None, :, None] & columns[:, None, None, :], signs, delta)


def rearrangement(delta: Tensor, _radius: Tensor, numbers: Tensor, _left: float) -> Tensor:
    """Leave a changed entry out, move it by a pixel, or give it another size: of use at ℓ1 and ℓ2."""
    which, kind, amount, direction = numbers
    flat = delta.flatten(1)
    entry = _changed(flat, which)
    value = flat.gather(1, entry)
    leaves, moves = (kind < 2 / 3)[:, None], (kind < 1 / 3)[:, None]
    flat = flat.scatter(1, entry, torch.where(leaves, 0.0, (0.5 + amount)[:, None] * value))
    there = _beside(entry, direction, delta.shape)
    return flat.scatter(1, there, torch.where(moves, value, flat.gather(1, there))).reshape(delta.shape)


def exchange(delta: Tensor, _radius: Tensor, numbers: Tensor, _left: float) -> Tensor:
    """Change another entry, to the same face of the box, in a changed one's place: of use at ℓ0."""
    which, kind, place, direction = numbers
    flat = delta.flatten(1)
    entry = _changed(flat, which)
    anywhere = (place * flat.shape[1]).long()[:, None]
    there = torch.where((kind < NEXT)[:, None], _beside(entry, direction, delta.shape), anywhere)
    face = flat.gather(1, entry).sign()
    return flat.scatter(1, entry, 0.0).scatter(1, there, face).reshape(delta.shape)


def as_planes(x: Tensor) -> Tensor:
    """(batch, channels, height, width) of images; other data are a row of entries."""
    return x.reshape(len(x), -1, *x.shape[-2:]) if x.ndim > 2 else x.reshape(len(x), 1, 1, -1)


def _changed(flat: Tensor, which: Tensor) -> Tensor:
    """(batch, 1) the entry that `which`, (batch,) in (0, 1), draws among those of (batch, entries) changes."""
    changed = (flat.abs() > SLIGHT * norm(flat, math.inf)[:, None]).cumsum(dim=1)
    nth = (which * changed[:, -1]).floor()
    return (changed > nth[:, None]).to(torch.uint8).argmax(dim=1, keepdim=True)


def _beside(entry: Tensor, direction: Tensor, shape: torch.Size) -> Tensor:
    """(batch, 1) one of the eight entries around an entry of planes, or itself at an edge."""
    *_, height, width = shape
    around = (8 * direction[:, None]).long()
    around += around >= 4  # of nine places, the middle one is its own
    row = (entry // width % height + around // 3 - 1).clamp(0, height - 1)
    column = (entry % width + around % 3 - 1).clamp(0, width - 1)
    return entry // (height * width) * (height * width) + row * width + column


def _places(number: Tensor, length: int, side: int) -> Tensor:
    """(batch, length) which rows or columns a window of this side holds, which begins anywhere inside."""
    first = (number * (length - min(side, length) + 1)).floor()[:, None]
    places = torch.arange(length, device=number.device)
    return (places >= first) & (places < first + side)

"""Exact Euclidean projections on ℓp balls (and the box), and smallest steps to a hyperplane inside the box.

Thresholds are found exactly, by Newton's method or by sorting breakpoints. A row's result does not depend on
the other rows of its batch, not even in rounding, which is why rows are totalled by prefix sums: with several
threads, plain sums of a single row are split.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad, threshold

from minadv import host, largest
from minadv.elementwise import clip
from minadv.masks import possibly_any
from minadv.rounding import steady
from minadv.shapes import Batch, PerSample, per_sample

# Entries of a hyperplane's normal below this never move (FAB): their moves could not be told from rounding.
IMMOBILE = 1e-8
# Ends a loop that ends by itself on a CPU: real data takes about seven steps.
NEWTON_STEPS = 64
# The bracket's width falls to that of rounding, in float32 after 24 and in float64 after 53 of them.
HALVINGS = {torch.float32: 26, torch.float64: 55}
# Hyperplanes are crossed for so many entries at a time, on a CPU.
ENTRIES = 2**17
# torch's grain size: the least work that a thread is given
UNSPLIT = 2**15


def ball(p: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the projection `(delta, radius) -> delta` on ℓp balls.

    Raises:
        ValueError: unless p is 0, 1, 2 or ∞.
    """
    known: dict[float, Callable[[Tensor, Tensor], Tensor]]
    known = {0: l0_ball, 1: l1_ball, 2: l2_ball, math.inf: linf_ball}
    if p not in known:
        raise ValueError(f"no projection on balls of p={p}: p must be 0, 1, 2 or math.inf")
    return known[p]


def l0_ball(delta: Batch, radius: PerSample) -> Batch:
    """Keep the ⌊radius⌋ entries of largest magnitude of each row, of equal ones the first."""
    rows = delta.flatten(1)
    size, count = rows.abs(), radius.clamp(0, rows.shape[1]).long()[:, None]
    least = largest.nth(size, count.clamp_min(1))
    kept = size.ge_(least)
    if possibly_any(kept.sum(dim=1, keepdim=True, dtype=torch.float32) > count):  # half precision cannot count
        above = rows.abs() > least
        room = count - above.sum(dim=1, keepdim=True)
        kept *= above | ((kept > above).cumsum(dim=1) <= room)
    return torch.mul(rows, kept, out=kept).reshape(delta.shape)


def l1_ball(delta: Batch, radius: PerSample) -> Batch:
    """Project each row on the ℓ1 ball: soft threshold, unchanged inside (Duchi et al., ICML 2008)."""
    size = delta.abs()
    bound = per_sample(soft_threshold(size.flatten(1), radius), size)
    # what is cut off is subtracted: faster than to give a shrunk size its sign
    return torch.sub(delta, clip(delta, bound, out=size), out=size)


def soft_threshold(size: Batch, radius: PerSample) -> PerSample:
    """Smallest τ ≥ 0 with Σ_j max(size_j − τ, 0) ≤ radius, for (batch, entries) of size ≥ 0.

    The sum is convex and piecewise linear in τ: Newton's method climbs to the root from the left, and is there as
    soon as a step drops no entry. That takes a handful of passes, where sorting takes a dozen; no row does more
    than all of its own steps, however long the others need. The first step starts at the root for exponentially
    distributed sizes: from the right of the root it leads to its left.
    """
    mass = total(size)
    outside = mass > radius
    guess = mass / size.shape[1] * steady(torch.log, mass / radius)
    tau = torch.where(outside & (guess < torch.inf), guess, 0.0)
    mass, count = _above(size, tau, torch.empty_like(size))
    first = (tau + (mass - radius) / count.clamp_min(1)).clamp_min(0)
    tau = torch.where(outside & (count > 0), first, 0.0)
    return _climb(size, radius, tau, torch.full_like(radius, size.shape[1] + 1.0))


def _climb(size: Tensor, radius: Tensor, tau: Tensor, last: Tensor) -> Tensor:
    """Newton's method from the left of the root; `last` is how many entries were above the last τ."""
    scratch = torch.empty_like(size)
    for _ in range(NEWTON_STEPS):
        mass, count = _above(size, tau, scratch)
        climbing = count < last
        left = int(torch.count_nonzero(climbing)) if host.has(size) else len(size)
        if not left:
            break
        ahead = torch.maximum(tau, tau + (mass - radius) / count.clamp_min(1))
        tau, last = torch.where(climbing, ahead, tau), count
        if left < len(size) / 2:  # the others are there
            rows = torch.nonzero(climbing).flatten()
            return tau.index_copy(0, rows, _climb(size[rows], radius[rows], tau[rows], last[rows]))
    return tau


def _above(size: Tensor, tau: Tensor, scratch: Tensor) -> tuple[Tensor, Tensor]:
    """Σ_j max(size_j − τ, 0), and how many of the entries are above τ."""
    torch.sub(size, tau[:, None], out=scratch).clamp_min_(0)
    return total(scratch), total(scratch.sign_())


def l2_ball(delta: Batch, radius: PerSample) -> Batch:
    """Scale each row down to the ℓ2 ball, unchanged inside."""
    squares = delta.flatten(1).square()
    norm = total(squares).sqrt_()
    scale = torch.where(norm > radius, radius / norm, 1.0)
    return torch.mul(delta, per_sample(scale, delta), out=squares.reshape(delta.shape))


def linf_ball(delta: Batch, radius: PerSample) -> Batch:
    """Clip each entry to ±radius."""
    return clip(delta, per_sample(radius, delta))


def l1_ball_box(delta: Batch, radius: PerSample, x0: Batch) -> Batch:
    """Project each row on the ℓ1 ball and on x0 + δ ∈ [0, 1] at once (Croce & Hein, *Mind the box*, ICML 2021).

    Entries become sign(δ)·clamp(|δ| − λ, 0, room) with the smallest λ ≥ 0 that brings their sum to the radius.
    """
    rows, start, bound = delta.flatten(1), x0.flatten(1), radius[:, None]
    size, room = rows.abs(), torch.lerp(start, 1 - start, rows.sign().clamp_min_(0))
    lam = _shrinkage(size, room, bound)
    # λ's last digit must not leave anything at radius 0
    kept = torch.minimum(size.sub_(lam).clamp_min_(0), room, out=room).mul_(bound > 0)
    return kept.copysign_(rows).reshape(delta.shape)


def _shrinkage(size: Tensor, room: Tensor, radius: Tensor) -> Tensor:
    """Smallest λ ≥ 0 with h(λ) = Σ_j min(max(size_j − λ, 0), room_j) ≤ radius, (batch, 1).

    Halving brackets λ so closely that h is a straight line in between, up to rounding.
    """
    kept = torch.empty_like(size)

    def mass(lam: Tensor) -> Tensor:
        torch.sub(size, lam, out=kept).clamp_min_(0)
        return total(torch.minimum(kept, room, out=kept))[:, None]

    low, high = torch.zeros_like(radius), size.amax(dim=1, keepdim=True)
    at_low, at_high = mass(low), torch.zeros_like(radius)
    fits = at_low <= radius
    for _ in range(HALVINGS.get(size.dtype, 26)):
        middle = (low + high) / 2
        at_middle = mass(middle)
        above = at_middle > radius
        low, at_low = torch.where(above, middle, low), torch.where(above, at_middle, at_low)
        high, at_high = torch.where(above, high, middle), torch.where(above, at_high, at_middle)
    fall = at_low - at_high
    share = torch.where(fall > 0, (at_low - radius) / torch.where(fall > 0, fall, 1.0), 1.0).clamp(0, 1)
    return torch.where(fits, 0.0, torch.lerp(low, high, share))


def hyperplane_box(x: Batch, w: Batch, b: PerSample, p: float) -> Batch:
    """Return the displacement d of smallest ℓp norm with ⟨w, x + d⟩ = b and x + d ∈ [0, 1], p ∈ {1, 2, ∞}.

    Where the box does not reach the hyperplane, x + d is the corner nearest to it in ⟨w, ·⟩ (Croce & Hein, *FAB*,
    ICML 2020). `b` may be float64 for float32 images: near the hyperplane its rounding is what limits d.

    Raises:
        ValueError: unless p is 1, 2 or ∞.
    """
    if p not in (1, 2, math.inf):
        raise ValueError(f"no projection on hyperplanes for p={p}: p must be 1, 2 or math.inf")
    # a few images at a time: float64 copies of all would take the memory of a dozen batches
    size = max(ENTRIES // x.shape[1:].numel(), 1) if x.device.type == "cpu" else max(len(x), 1)
    rows = [slice(first, first + size) for first in range(0, max(len(x), 1), size)]
    return torch.cat([_across(x[some], w[some], b[some], p) for some in rows])


def _across(x: Tensor, w: Tensor, b: Tensor, p: float) -> Tensor:
    start, normal = wide(x.flatten(1)), wide(w.flatten(1))
    residual = (total(normal * start) - wide(b))[:, None]
    if p == 1:
        return (largest_first(start, normal, residual) - start).to(x.dtype).reshape(x.shape)
    normal = torch.where(residual < 0, -normal, normal)  # now ⟨normal, ·⟩ must fall by |residual|
    gain = normal.abs()
    mobile = gain > IMMOBILE
    gain = gain * mobile
    room = torch.where(normal > 0, start, 1 - start).clamp_min(0) * mobile
    move = cheapest(gain, room, residual.abs(), p)
    return (-normal.sign() * move).to(x.dtype).reshape(x.shape)


def largest_first(start: Tensor, normal: Tensor, need: Tensor, few: int | None = None) -> Tensor:
    """Return the point of smallest ℓ1 distance in the box with ⟨normal, start − x⟩ = need, or its corner.

    `start` and `normal` are (batch, entries), `need` is (batch, 1). Entries move to the face of the box, those of
    the largest |normal| first, until that is enough: the `few` largest are looked for, and more in rows, and only
    in those, where these are not enough.
    """
    few = min(few or largest.first_few(normal), normal.shape[1])
    gain, order = largest.top(normal.abs(), few)
    gain = threshold(gain, IMMOBILE, 0.0)
    here, falls = start.gather(1, order), normal.gather(1, order) * need.sign()
    room = torch.where(falls > 0, here, 1 - here)
    used = gain * room
    left = need.abs() - _before(used)
    lacks = torch.nonzero(left[:, -1] > used[:, -1]).flatten() if few < normal.shape[1] else order[:0, 0]
    moves = torch.where(gain > 0, torch.minimum((left / gain).clamp_min_(0), room), 0.0)
    x = start.scatter(1, order, (here - moves.copysign_(falls)).clamp_(0, 1))
    if len(lacks):
        x[lacks] = largest_first(start[lacks], normal[lacks], need[lacks], largest.more(normal, few))
    return x


def cheapest(gain: Tensor, room: Tensor, need: Tensor, p: float) -> Tensor:
    """Return moves 0 ≤ u ≤ room of smallest ℓp norm with Σ gain·u = need, or room if not enough, p ∈ {2, ∞}.

    `gain` ≥ 0 and `room` ≥ 0 are (batch, entries), `need` ≥ 0 is (batch, 1). Moves are u = min(θ·speed, room), of
    speed `gain` at ℓ2 and 1 at ℓ∞: Σ gain·u is concave and piecewise linear in θ. Newton's method climbs to the
    root from the left, and is there as soon as a step brings no further entry to its room.
    """
    speed = gain if p == 2 else gain.sign()
    theta, last = torch.zeros_like(need), torch.full_like(need, gain.shape[1] + 1.0)
    rate, move, scratch = gain * speed, torch.zeros_like(room), torch.empty_like(room)
    for _ in range(NEWTON_STEPS):
        left = need - total(torch.mul(gain, move, out=scratch))[:, None]
        free = torch.sub(room, move, out=scratch).sign_()
        count = total(free)[:, None]
        climbing = (count < last) & (left > 0)
        if not possibly_any(climbing):
            break
        slope = total(free.mul_(rate))[:, None]
        theta = torch.where(climbing & (slope > 0), theta + left / torch.where(slope > 0, slope, 1.0), theta)
        torch.minimum(torch.mul(theta, speed, out=move), room, out=move)
        last = count
    short = total(torch.mul(gain, room, out=scratch))[:, None] <= need
    return torch.where(short, room, move) if possibly_any(short) else move


def _before(rows: Tensor) -> Tensor:
    """Sum all earlier entries of the row."""
    return pad(rows[:, :-1].cumsum(dim=1), (1, 0))


def total(rows: Tensor) -> Tensor:
    """Sum of each row of (batch, entries), in the same order whatever the batch."""
    # plain sums of fewer entries than this are never split over threads
    return rows.sum(dim=1) if rows.shape[1] < UNSPLIT else rows.cumsum(dim=1)[:, -1]


def wide(values: Tensor) -> Tensor:
    """In float64, where the device has it: prefix sums over 150,000 entries cancel too much in float32."""
    return values if values.device.type == "mps" else values.double()

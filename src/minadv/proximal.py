"""Proximal operators: for each row of v, the q that minimises weight·norm(q) + ½‖q − v‖₂²."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from minadv.elementwise import clip
from minadv.projections import l1_ball, total, wide
from minadv.rounding import steady
from minadv.shapes import Batch, PerSample, per_sample

# ℓ_{2/3} with weight 1: smaller entries become 0, this one is worth as much at 0 as at half its value.
L23_SWITCH = 2 * (2 / 3) ** 0.75
# From here on, the operator takes away less than rounding does.
L23_LINEAR = 1e9


def of(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the operator `(v, weight) -> q` of l0, l1, l2, linf or l23.

    Raises:
        ValueError: for any other name.
    """
    known: dict[str, Callable[[Tensor, Tensor], Tensor]]
    known = {"l0": l0, "l1": l1, "l2": l2, "linf": linf, "l23": l23}
    if name not in known:
        raise ValueError(f"no proximal operator {name!r}: choose from {', '.join(known)}")
    return known[name]


def l0(v: Batch, weight: PerSample) -> Batch:
    """Keep entries with v² ≥ 2·weight (hard threshold)."""
    return torch.where(v.square() >= 2 * per_sample(weight, v), v, 0.0)


def l0_pixels(v: Batch, weight: PerSample) -> Batch:
    """Keep pixels of (batch, channels, ...) whose largest channel has v² ≥ 2·weight, as PDPGD's published code.

    With one axis per sample, every entry is a pixel. Counting pixels exactly would compare Σ_channels v².
    """
    largest = v.abs() if v.ndim == 2 else v.abs().amax(dim=1, keepdim=True)
    return torch.where(largest.square() >= 2 * per_sample(weight, v), v, 0.0)


def l1(v: Batch, weight: PerSample) -> Batch:
    """Move every entry towards 0 by the weight (soft threshold)."""
    return v - clip(v, per_sample(weight, v))


def l2(v: Batch, weight: PerSample) -> Batch:
    """Shorten each row by the weight."""
    norm = total(wide(v.flatten(1)).square()).sqrt()
    return (v * per_sample(_shortening(norm, weight), v)).to(v.dtype)


def linf(v: Batch, weight: PerSample) -> Batch:
    """Clip the largest entries, by `weight` in total (Moreau: what is left of the projection on the ℓ1 ball)."""
    return v - l1_ball(v, weight)


def l23(v: Batch, weight: PerSample) -> Batch:
    """Threshold of Σ|q|^{2/3}, between hard and soft (Cao, Sun & Xu, JVCIR 2013).

    In units of weight^{3/4} the problem has weight 1, hence neither overflow nor cancellation at small weights.
    """
    nu = per_sample(weight, v)
    # powers round by place in float32: they are taken in double precision, whose last digits are dropped again
    unit = steady(lambda positive: positive.pow(0.75), wide(torch.where(weight > 0, weight, 1.0)))
    unit = per_sample(unit.to(v.dtype), v)
    size = v.abs()
    far = (size - L23_LINEAR * unit).clamp_min_(0)  # beyond, the root grows like its argument
    size /= unit
    solution = _l23_root(size.clamp(L23_SWITCH, L23_LINEAR)).mul_(unit).add_(far).mul_(v.sign())
    return torch.where(nu > 0, torch.where(size > L23_SWITCH, solution, 0.0), v)


def _l23_root(s: Tensor) -> Tensor:
    """Largest root q of q + ⅔·q^{−1/3} = s: q^{1/3} solves a quartic, whose resolvent cubic has the root B."""
    half = s.square().div_(16)
    cube = half.square().reciprocal_().mul_(-8 / 729).add_(1).sqrt_().add_(1).mul_(half)
    cube = wide(cube).pow(1 / 3).to(s.dtype)
    root = cube.reciprocal().mul_(2 / 9).add_(cube).mul_(2)  # the resolvent's other cube root without cancellation
    side = root.sqrt()
    other = (2 * s).div_(side).sub_(root).sqrt_()
    return other.add_(side).mul_(0.5).pow_(3)


def groups(v: Batch, weight: PerSample, size: int) -> Batch:
    """Shorten each size × size window (with all channels) of (batch, channels, height, width) by the weight.

    Windows do not overlap; the last ones are smaller where `size` does not divide the sides (StrAttack).
    """
    squares = wide(v).square().sum(dim=1, keepdim=True)
    norm = avg_pool2d(squares, size, ceil_mode=True, divisor_override=1).sqrt()
    scale = _shortening(norm, per_sample(weight, norm))
    scale = scale.repeat_interleave(size, dim=2).repeat_interleave(size, dim=3)
    return (v * scale[..., : v.shape[2], : v.shape[3]]).to(v.dtype)


def _shortening(norm: Tensor, weight: Tensor) -> Tensor:
    """Factor max(0, 1 − weight/norm), 0 where both are 0."""
    longer = norm > weight
    return torch.where(longer, 1 - weight / torch.where(longer, norm, 1.0), 0.0)

"""Counter-based random numbers: a sample's noise depends on the seed and on that sample alone.

A generator object draws for a whole batch, so that a sample's numbers change with its batch-mates. Here every
sample gets a 64-bit key from its own content and the seed, and number j of a sample is a hash of (key, j):
vectorised, on any device, and the global generator is never touched. The hash is splitmix64's finaliser
(Steele, Lea, Flood 2014).
"""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from minadv.shapes import per_sample

Keys = Int64[Tensor, " batch"]

# 64-bit constants as the signed integers that torch computes with (modulo 2⁶⁴)
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2 = 0x94D049BB133111EB - 2**64


def _shift(bits: Tensor, by: int) -> Tensor:
    """Logical (zero-filling) right shift."""
    return (bits >> by).bitwise_and_((1 << (64 - by)) - 1)


def _signed(number: int) -> int:
    """Wrap an integer to 64 bits, two's complement."""
    return (number + 2**63) % 2**64 - 2**63


def _mix(bits: Tensor) -> Tensor:
    bits = _shift(bits, 30).bitwise_xor_(bits).mul_(_MIX_1)
    bits = _shift(bits, 27).bitwise_xor_(bits).mul_(_MIX_2)
    return _shift(bits, 31).bitwise_xor_(bits)


def keys(samples: Float[Tensor, "batch ..."], seed: int) -> Keys:
    """One key per sample, from its float32 content and the seed: equal for equal samples, wherever they stand."""
    values = samples.detach().flatten(1).to(torch.float32) + 0.0  # where −0 becomes 0, which it is equal to
    bits = values.contiguous().view(torch.int32).to(torch.int64)
    places = torch.arange(bits.shape[1], device=bits.device) * _GOLDEN
    return _mix(_mix(bits + places).sum(dim=1) + _signed(seed * _GOLDEN))


def uniform(key: Keys, count: int, stream: int = 0, skip: int = 0) -> Float[Tensor, "batch {count}"]:
    """`count` float32 numbers in (0, 1) per key, after `skip` others; different streams are independent."""
    counters = torch.arange(skip + 1, skip + count + 1, device=key.device) * _GOLDEN
    bits = _mix(_mix(key + _signed(stream * _MIX_1))[:, None] + counters)
    return _shift(bits, 41).to(torch.float32).add_(0.5).div_(2**23)


def normal(key: Keys, like: Float[Tensor, "batch ..."], stream: int = 0) -> Float[Tensor, "batch ..."]:
    """Gaussian noise of the shape and type of `like` (Box–Muller)."""
    count = like[0].numel()
    first, second = uniform(key, 2 * count, stream).chunk(2, dim=1)
    noise = (-2 * first.log()).sqrt() * torch.cos(2 * math.pi * second)
    return noise.reshape(like.shape).to(like.dtype)


def signs(key: Keys, like: Float[Tensor, "batch ..."], stream: int = 0) -> Float[Tensor, "batch ..."]:
    """Signs of `normal`, which are those of its cosines, for a third of the time."""
    count = like[0].numel()
    turn = uniform(key, count, stream, skip=count)
    return turn.sub_(0.5).abs_().sub_(0.25).sign_().reshape(like.shape).to(like.dtype)


def unit(key: Keys, like: Float[Tensor, "batch ..."], stream: int = 0) -> Float[Tensor, "batch ..."]:
    """Random direction of unit ℓ2 norm per sample."""
    noise = normal(key, like, stream)
    squares = noise.flatten(1).square().sum(dim=1)
    return noise / per_sample(squares.sqrt(), like)

"""Colour science: sRGB → CIELAB, with the way back for gradients.

Everything is elementwise on maps of pixels, where memory and branches cost more than arithmetic: conditions are
numbers (`step`) instead of `torch.where`, which is ten times slower than a product on CPUs.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from minadv.elementwise import heaviside_, line

Pixels = Float[Tensor, "batch 3 height width"]
Map = Float[Tensor, "batch height width"]

# sRGB: linear below the knee, a power above
KNEE, LINEAR = 0.04045, 1 / 12.92


@dataclass(frozen=True)
class LabSpace:
    """How XYZ is formed from linear RGB and companded to Lab: f(t) = ∛t above `threshold`, else linear."""

    xyz_from_rgb: tuple[tuple[float, float, float], ...]
    white: tuple[float, float, float]
    threshold: float
    slope: float


# Colour-science correct, with the constants of skimage.color.rgb2lab (CIE 1931, 2°, D65).
D65 = LabSpace(
    ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227)),
    white=(0.95047, 1.0, 1.08883),
    threshold=0.008856,
    slope=7.787,
)

# The ALMA paper's eqs. 13–15 as its code has them: XYZ in [0, 1] over a white point scaled to Yn = 100,
# which gives white an L* of 8.99. Kept to reproduce the paper's numbers.
PAPER = LabSpace(
    (
        (0.4124564, 0.3575761, 0.1804375),
        (0.2126729, 0.7151522, 0.0721750),
        (0.0193339, 0.1191920, 0.9503041),
    ),
    white=(95.0489, 100.0, 108.8840),
    threshold=(6 / 29) ** 3,
    slope=1 / (3 * (6 / 29) ** 2),
)


def lab(rgb: Pixels, space: LabSpace = D65) -> Pixels:
    """SRGB in [0, 1] → L*, a*, b* (channels in that order)."""
    return lab_and_slopes(rgb, space, differentiate=False)[0]


def lab_and_pullback(rgb: Pixels, space: LabSpace = D65) -> tuple[Pixels, Callable[[Pixels], Pixels]]:
    """Return L*, a*, b*, and the function from a gradient by them to one by `rgb`."""
    colours, by_rgb, by_t = lab_and_slopes(rgb, space, differentiate=True)

    def pullback(gradient: Pixels) -> Pixels:
        L, a, b = gradient.unbind(1)
        by_f = torch.empty_like(gradient)
        x, y, z = by_f.unbind(1)
        torch.mul(a, 500, out=x)
        torch.mul(b, -200, out=z)
        torch.mul(L, 116, out=y).sub_(x).sub_(z)
        return _mix(_matrix(rgb, space).mT, by_f.mul_(by_t)).mul_(by_rgb)

    return colours, pullback


def lab_and_slopes(rgb: Pixels, space: LabSpace, differentiate: bool) -> tuple[Pixels, Tensor, Tensor]:
    """Return L*, a*, b*, and the slopes of both elementwise functions on the way (empty where not asked for).

    These are those from sRGB to linear RGB, and f. From f of x/Xn, y/Yn and z/Zn, L* = 116 f(y) − 16,
    a* = 500 (f(x) − f(y)) and b* = 200 (f(y) − f(z)).
    """
    bright = heaviside_(rgb - KNEE)
    base = line(0.055 / 1.055, rgb, 1 / 1.055)
    power = _power(base, 2.4)
    linear = (rgb * LINEAR).lerp_(power, bright)
    by_rgb, by_t = rgb[:, :0], rgb[:, :0]
    if differentiate:  # slopes of the powers where they are in force, of the lines elsewhere
        by_rgb = torch.div(power, base, out=base).mul_(2.4 / 1.055)
        torch.lerp(rgb.new_full((), LINEAR), by_rgb, bright, out=by_rgb)
    del base, power, bright  # what is freed early need not be taken anew
    t = _mix(_matrix(rgb, space), linear)
    large = heaviside_(t - space.threshold)
    root = _power(t.clamp_min(space.threshold), 1 / 3)
    x, y, z = line(16 / 116, t, space.slope, out=t).lerp_(root, large).unbind(1)
    if differentiate:  # (∛t)′ = 1/(3∛t²)
        by_t = root.square_().mul_(3).reciprocal_()
        torch.lerp(rgb.new_full((), space.slope), by_t, large, out=by_t)
    colours = linear
    L, a, b = colours.unbind(1)
    line(-16, y, 116, out=L)
    torch.sub(x, y, out=a).mul_(500)
    torch.sub(y, z, out=b).mul_(200)
    return colours, by_rgb, by_t


def _power(x: Tensor, exponent: float) -> Tensor:
    """x^exponent of numbers that are not far from 1: a third of the time of `pow`."""
    return x.log2().mul_(exponent).exp2_()


def _matrix(rgb: Pixels, space: LabSpace) -> Tensor:
    """From linear RGB to x/Xn, y/Yn, z/Zn."""
    return rgb.new_tensor(space.xyz_from_rgb) / rgb.new_tensor(space.white)[:, None]


def _mix(matrix: Tensor, planes: Pixels) -> Pixels:
    """Multiply the three channels of each pixel by a matrix."""
    return (matrix @ planes.flatten(2)).view_as(planes)

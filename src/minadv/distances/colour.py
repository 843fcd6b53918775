"""Colour science: sRGB → CIELAB, with the way back for gradients.

Everything is elementwise on maps of pixels, where memory and branches cost more than arithmetic: conditions are
numbers (`step`) instead of `torch.where`, which is ten times slower than a product on CPUs.
"""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

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

# f of x/Xn, y/Yn, z/Zn → L* + 16, a*, b*
LAB_FROM_F = ((0.0, 116.0, 0.0), (500.0, -500.0, 0.0), (0.0, 200.0, -200.0))


def lab(rgb: Pixels, space: LabSpace = D65) -> Pixels:
    """SRGB in [0, 1] → L*, a*, b* (channels in that order)."""
    return lab_and_pullback(rgb, space)[0]


def lab_and_pullback(rgb: Pixels, space: LabSpace = D65) -> tuple[Pixels, Callable[[Pixels], Pixels]]:
    """Return L*, a*, b*, and the function from a gradient by them to one by `rgb`."""
    matrix = rgb.new_tensor(space.xyz_from_rgb) / rgb.new_tensor(space.white)[:, None]
    mixing = rgb.new_tensor(LAB_FROM_F)
    bright = step(rgb - KNEE)
    base = (rgb * (1 / 1.055)).add_(0.055 / 1.055)
    power = base**2.4
    t = _mix(matrix, (rgb * LINEAR).lerp_(power, bright))
    large = step(t - space.threshold)
    root = t.clamp_min(space.threshold).pow_(1 / 3)
    colours = _mix(mixing, (t * space.slope).add_(16 / 116).lerp_(root, large))
    colours[:, 0] -= 16

    def pullback(gradient: Pixels) -> Pixels:
        # slopes of the powers where they are in force, of the lines elsewhere; (∛t)′ = 1/(3∛t²)
        by_t = root.square().reciprocal_().mul_(1 / 3).sub_(space.slope).mul_(large).add_(space.slope)
        by_rgb = (power / base).mul_(2.4 / 1.055).sub_(LINEAR).mul_(bright).add_(LINEAR)
        return _mix(matrix.mT, by_t.mul_(_mix(mixing.mT, gradient))).mul_(by_rgb)

    return colours, pullback


def step(x: Tensor) -> Tensor:
    """1.0 where x > 0, else 0.0."""
    return x.sign().clamp_min_(0)


def _mix(matrix: Tensor, planes: Pixels) -> Pixels:
    """Multiply the three channels of each pixel by a matrix."""
    return (matrix @ planes.flatten(2)).view_as(planes)

"""Colour science: sRGB → CIELAB, and the CIEDE2000 colour difference of Lab pixels."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from minadv.distances.base import safe_sqrt

Pixels = Float[Tensor, "batch 3 height width"]
Map = Float[Tensor, "batch height width"]


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
    knee = 0.04045
    linear = torch.where(rgb > knee, ((rgb.clamp_min(knee) + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    matrix = rgb.new_tensor(space.xyz_from_rgb) / rgb.new_tensor(space.white)[:, None]
    t = torch.einsum("ij,bjhw->bihw", matrix, linear)
    f = torch.where(t > space.threshold, t.clamp_min(space.threshold) ** (1 / 3), space.slope * t + 16 / 116)
    x, y, z = f.unbind(1)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), dim=1)


def squared_ciede2000(lab1: Pixels, lab2: Pixels) -> Map:
    """ΔE₀₀² of each pixel (Sharma, Wu, Dalal 2005; all parametric weights 1).

    Values are exact; gradients are 0 where the formula has none (grey pixels).
    """
    L1, a1, b1 = lab1.unbind(1)
    L2, a2, b2 = lab2.unbind(1)
    chroma = (safe_sqrt(a1.square() + b1.square()) + safe_sqrt(a2.square() + b2.square())) / 2
    stretch = 1 + (1 - _seventh(chroma)) / 2
    a1, a2 = a1 * stretch, a2 * stretch
    C1, C2 = safe_sqrt(a1.square() + b1.square()), safe_sqrt(a2.square() + b2.square())

    mean_L, mean_C = (L1 + L2) / 2, (C1 + C2) / 2
    hue, dH = _mean_hue(a1, b1, a2, b2), _hue_difference(a1, b1, a2, b2, C1 * C2)
    T = (
        1
        - 0.17 * torch.cos(hue - math.radians(30))
        + 0.24 * torch.cos(2 * hue)
        + 0.32 * torch.cos(3 * hue + math.radians(6))
        - 0.20 * torch.cos(4 * hue - math.radians(63))
    )
    offset = (mean_L - 50).square()
    lightness = (L2 - L1) / (1 + 0.015 * offset / (20 + offset).sqrt())
    colour = (C2 - C1) / (1 + 0.045 * mean_C)
    tone = dH / (1 + 0.015 * mean_C * T)
    turn = math.radians(30) * torch.exp(-((torch.rad2deg(hue) - 275) / 25).square())
    rotation = -2 * _seventh(mean_C) * torch.sin(2 * turn)
    total = lightness.square() + colour.square() + tone.square() + rotation * colour * tone
    return total.clamp_min(0)


def _seventh(chroma: Tensor) -> Tensor:
    """√(C⁷/(C⁷ + 25⁷)), written so that its gradient is finite at C = 0."""
    ratio = chroma / 25
    return ratio**3.5 / (1 + ratio**7).sqrt()


def _angle(a: Tensor, b: Tensor) -> Tensor:
    """Hue in [0, 2π), 0 (with gradient 0) for grey."""
    grey = (a == 0) & (b == 0)
    angle = torch.atan2(torch.where(grey, 0.0, b), torch.where(grey, 1.0, a))
    return torch.where(angle < 0, angle + 2 * math.pi, angle)


def _mean_hue(a1: Tensor, b1: Tensor, a2: Tensor, b2: Tensor) -> Tensor:
    """Mean of two hues along the shorter arc; their sum (one is 0) where either colour is grey."""
    h1, h2 = _angle(a1, b1), _angle(a2, b2)
    total = h1 + h2
    around = torch.where(total < 2 * math.pi, total + 2 * math.pi, total - 2 * math.pi)
    mean = torch.where((h1 - h2).abs() > math.pi, around, total) / 2
    grey = ((a1 == 0) & (b1 == 0)) | ((a2 == 0) & (b2 == 0))
    return torch.where(grey, total, mean)


def _hue_difference(a1: Tensor, b1: Tensor, a2: Tensor, b2: Tensor, product: Tensor) -> Tensor:
    """ΔH = 2√(C₁C₂)·sin(Δh/2) from cross and dot products.

    For near colours the cross product keeps the digits that a difference of two angles loses in float32; past
    90° the dot product does.
    """
    cross = a1 * (b2 - b1) - b1 * (a2 - a1)
    dot = a1 * a2 + b1 * b2
    near = dot > 0
    close = cross / torch.where(near, (product + dot) / 2, 1.0).sqrt()
    far = safe_sqrt(torch.where(near, 0.0, 2 * (product - dot))) * torch.where(cross < 0, -1.0, 1.0)
    return torch.where(near, close, far)

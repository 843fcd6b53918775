"""The CIEDE2000 colour difference of Lab pixels, and its gradient in closed form.

G. Sharma, W. Wu, E. Dalal, *The CIEDE2000 Color-Difference Formula*, Color Research & Application 2005; all
parametric weights are 1. The formula speaks of hues h, but needs only their sines and cosines, which are ratios:
the mean hue is the direction of the bisector of two unit vectors, and with P = √(C₁C₂)·sin(Δh/2) and
Q = √(C₁C₂)·cos(Δh/2)

    ΔH = 2P,   ∂ΔH/∂h₂ = Q = −∂ΔH/∂h₁,   ∂ΔH/∂C₂ = P/C₂,   ∂ΔH/∂C₁ = P/C₁.

One angle is left, that of the rotation term. Values are exact; gradients are 0 where the formula has none (grey).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from minadv.distances.colour import Map, Pixels, step

SHARE_30 = math.cos(math.radians(30)), math.sin(math.radians(30))
SHARE_6 = math.cos(math.radians(6)), math.sin(math.radians(6))
SHARE_63 = math.cos(math.radians(63)), math.sin(math.radians(63))


@dataclass(frozen=True, eq=False)
class Reference:
    """Lab pixels that others are compared with: lightness, colour plane, chroma; each (batch, height, width)."""

    L: Map
    a: Map
    b: Map
    chroma: Map

    @classmethod
    def of(cls, lab: Pixels) -> "Reference":
        """Take apart (batch, 3, height, width)."""
        L, a, b = (plane.contiguous() for plane in lab.unbind(1))
        return cls(L, a, b, _length(a, b))

    def select(self, rows: Tensor | slice) -> "Reference":
        """Return the given rows."""
        return Reference(self.L[rows], self.a[rows], self.b[rows], self.chroma[rows])


def squared_ciede2000(reference: Reference, lab: Pixels, gradient: bool = True) -> tuple[Map, Tensor]:
    """ΔE₀₀² of each pixel to the reference, and its gradient by `lab` (nothing of it where not asked for)."""
    b1, (L2, a2, b2) = reference.b, lab.unbind(1)

    # a* is stretched at low mean chroma
    chroma2 = _length(a2, b2)
    mean_chroma = (reference.chroma + chroma2).mul_(0.5)
    saturation = _seventh(mean_chroma)
    stretch = 1.5 - 0.5 * saturation
    a1, a2 = reference.a * stretch, a2 * stretch
    C1, C2 = _length(a1, b1), _length(a2, b2)
    per_C1, per_C2 = _reciprocal(C1), _reciprocal(C2)
    cos1, sin1, cos2, sin2 = a1 * per_C1, b1 * per_C1, a2 * per_C2, b2 * per_C2
    mean_C = (C1 + C2).mul_(0.5)

    # near colours: the cross product keeps the digits that a difference of angles loses in float32
    cross = (b2 - b1).mul_(a1).addcmul_(b1, a2 - a1, value=-1)
    dot = (a1 * a2).addcmul_(b1, b2)
    far = step(-dot)
    # opposite hues: the formula's mean of angles in [0, 360°) lies after the smaller one
    side = torch.addcmul(cross, b1, C2, value=1e-14)
    P, Q = _half_products(cross, dot, C1 * C2, side, far)
    c, s = _mean_hue(cos1, sin1, cos2, sin2, side, far)

    T, T_slope = _hue_weight(c, s)
    offset = (reference.L + L2).mul_(0.5).sub_(50)
    square = offset.square()
    root = (square + 20).rsqrt_()
    per_S_L = (square * root).mul_(0.015).add_(1).reciprocal_()
    per_S_C = (0.045 * mean_C).add_(1).reciprocal_()
    per_S_H = (mean_C * T).mul_(0.015).add_(1).reciprocal_()
    lightness, colour, tone = (L2 - reference.L).mul_(per_S_L), (C2 - C1).mul_(per_S_C), (P * per_S_H).mul_(2)
    sharp = _seventh(mean_C)
    away = torch.atan2(-s, -c).mul_(math.degrees(1) / 25).sub_(95 / 25)  # (h − 275°)/25° for h in [0, 360°)
    turn = torch.exp2(away.square().mul_(-1 / math.log(2))).mul_(math.radians(60))  # 2Δθ
    sine = torch.sin(turn)
    rotation = (sharp * sine).mul_(-2)
    product = colour * tone
    total = lightness.square().addcmul_(colour, colour).addcmul_(tone, tone)
    total = total.addcmul_(rotation, product).clamp_min_(0)
    if not gradient:
        return total, lab[:, :0]

    # by L2: ΔL/S_L, whose S_L moves with half of it
    S_L_slope = (0.5 * square).add_(20).mul_(offset).mul_(root).mul_(root).mul_(root).mul_(lightness)
    by_L = S_L_slope.mul_(-0.015).add_(1).mul_(lightness).mul_(per_S_L).mul_(2)
    # by the differences of chroma and hue, ΔC and ΔH
    by_colour = torch.addcmul(colour, rotation, tone, value=0.5).mul_(per_S_C).mul_(2)
    by_tone = torch.addcmul(tone, rotation, colour, value=0.5).mul_(per_S_H).mul_(2)
    # by the mean chroma, half of each colour's, and by the mean hue
    shift = by_tone * tone
    by_mean = (_seventh_slope(mean_C, sharp)).mul_(sine).mul_(product).neg_()
    by_mean = by_mean.addcmul_(by_colour, colour, value=-0.0225).addcmul_(shift, T, value=-0.0075)
    bend = torch.cos(turn).mul_(turn).mul_(away).mul_(sharp).mul_(product)  # of sin(2Δθ)
    bend = bend.mul_(2 * math.degrees(1) / 25).addcmul_(shift.mul_(mean_C), T_slope, value=-0.0075)
    # by C₁, h₁, C₂, h₂, and from there by a and b (where a colour is grey, ΔH is 0 and the mean hue has no effect)
    slide, twist = by_tone * P, by_tone * Q
    by_C1 = (slide * per_C1).add_(by_mean).sub_(by_colour)
    by_C2 = (slide * per_C2).add_(by_mean).add_(by_colour)
    by_h1, by_h2 = (bend - twist).mul_(per_C1), bend.add_(twist).mul_(per_C2)
    by_a1 = (by_C1 * cos1).addcmul_(by_h1, sin1, value=-1)
    by_a2 = (by_C2 * cos2).addcmul_(by_h2, sin2, value=-1)
    by_b2 = (by_C2 * sin2).addcmul_(by_h2, cos2)
    # the stretch moves with the second chroma
    by_stretch = (by_a1 * reference.a).addcmul_(by_a2, lab[:, 1])
    by_chroma = by_stretch.mul_(_seventh_slope(mean_chroma, saturation)).mul_(_reciprocal(chroma2)).mul_(-0.25)
    by_a = (by_a2 * stretch).addcmul_(by_chroma, lab[:, 1])
    return total, torch.stack((by_L, by_a, by_b2.addcmul_(by_chroma, b2)), dim=1)


def _length(a: Map, b: Map) -> Map:
    """Chroma √(a² + b²)."""
    return a.square().addcmul_(b, b).sqrt_()


def _reciprocal(x: Map) -> Map:
    """1/x for x ≥ 0; large, but small enough for a product with 0 to be 0, where x is 0."""
    return x.clamp_min(1e-15).reciprocal_()


def _seventh(chroma: Map) -> Map:
    """√(C⁷/(C⁷ + 25⁷))."""
    square = chroma.square().mul_(1 / 625)
    power = square.square().mul_(square).mul_(chroma).mul_(1 / 25)
    return power.div_(power + 1).sqrt_()


def _seventh_slope(chroma: Map, seventh: Map) -> Map:
    """Return the derivative of `_seventh`, 7/(2C)·s·(1 − s²)."""
    return (1 - seventh.square()).mul_(seventh).mul_(_reciprocal(chroma)).mul_(3.5)


def _half_products(cross: Map, dot: Map, product: Map, side: Map, far: Map) -> tuple[Map, Map]:
    """P and Q: the larger comes from |a||b| ± dot, the smaller from PQ = cross/2, which loses no digits."""
    larger = dot.abs().add_(product).mul_(0.5).sqrt_()
    # the bound is for grey, where the cross product is nothing but rounding
    smaller = (cross * _reciprocal(larger)).mul_(0.5).clamp_(-larger, larger)
    return torch.lerp(smaller, larger.copysign(side), far), torch.lerp(larger, smaller.abs(), far)


def _mean_hue(cos1: Map, sin1: Map, cos2: Map, sin2: Map, side: Map, far: Map) -> tuple[Map, Map]:
    """Cosine and sine of the mean of two hues along the shorter arc; of one where the other is grey (0, 0).

    Past 90° the sum of the unit vectors cancels, and the bisector is taken across their difference.
    """
    sign = torch.sign(side)
    c = torch.lerp(cos1 + cos2, (sin2 - sin1).mul_(sign), far)
    s = torch.lerp(sin1 + sin2, (cos1 - cos2).mul_(sign), far)
    per_norm = c.square().addcmul_(s, s).clamp_min_(1e-30).rsqrt_()
    return c.mul_(per_norm), s.mul_(per_norm)


def _hue_weight(c: Map, s: Map) -> tuple[Map, Map]:
    """T = 1 − 0.17 cos(h − 30°) + 0.24 cos 2h + 0.32 cos(3h + 6°) − 0.20 cos(4h − 63°), and dT/dh."""
    c2, s2 = c.square().mul_(2).sub_(1), (c * s).mul_(2)
    c3, s3 = (c * c2).addcmul_(s, s2, value=-1), (s * c2).addcmul_(c, s2)
    c4, s4 = c2.square().mul_(2).sub_(1), (c2 * s2).mul_(2)
    (c30, s30), (c6, s6), (c63, s63) = SHARE_30, SHARE_6, SHARE_63
    T = (-0.17 * c30 * c).add_(1).sub_(s, alpha=0.17 * s30).add_(c2, alpha=0.24)
    T.add_(c3, alpha=0.32 * c6).sub_(s3, alpha=0.32 * s6).sub_(c4, alpha=0.2 * c63).sub_(s4, alpha=0.2 * s63)
    slope = (0.17 * c30 * s).sub_(c, alpha=0.17 * s30).sub_(s2, alpha=0.48)
    slope.sub_(s3, alpha=0.96 * c6).sub_(c3, alpha=0.96 * s6).add_(s4, alpha=0.8 * c63).sub_(c4, alpha=0.8 * s63)
    return T, slope

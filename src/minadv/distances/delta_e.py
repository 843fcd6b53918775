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

from minadv.distances.colour import Map, Pixels
from minadv.elementwise import line

# chromas below are grey
SMALLEST = 1e-15
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
    """ΔE₀₀² of each pixel to the reference, and half its gradient by `lab` (nothing of it where not asked for)."""
    b1, (L2, a2, b2) = reference.b, lab.unbind(1)
    one = lab.new_ones(())

    # a* is stretched at low mean chroma
    chroma2 = _length(a2, b2)
    both_chromas = reference.chroma + chroma2
    saturation = _seventh(both_chromas)
    stretch = line(1.5, saturation, -0.5)
    a1, a2 = reference.a * stretch, a2 * stretch
    C1, per_C1 = _length_and_reciprocal(a1, b1)
    C2, per_C2 = _length_and_reciprocal(a2, b2)
    cos1, sin1, cos2, sin2 = a1 * per_C1, b1 * per_C1, a2 * per_C2, b2 * per_C2
    both_C = C1 + C2
    colour = C2 - C1

    # near colours: the cross product keeps the digits that a difference of angles loses in float32
    cross = (b2 - b1).mul_(a1).addcmul_(b1, a2 - a1, value=-1)
    dot = (a1 * a2).addcmul_(b1, b2)
    far = dot.sign().clamp_max_(0).neg_()
    # opposite hues: the formula's mean of angles in [0, 360°) lies after the smaller one
    side = torch.addcmul(cross, b1, C2, value=1e-14)
    P, Q = _half_products(cross, dot, C1.mul_(C2), side, far)
    c, s = _opposite_of_mean_hue(cos1, sin1, cos2, sin2, side, far)
    del a1, a2, C1, C2, cross, dot, side, far  # what is freed early need not be taken anew

    T, T_slope = _hue_weight(c, s)
    per_S_C = line(1, both_C, 0.045 / 2).reciprocal_()
    per_S_H = both_C * T
    line(1, per_S_H, 0.015 / 2, out=per_S_H).reciprocal_()
    colour, tone = colour.mul_(per_S_C), (P * per_S_H).mul_(2)
    sharp = _seventh(both_C)
    away = torch.atan2(s, c)
    line(-95 / 25, away, math.degrees(1) / 25, out=away)  # (h − 275°)/25° for h in [0, 360°)
    turn = torch.addcmul(one, away, away, value=-1 / math.log(2)).exp2_().mul_(math.radians(30))  # 2Δθ
    rotation = torch.sin(turn).mul_(sharp)  # −2 times that is the formula's
    product = colour * tone
    del c, s
    lightness, by_L2 = _lightness(reference.L, L2)
    total = lightness.square_().addcmul_(colour, colour).addcmul_(tone, tone)
    total = total.addcmul_(rotation, product, value=-2).clamp_min_(0)
    if not gradient:
        return total, lab[:, :0]

    result = torch.empty_like(lab)
    by_L, by_a, by_b = result.unbind(1)
    by_L.copy_(by_L2)
    # by the differences of chroma and hue, ΔC and ΔH
    by_colour = torch.addcmul(colour, rotation, tone, value=-1).mul_(per_S_C)
    by_tone = torch.addcmul(tone, rotation, colour, value=-1).mul_(per_S_H)
    # by the mean chroma, half of each colour's, and by the mean hue
    shift = by_tone * tone
    by_mean = _seventh_slope(both_C, sharp).mul_(rotation).mul_(product).mul_(-3.5)
    by_mean.addcmul_(by_colour, colour, value=-0.0225).addcmul_(shift, T, value=-0.0075)
    bend = torch.cos(turn).mul_(turn).mul_(away).mul_(sharp).mul_(product)  # of sin(2Δθ)
    bend = bend.mul_(math.degrees(1) / 25).addcmul_(shift.mul_(both_C), T_slope, value=-0.00375)
    # by C₁, h₁, C₂, h₂, and from there by a and b (where a colour is grey, ΔH is 0 and the mean hue has no effect)
    slide, twist = P.mul_(by_tone), Q.mul_(by_tone)
    by_C1 = torch.mul(slide, per_C1).add_(by_mean).sub_(by_colour)
    by_C2 = slide.mul_(per_C2).add_(by_mean).add_(by_colour)
    by_h1, by_h2 = (bend - twist).mul_(per_C1), bend.add_(twist).mul_(per_C2)
    torch.mul(by_C2, sin2, out=by_b).addcmul_(by_h2, cos2)
    by_a1 = by_C1.mul_(cos1).addcmul_(by_h1, sin1, value=-1)
    by_a2 = by_C2.mul_(cos2).addcmul_(by_h2, sin2, value=-1)
    del Q, bend, by_h1, by_h2, by_mean, shift, turn, twist
    # the stretch moves with the second chroma
    by_chroma = by_a1.mul_(reference.a).addcmul_(by_a2, lab[:, 1]).mul_(saturation)
    by_chroma.mul_(_seventh_slope(both_chromas, saturation)).div_(chroma2.clamp_min_(SMALLEST)).mul_(-1.75)
    torch.mul(by_a2, stretch, out=by_a).addcmul_(by_chroma, lab[:, 1])
    by_b.addcmul_(by_chroma, b2)
    return total, result


def _lightness(L1: Map, L2: Map) -> tuple[Map, Map]:
    """ΔL/S_L, and half the gradient of its square by L2, with half of which S_L moves."""
    offset = (L1 + L2).sub_(100)  # twice that of the mean
    square = offset.square()
    root = (square + 80).rsqrt_()
    per_S_L = line(1, square.mul_(root), 0.0075, out=square).reciprocal_()
    lightness = (L2 - L1).mul_(per_S_L)
    share = line(1, root.square(), 80).mul_(root).mul_(offset).mul_(lightness)
    return lightness, line(1, share, -0.0075, out=share).mul_(lightness).mul_(per_S_L)


def _length(a: Map, b: Map) -> Map:
    """Chroma √(a² + b²)."""
    return a.square().addcmul_(b, b).sqrt_()


def _length_and_reciprocal(a: Map, b: Map) -> tuple[Map, Map]:
    """Chroma C and 1/C, which is large, but small enough for a product with 0 to be 0, for grey."""
    square = a.square().addcmul_(b, b)
    reciprocal = square.clamp_min(SMALLEST**2).rsqrt_()
    return square.mul_(reciprocal), reciprocal


def _seventh(both: Map) -> Map:
    """√(C⁷/(C⁷ + 25⁷)) of the mean chroma C, half of `both`."""
    share = both * (0.5 / 25)
    square = share.square()
    power = share.mul_(square).mul_(square.square_())
    return power.reciprocal_().add_(1).rsqrt_()


def _seventh_slope(both: Map, seventh: Map) -> Map:
    """(1 − s²)/(2C): the relative derivative of `_seventh` is 7 times that."""
    return torch.addcmul(both.new_ones(()), seventh, seventh, value=-1).div_(both.clamp_min(SMALLEST))


def _half_products(cross: Map, dot: Map, product: Map, side: Map, far: Map) -> tuple[Map, Map]:
    """P and Q: the larger comes from |a||b| ± dot, the smaller from PQ = cross/2, which loses no digits.

    `cross` and `dot` are overwritten.
    """
    larger = dot.abs_().add_(product)
    scale = larger.clamp_min(SMALLEST**2).rsqrt_().mul_(math.sqrt(0.5))
    larger = larger.mul_(scale)
    # the bound is for grey, where the cross product is nothing but rounding
    smaller = cross.mul_(scale).clamp_(-larger, larger)
    across, along = larger.copysign(side), smaller.abs()
    return smaller.lerp_(across, far), larger.lerp_(along, far)


def _opposite_of_mean_hue(cos1: Map, sin1: Map, cos2: Map, sin2: Map, side: Map, far: Map) -> tuple[Map, Map]:
    """−cosine and −sine of the mean of two hues along the shorter arc; of one where the other is grey (0, 0).

    Past 90° the sum of the unit vectors cancels, and the bisector is taken across their difference.
    """
    sign = side.sign_()
    c = (cos1 + cos2).lerp_((sin2 - sin1).mul_(sign), far)
    s = (sin1 + sin2).lerp_((cos1 - cos2).mul_(sign), far)
    per_norm = c.square().addcmul_(s, s).clamp_min_(SMALLEST**2).rsqrt_().neg_()
    return c.mul_(per_norm), s.mul_(per_norm)


def _hue_weight(c: Map, s: Map) -> tuple[Map, Map]:
    """T = 1 − 0.17 cos(h − 30°) + 0.24 cos 2h + 0.32 cos(3h + 6°) − 0.20 cos(4h − 63°), and dT/dh.

    `c` and `s` are −cos h and −sin h. With half = sin(2h)/2, everything is written as p + cos 2h·q, where
    cos 3h = cos h·(2 cos 2h − 1), sin 3h = sin h·(2 cos 2h + 1), cos 4h = 2 cos² 2h − 1, sin 4h = 4·half·cos 2h.
    """
    (c30, s30), (c6, s6), (c63, s63) = SHARE_30, SHARE_6, SHARE_63
    c2, half = torch.addcmul(c.new_ones(()), s, s, value=-2), c * s
    q = (-0.64 * c6 * c).add_(s, alpha=0.64 * s6).add_(c2, alpha=-0.4 * c63).add_(half, alpha=-0.8 * s63)
    T = ((0.17 * c30 + 0.32 * c6) * c).add_(s, alpha=0.17 * s30 + 0.32 * s6).add_(1 + 0.2 * c63)
    T.addcmul_(c2, q.add_(0.24))
    q = (1.92 * s6 * c).add_(s, alpha=1.92 * c6).add_(c2, alpha=-1.6 * s63).add_(half, alpha=3.2 * c63)
    slope = ((0.17 * s30 - 0.96 * s6) * c).add_(s, alpha=0.96 * c6 - 0.17 * c30).add_(half, alpha=-0.96)
    return T, slope.add_(0.8 * s63).addcmul_(c2, q)

"""Penalty–Lagrangian functions P(y, ρ, μ) of a constraint y < 0, with ∂P/∂y in closed form.

Source: Birgin, Castillo, Martínez, *Numerical comparison of augmented Lagrangian algorithms for nonconvex
problems*, 2005; eqs. 19–22 of the ALMA paper. Each satisfies P(0) = 0 and P′(0) = μ and is C¹.

The branches of a piecewise formula are evaluated on min(y, 0) and max(y, 0), so that no unused branch can
produce an inf whose masked gradient would be NaN, and written so that autograd is right at y = 0 too:
μy/(1 − ρ·min(y, 0)) is μy above zero and μy/(1 − ρy) below.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from minadv.errors import unknown

Values = Float[Tensor, "..."]
Weight = Values | float


@runtime_checkable
class Penalty(Protocol):
    """A penalty of the constraint value y with parameter ρ > 0 and multiplier μ > 0 (same shapes)."""

    def __call__(self, y: Values, rho: Weight, mu: Weight) -> Values:
        """P(y, ρ, μ)."""
        ...

    def derivative(self, y: Values, rho: Weight, mu: Weight) -> Values:
        """∂P/∂y (y, ρ, μ)."""
        ...


@dataclass(frozen=True)
class _PHR:
    """Powell–Hestenes–Rockafellar (eq. 19)."""

    def __call__(self, y: Values, rho: Weight, mu: Weight) -> Values:
        return ((mu + rho * y).clamp_min(0) ** 2 - mu**2) / (2 * rho)

    def derivative(self, y: Values, rho: Weight, mu: Weight) -> Values:
        return (mu + rho * y).clamp_min(0)


@dataclass(frozen=True)
class _P1:
    """Eq. 20: cubic where violated, quadratic down to y = −μ/ρ, then constant."""

    def __call__(self, y: Values, rho: Weight, mu: Weight) -> Values:
        floored = torch.clamp(y, min=-mu / rho)
        return mu * floored + rho * floored**2 / 2 + rho**2 * y.clamp_min(0) ** 3

    def derivative(self, y: Values, rho: Weight, mu: Weight) -> Values:
        return (mu + rho * y).clamp_min(0) + 3 * rho**2 * y.clamp_min(0) ** 2


@dataclass(frozen=True)
class _P2:
    """Eq. 21, the paper's choice: C², and P′ > 0 everywhere."""

    def __call__(self, y: Values, rho: Weight, mu: Weight) -> Values:
        over = y.clamp_min(0)
        return mu * y / (1 - rho * y.clamp_max(0)) + mu * rho * over**2 + rho**2 * over**3 / 6

    def derivative(self, y: Values, rho: Weight, mu: Weight) -> Values:
        scaled = rho * y
        over, under = scaled.clamp_min(0), scaled.clamp_max(0)
        gentle = mu / (1 - under) ** 2
        return torch.addcmul(torch.add(gentle, mu * over, alpha=2), over, over, value=0.5)


@dataclass(frozen=True)
class _P3:
    """Eq. 22: P2 without the cubic term."""

    def __call__(self, y: Values, rho: Weight, mu: Weight) -> Values:
        return mu * y / (1 - rho * y.clamp_max(0)) + mu * rho * y.clamp_min(0) ** 2

    def derivative(self, y: Values, rho: Weight, mu: Weight) -> Values:
        over, under = y.clamp_min(0), y.clamp_max(0)
        return mu / (1 - rho * under) ** 2 + 2 * mu * rho * over


PHR, P1, P2, P3 = _PHR(), _P1(), _P2(), _P3()

ALL: dict[str, Penalty] = {"PHR": PHR, "P1": P1, "P2": P2, "P3": P3}


def get(name: str) -> Penalty:
    """Return the penalty of that name (case does not matter).

    Raises:
        ValueError: for an unknown name, with the nearest known one.
    """
    if name.upper() not in ALL:
        raise unknown("penalty", name, ALL)
    return ALL[name.upper()]

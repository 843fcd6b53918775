"""The pace of an augmented Lagrangian search: the paper's, and ours by distance and number of steps."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from minadv import distances
from minadv.distances import Distance
from minadv.goals import Constraint, Goal, Targeted

# Fewer steps take the margin instead of DLR⁺.
MARGIN_BELOW = {"l0": 50, "l1": 50, "l2": 100}


@dataclass(frozen=True)
class Pace:
    """How fast a search forgets, turns and ends: see the hyper-parameters of `ALMA`."""

    alpha: float
    alpha_rms: float
    momentum: float
    mu: float
    rho_growth: float
    final_step: float

    @classmethod
    def paper(cls, steps: int) -> "Pace":
        """Return the paper's: one smoothing for all, 0.5 up to 100 steps and 0.9 from 1000 on."""
        alpha = _by_steps(steps, 0.5, 0.5, 0.9)
        return cls(alpha, alpha, alpha, mu=1.0, rho_growth=1.2, final_step=0.01)

    @classmethod
    def ours(cls, distance: str | Distance | Callable[..., Any], steps: int) -> "Pace":
        """Return our choice, from experiments (docs/alma.md)."""
        name = distances.family(distance)
        # on its true scale, values are of tens: a multiplier has far to go, and long runs have the time
        if name == "ciede2000" == distances.resolve(distance).name:
            return replace(cls.paper(steps), mu=5 ** _by_steps(steps, 0, 0, 1))
        if name == "l0":
            alpha_rms, momentum = _by_steps(steps, 0.8, 0.8, 0.9), _by_steps(steps, 0, 0, 0.9)
            return replace(
                cls.paper(steps), alpha_rms=alpha_rms, momentum=momentum, mu=_by_steps(steps, 0.5, 0.5, 1)
            )
        if name == "l1":
            return replace(cls.paper(steps), momentum=0.0)
        if name not in ("l2", "linf", "ssim"):
            return cls.paper(steps)
        alpha, alpha_rms = _by_steps(steps, 0.65, 0.8, 0.9), _by_steps(steps, 0.5, 0.5, 0.9)
        momentum = _by_steps(steps, 0.6, 0.7, 0.9 if name == "ssim" else 0.7)
        final_step = _by_steps(steps, 0.01, 0.003, 0.003)
        return cls(alpha, alpha_rms, momentum, mu=0.3, rho_growth=1.1, final_step=final_step)


def constraint_of(
    goal: Goal, classes: int, distance: str | Distance | Callable[..., Any], steps: int
) -> Constraint:
    """Return our choice, from experiments (docs/alma.md): the margin towards a target, or in few steps.

    Far from the boundary, DLR⁺'s denominator leads elsewhere, which costs time, and may never lead to a target.
    Two classes are DLR⁺'s to refuse, whatever the steps.
    """
    few = classes > 2 and steps < MARGIN_BELOW.get(distances.family(distance) or "", 0)
    return "margin" if few or isinstance(goal, Targeted) else "dlr"


def _by_steps(steps: int, at_50: float, at_100: float, at_1000: float) -> float:
    """Between the values for 50 steps and fewer, 100, and 1000 and more, by log(steps)."""
    few = min(max(math.log2(steps / 50), 0.0), 1.0)
    many = min(max(math.log10(steps / 100), 0.0), 1.0)
    return at_50 + (at_100 - at_50) * few + (at_1000 - at_100) * many

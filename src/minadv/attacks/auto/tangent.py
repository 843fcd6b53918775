"""The plane that touches the boundary near a search: linearised at its last points, and averaged over them."""

from typing import NamedTuple

import torch
from torch import Tensor

from minadv.attacks.auto.exploration import Constrain
from minadv.attacks.directions import unit_, unit_and_length_
from minadv.attacks.schedules import between
from minadv.oracle import Oracle
from minadv.probe import Probe
from minadv.shapes import per_sample

# The stream of random directions where no exploration has gone.
ASIDE = -1


class Tangent(NamedTuple):
    """The plane that touches the boundary near a point, averaged over the last ones.

    `normal`: (batch, ...) average of the last unit normals. `way`: (batch,) signed ℓ2 way to it.
    `steepness`: (batch,) ℓ2 norm of the last gradient.
    """

    normal: Tensor
    way: Tensor
    steepness: Tensor


def tangent(
    oracle: Oracle,
    probe: Probe,
    constrain: Constrain,
    seen: Tangent | None,
    new: float | Tensor,
    sighted: bool = True,
) -> Tangent:
    """Linearise the constraint at a point (one backward) and average its unit normal with the earlier ones.

    `new` is the weight of this one, for all samples or, (batch,), for each. Where the gradient vanishes, the way
    home stands in for it: then this is a search along that line. Without sight, the boundary that was `seen`
    before is moved to where the constraint's value has it.
    """
    constraint = constrain(probe.logits)
    if seen is not None and not sighted:
        return seen._replace(way=constraint.detach() / seen.steepness)
    h, steepness = unit_and_length_(
        oracle.gradient(probe, constraint), oracle, instead=lambda: _homeward(oracle, probe.x)
    )
    way = constraint.detach() / steepness
    new = per_sample(new, h) if isinstance(new, Tensor) else new
    return Tangent(h if seen is None else seen.normal.lerp(h, new), way, steepness)


def weight_of_past(ends: tuple[float, float], step: int, steps: int) -> float:
    """Weight of earlier normals in the average: what is left to 1 falls geometrically from first to last."""
    first, last = ends
    return 1 - between((1 - first, 1 - last), step, steps)


def _homeward(oracle: Oracle, x: Tensor) -> Tensor:
    """Directions of unit ℓ2 norm back to the originals; random ones while nothing was adversarial."""
    lost = per_sample(oracle.best_distance.isinf(), x)
    return torch.where(lost, oracle.directions(ASIDE), unit_(oracle.originals - x, oracle))

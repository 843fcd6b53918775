"""The point of a hyperplane in the box that is nearest to the original: exact in norms, by a model otherwise."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn.functional import threshold

from minadv.attacks.auto.blocks import Blocks, blocks
from minadv.attacks.auto.curvature import energy_slope, pixels
from minadv.attacks.directions import TINY, inner, typical
from minadv.distances.base import Selectable
from minadv.elementwise import heaviside_
from minadv.masks import possibly_any
from minadv.probe import Probe
from minadv.projections import IMMOBILE, cheapest, largest_first
from minadv.shapes import per_sample

# Clipped points reach their plane to this, relatively.
CLOSE = 2e-4
# A step to the plane begins at most so many times as long as it would be without the box: six halvings undo that.
LONGEST = 64.0
# Squares of a gradient's norm that are smaller are taken for 0.
LEAST = 1e-30


class Remembered(NamedTuple):
    """A model of the distance near the last points: where it is smallest, and the weights of entries or pixels.

    The next call overwrites it, and begins with a step that is longer by as much as the last one had to be.
    """

    centre: Tensor
    weights: Tensor
    longer: Tensor


@runtime_checkable
class Nearest(Protocol):
    """What finds the nearest point in the box with ⟨normal, x0 − x⟩ = need.

    It is given what its own last call in the same refinement wanted to be remembered, None at first.
    """

    by_gradient: ClassVar[bool]  # whether it asks the probe for the distance's gradient

    def __call__(self, normal: Tensor, need: Tensor, probe: Probe, remembered: Any, /) -> tuple[Tensor, Any]:
        """Return it, and what to remember for the next call."""
        ...


@dataclass(frozen=True, eq=False)
class ByNorm:
    """Nearest in an ℓp norm, p ∈ {1, 2, ∞}."""

    x0: Tensor
    p: float

    by_gradient: ClassVar[bool] = False

    def __call__(
        self, normal: Tensor, need: Tensor, _probe: Probe, longer: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the nearest point, and how much longer than without the box the step was, if that is known."""
        if self.p == 2:  # in plain steps, which are exact away from the box's faces
            return along(self.x0, normal, normal, need, longer)
        if self.p == 1:
            found = largest_first(self.x0.flatten(1), normal.flatten(1), need[:, None])
            return found.reshape(normal.shape), None
        down = per_sample(need.sign(), normal) * normal  # what must fall, by |need|
        room = heaviside_(-down).sub_(self.x0).abs_()  # to the face where it falls
        gain = threshold(down.abs(), IMMOBILE, 0.0, inplace=True)
        moves = cheapest(gain.flatten(1), room.flatten(1), need.abs()[:, None], self.p).reshape(normal.shape)
        return torch.sub(self.x0, moves.copysign_(down), out=moves).clamp_(0, 1), None


@dataclass(frozen=True, eq=False)
class ByWeights:
    """Nearest in any distance, by iteratively reweighted least squares.

    At each point x the distance is replaced by Σ_j a_j·(x′ − x0)_j²/2 with a = ∇D/(x − x0), which has the same
    gradient there; the weights are kept away from 0 and, like Newton points, averaged over the steps.
    """

    x0: Tensor
    floor: float = 0.005
    memory: float = 0.7

    by_gradient: ClassVar[bool] = True

    def __call__(
        self, normal: Tensor, need: Tensor, probe: Probe, remembered: Remembered | None
    ) -> tuple[Tensor, Remembered | None]:
        """Return the nearest point, and the model to remember."""
        slope = probe.slope
        weights = entry_weights(slope, probe.x - self.x0, self.floor)
        if remembered is not None:
            weights = remembered.weights.lerp_(weights, 1 - self.memory)
        centre = _centre(self.x0, probe.x, slope, slope / weights, remembered, self.memory)
        longer = None if remembered is None else remembered.longer
        need = need + inner(normal, centre - self.x0)
        found, longer = along(centre, normal / weights, normal, need, longer)
        return found, Remembered(centre, weights, longer)


@dataclass(frozen=True, eq=False)
class ByMetric:
    """Nearest in any distance, by its Hessian at the original: one block per pixel, rescaled as the search goes.

    The blocks tell how channels compensate each other and how little some pixels count, where weights of single
    entries cannot; they cost a few distances and no model pass. They are those of D² or, where D itself grows with
    the square of the perturbation, of D.

    Attributes:
        ridge: what is added to every eigenvalue, relative to the mean of all.
        rounder: the same, relative to the mean of the block's own: what a colour's cheapest direction is at the
            original, it is not for long.
        floor: stabilises the factors by which pixels far from the original count more or less than at it.
        memory: of those factors and of Newton points, over the steps.
        looks: along random signs, per channel, which tell a block from its neighbours; one where pixels are
            independent.
        length: of the steps there.
    """

    x0: Tensor
    distance: Selectable
    ridge: float = 1.5e-2
    rounder: float = 0.1
    floor: float = 0.1
    memory: float = 0.6
    looks: int = 8
    length: float = 5e-4

    by_gradient: ClassVar[bool] = True

    def __call__(
        self, normal: Tensor, need: Tensor, probe: Probe, remembered: Remembered | None
    ) -> tuple[Tensor, Remembered | None]:
        """Return the nearest point, and the model, its blocks' factors, to remember."""
        squared, hessian = self._blocks
        delta = pixels(probe.x - self.x0)
        slope = pixels(energy_slope(probe.distance, probe.slope, squared))
        here = hessian.square(delta)
        floor = self.floor * here.mean(dim=2, keepdim=True).clamp_min(TINY)
        factors = ((delta * slope).sum(dim=1, keepdim=True).clamp_min(0) + floor) / (here + floor)
        factors = factors.clamp(0.3, 100.0)
        if remembered is not None:
            factors = remembered.weights.lerp_(factors, 1 - self.memory)
        del delta  # here as below: before the next tensors take memory
        back = hessian.solve(slope).div_(factors).reshape(normal.shape)
        centre = _centre(self.x0, probe.x, slope.reshape(normal.shape), back, remembered, self.memory)
        del slope, back
        direction = hessian.solve(pixels(normal)).div_(factors).reshape(normal.shape)
        longer = None if remembered is None else remembered.longer
        found, longer = along(centre, direction, normal, need + inner(normal, centre - self.x0), longer)
        return found, Remembered(centre, factors, longer)

    @property
    def hessian(self) -> Blocks:
        """At the original, per pixel."""
        return self._blocks[1]

    @cached_property
    def _blocks(self) -> tuple[Tensor, Blocks]:
        return blocks(self.x0, self.distance, self.looks, self.length, self.ridge, self.rounder)


def entry_weights(slope: Tensor, delta: Tensor, floor: float) -> Tensor:
    """Weights |slope| / |δ| of entries, of typical size 1; `floor` times what is typical is added to both."""
    weights = slope.abs().add_(floor * typical(slope))
    weights /= delta.abs().add_(floor * typical(delta))
    return weights.div_(typical(weights))


def _centre(
    x0: Tensor, x: Tensor, slope: Tensor, back: Tensor, remembered: Remembered | None, memory: float
) -> Tensor:
    """Average of where Newton steps from the last points see the smallest distance, by its gradients there.

    Where the model of the distance is right, that is the original. Where it is not, a search around the original
    would end where the model's gradient is parallel to the normal; around this average, only where the distance's
    own is. `back` is the model's inverse times `slope`, up to a factor, which x − x0 decides; it is overwritten.
    """
    part, own = inner(x - x0, slope).clamp_min(0), inner(back, slope)
    length = torch.where(own > 0, part / own.clamp_min(LEAST), 0.0)
    newton = torch.addcmul(x, per_sample(length, x), back, value=-1, out=back)
    return x0.lerp(newton, 1 - memory) if remembered is None else remembered.centre.lerp_(newton, 1 - memory)


def along(
    x0: Tensor, direction: Tensor, normal: Tensor, need: Tensor, longer: Tensor | None = None, rounds: int = 6
) -> tuple[Tensor, Tensor]:
    """Return x0 − θ·direction, clipped to the box, with ⟨normal, x0 − x⟩ = need up to a few corrections of θ.

    What is reached rises with θ, less so the more entries are at a face: secants close in. Returned is also how
    much `longer` the way is than without the box, (batch,), from 1 to `LONGEST`; a similar one begins with it.
    """
    x, scratch = torch.empty_like(x0), torch.empty_like(x0)
    free = need / inner(normal, direction, out=scratch).clamp_min(TINY)
    goal, toward, one = need.abs(), need.sign(), torch.ones_like(free)
    longer = one if longer is None else longer
    _move(x0, longer * free, direction, x)
    earlier = before = torch.zeros_like(free)
    for _ in range(rounds):
        reached = toward * inner(normal, torch.sub(x0, x, out=scratch), out=scratch)
        lacks = goal - reached
        off = lacks.abs() > CLOSE * goal  # other rows stay as they are, and so are not off later
        if not possibly_any(off):
            break
        rise = (reached - before) / (longer - earlier)
        stuck = torch.where(lacks < 0, 0.5, one)  # every entry at a face
        correction = torch.where(rise > TINY, 1 + lacks / (rise * longer), stuck).clamp(0.5, 2)
        earlier, before = longer, reached
        longer = torch.where(off, longer * correction, longer)
        _move(x0, longer * free, direction, x)
    return x, longer.clamp(1, LONGEST)


def _move(x0: Tensor, theta: Tensor, direction: Tensor, x: Tensor) -> None:
    torch.addcmul(x0, per_sample(theta, x0), direction, value=-1, out=x).clamp_(0, 1)

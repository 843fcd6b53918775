"""Exploration: large steps across the boundary and back, before anything is measured finely.

Gradients near an original can mislead (masked gradients, kinks). Steps that move every entry alike, however small
its gradient, leave that region; the pull back to the original then finds its own way to the boundary.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from minadv.attacks.auto.coordinates import Coordinates
from minadv.attacks.directions import TINY, nonzero, norm
from minadv.attacks.gating import DENSE, trust, untrusted
from minadv.masks import overwrite
from minadv.oracle import Oracle
from minadv.probe import Probe
from minadv.rounding import steady
from minadv.shapes import per_sample

Constrain = Callable[[Tensor], Tensor]
Pull = Callable[[Tensor], Tensor]

LARGEST_STEP = 0.4  # of the box's side
SHORTEST = 0.25  # of the reach: the first step is about half of that, and should cross the boundary


class Stride(NamedTuple):
    """What the first gradient tells of a sample's steps, (batch,) each.

    `first` is the size of the first one. `floor` is added to the roots that steps are divided by: with one,
    entries of smaller gradients move less. `trusted` is 1 where that gradient can be trusted, else 0; `masked` the
    opposite, None where there is no such sample.
    """

    first: Tensor
    floor: Tensor
    trusted: Tensor
    masked: Tensor | None = None

    @classmethod
    def told(cls, first: Tensor, floor: Tensor, trusted: Tensor) -> "Stride":
        """Return what was told once a run."""
        return cls(first, floor, trusted, untrusted(trusted))

    @classmethod
    def signs(cls, first: Tensor) -> "Stride":
        """Return steps of these sizes that move all entries alike, where nothing was told."""
        return cls(first, torch.full_like(first, TINY), torch.zeros_like(first))

    def like_signs(self, first: Tensor) -> "Stride":
        """Return the same with steps of these sizes that move all entries alike."""
        return self._replace(first=first, floor=torch.full_like(first, TINY))


class Explored(NamedTuple):
    """How an exploration ended: its last adversarial point, or its last one where there was none.

    `point` is (batch, ...); `distance`, (batch,), is ∞ and `classes` those of the originals where none was
    adversarial; `stride` is that of its steps; `normal` is the (batch, ...) average of the last unit gradients of
    the constraint, where it was asked for.
    """

    point: Tensor
    distance: Tensor
    classes: Tensor
    stride: Stride
    normal: Tensor | None


@dataclass(frozen=True, eq=False)
class Exploration:
    """Sign-like steps of falling size, along a blend of two unit gradients: the constraint's and the distance's.

    Where a distance is smallest, the two unit gradients are opposite: equal weights are stationary whatever the
    scales of logits, distance and image. So one number per sample is enough, the logit of the constraint's weight:
    it falls by a fixed amount after each adversarial point and rises after any other.

    The point and that weight play against each other, and where the boundary bends, plain gradients swing around
    it. So the constraint's unit gradient is extrapolated by its last change: the optimistic gradient of such games
    (C. Daskalakis et al., *Training GANs with Optimism*, ICLR 2018), here of unit norm again.

    Attributes:
        reach: first step, relative to the ℓ∞ distance to the linearised boundary at the original.
        decay: first step over last.
        change: of the weight's logit, summed over all steps.
        smoothing: of squared gradients, which normalise the steps.
        bound: on the weight's logit.
        optimism: how much of the last change of the constraint's unit gradient is added to it.
        memory: weight of the past in the average of these gradients that is returned.
        unhurried: steps that it takes to come back from the first one's reach, see `within`.
        softness: how much less like signs steps are where gradients can be trusted: a floor for the roots, in
            units of the root mean square of unit gradients.
        dense: share of the entries beyond which the gradient at the original is trusted, see `gating`.
        gate: width of soft gates in backward passes where they are masked, see `minadv.gates`; 0 for none.
    """

    reach: float = 8.0
    decay: float = 20.0
    change: float = 10.0
    smoothing: float = 0.7
    bound: float = 5.0
    optimism: float = 1.0
    memory: float = 0.9
    unhurried: int = 20
    softness: float = 0.0
    dense: float = DENSE
    gate: float = 0.0

    def within(self, steps: int) -> "Exploration":
        """Return what so few steps leave time for: from a first one that is less far, less is to come back.

        Softer steps are shorter, too, so that they have to be less soft to cross the boundary.
        """
        share = min(max(steps / self.unhurried, SHORTEST), 1.0)
        softness = share * self.softness
        return replace(self, reach=share * self.reach, decay=share**0.5 * self.decay, softness=softness)

    def first(self, value: Tensor, slope: Tensor) -> Tensor:
        """(batch,) size of the first step, from the constraint and its slope at the original."""
        return (self.reach * value / norm(slope, 1).clamp_min(TINY)).clamp(1e-4, LARGEST_STEP)

    def __call__(
        self,
        oracle: Oracle,
        start: Tensor,
        stride: Stride | None,
        steps: int,
        advantage: float,
        constrain: Constrain,
        pull: Pull | None,
        live: Tensor | None = None,
        coordinates: Coordinates | None = None,
        remember: bool = False,
        stream: int = 0,
    ) -> Explored:
        """Explore from `start`, in its memory if these are not the originals.

        Args:
            oracle: the samples.
            start: (batch, ...) first point.
            stride: of the steps; None computes it, the first point being the original.
            steps: forwards and backwards.
            advantage: first logit of the constraint's weight; it decides how long the search stays far beyond the
                boundary.
            constrain: logits to the constraint, (batch,).
            pull: direction back to the original; None is the distance's gradient.
            live: (batch,) samples that are still searched; None is all.
            coordinates: in which steps are taken and perturbations pulled back; None are the entries.
            remember: whether to return the constraint's average normal.
            stream: of the random directions where the constraint has no gradient: others lead elsewhere.
        """
        x, squares, before, normal = start, torch.zeros_like(start), None, None
        last = start.clone() if start is oracle.originals else start
        seen, distance = torch.zeros_like(oracle.copies), torch.full_like(oracle.best_distance, torch.inf)
        classes = oracle.logits_of_originals.argmax(dim=1)
        logit = torch.full_like(distance, advantage)
        keep, change = self.smoothing, self.change / steps
        masked = None if stride is None or not self.gate else stride.masked
        for i in oracle.steps(steps):
            clean = x is oracle.originals  # known already, and without a direction back
            # nobody looks at where the last step would lead
            going = i < steps - 1 or stride is None or remember
            slope, widths = going and pull is None and not clean, None if masked is None else self.gate * masked
            probe = oracle.probe(oracle.snap(x), live, slope, differentiate=going, widths=widths)
            constraint = constrain(probe.logits)
            h = oracle.gradient(probe, constraint) if going else None
            if h is not None:
                trusted = trust(h, self.dense) if stride is None else stride.trusted
                h = nonzero(h, oracle, stream=stream)
                if coordinates is not None:
                    h = coordinates.slope(h)
                if stride is None:
                    floor = TINY + self.softness / h[0].numel() ** 0.5 * trusted
                    stride = Stride.told(self.first(constraint.detach(), h), floor, trusted)
                    masked = stride.masked if self.gate else None
            # towards one class, an adversarial of another is on the way
            met = probe.adversarial & (constraint.detach() < 0)
            seen = seen | met
            overwrite(last, met | ~seen, x)
            distance = torch.where(met, probe.distance, distance)
            classes = torch.where(met, probe.logits.detach().argmax(dim=1), classes)
            if h is None or stride is None:
                break
            weight = steady(torch.sigmoid, logit)
            unit = h.div_(per_sample(norm(h, 2), h))
            if remember:
                normal = unit.clone() if normal is None else normal.lerp_(unit, 1 - self.memory)
            h, before = self._ahead(unit, before), unit
            h *= per_sample(weight / norm(h, 2), h)
            back = _back(oracle, probe, x, pull, coordinates)
            if back is not None:
                h.addcmul_(back, per_sample((1 - weight) / norm(back, 2).clamp_min(TINY), h))
            squares.mul_(keep).addcmul_(h, h, value=1 - keep)
            length = stride.first * self.decay ** (-i / max(steps - 1, 1)) * (1 - keep ** (i + 1)) ** 0.5
            h *= per_sample(length, h)
            root = squares.sqrt().add_(per_sample(stride.floor, h))
            if coordinates is None:
                x = oracle.clip_(torch.addcdiv(x, h, root, value=-1))
            else:
                x = oracle.clip_(x.sub(coordinates.step(h.div_(root))))
            del probe, constraint, h, back, root  # free before the next pass
            logit = (logit + torch.where(met, -change, change).to(logit.dtype)).clamp(-self.bound, self.bound)
        if stride is None:
            stride = Stride.signs(torch.full_like(logit, LARGEST_STEP))
        return Explored(last, distance, classes, stride, normal)

    def _ahead(self, unit: Tensor, before: Tensor | None) -> Tensor:
        """Extrapolate unit gradients by their change, in the memory of those before; no shorter than 1."""
        if before is None:
            return unit.clone()
        return before.mul_(-self.optimism).add_(unit, alpha=1 + self.optimism)


def _back(
    oracle: Oracle, probe: Probe, x: Tensor, pull: Pull | None, coordinates: Coordinates | None
) -> Tensor | None:
    """Where the distance rises; None at an original, if the distance itself is to tell."""
    if pull is None:
        slope = probe.distance_gradient
        return slope if slope is None or coordinates is None else coordinates.slope(slope.clone())
    delta = x - oracle.originals
    return pull(delta if coordinates is None else coordinates.of(delta))

"""Where Auto explores from, and how: from a new start each time, and on from its end in short steps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from minadv import random
from minadv.attacks.auto.aiming import Aims
from minadv.attacks.auto.coordinates import Coordinates, PerEntry
from minadv.attacks.auto.exploration import LARGEST_STEP, Exploration, Explored, Stride
from minadv.attacks.auto.families import Family
from minadv.attacks.auto.rounds import Try
from minadv.attacks.auto.shaped import Shaped
from minadv.attacks.directions import typical
from minadv.masks import overwrite, possibly_any
from minadv.oracle import Oracle
from minadv.shapes import per_sample

# Noise at the start of all explorations but the first, relative to the first step.
NOISE = (0.75, 0.5, 0.75, 1.0, 1.25)
# Steps that settle are shorter than those that explore by this factor, but not than this share of the typical
# entry of a perturbation that is still large, and fall and turn less.
SHORTER, SHARE, SETTLING = 8.0, 0.3, Exploration(decay=4.0, change=3.0)


@dataclass(frozen=True, eq=False)
class Explorer:
    """The explorations of one run.

    Attributes:
        oracle: the samples.
        family: of the distance.
        explorations: most of a round.
        confidence: of the constraint.
        scaled: coordinates of the steps, for explorations of a round in turn, and rounds in turn; none are the
            entries.
        gate: width of soft gates, see `Exploration`.
    """

    oracle: Oracle
    family: Family
    explorations: int
    confidence: float
    scaled: Sequence[Sequence[Coordinates | None]]
    gate: float = 0.0

    def coordinates(self, number: int, i: int) -> Coordinates | None:
        """Return those of exploration `i` of round `number`."""
        if not self.scaled:
            return None
        kinds = self.scaled[number % len(self.scaled)]
        return kinds[i % len(kinds)]

    def __call__(
        self, number: int, i: int, steps: Try, stride: Stride | None, aims: Aims, live: Tensor | None
    ) -> tuple[Explored, Stride, Aims]:
        """Explore from start `i` of round `number`, and on in short steps: return the end, stride and aims."""
        oracle, member = self.oracle, self.family.members[number % len(self.family.members)]
        aim = aims.at((number, i), self.family.aimed)
        constrain = aims.constrain(oracle, number, aim, self.confidence)
        coordinates = self._coordinates(number, i)
        scale = None if stride is None else stride.first
        if stride is not None and number:  # what leads to near ends first leads to the same ones later
            stride = stride.like_signs(stride.first)
        index = number * self.explorations + i
        start = self._start(index, scale, aim, coordinates)
        advantage = member.advantage[i % len(member.advantage)]
        same: dict[str, Any] = {
            "pull": member.pull,
            "live": live,
            "coordinates": coordinates,
            "remember": member.by == "count",
            "stream": index,
        }
        large = Exploration(softness=self.family.softness, gate=self.gate).within(steps.exploring)
        found = large(oracle, start, stride, steps.exploring, advantage, constrain, **same)
        stride, aims = found.stride, aims.after(found.classes)
        if steps.settling:
            far = typical(found.point - oracle.originals).flatten()
            short = stride.like_signs(torch.maximum(stride.first / SHORTER, SHARE * far))
            constrain = aims.constrain(oracle, number, None, self.confidence)
            settling = replace(SETTLING, gate=self.gate)
            found = settling(oracle, found.point, short, steps.settling, 0.0, constrain, **same)
        return found, stride, aims

    def _coordinates(self, number: int, i: int) -> Coordinates | None:
        """Return those of this exploration: where none before crossed the boundary, units have led astray."""
        usual, missed = self.coordinates(number, i), self.oracle.best_distance.isinf()
        if not (number or i) or not isinstance(usual, PerEntry | Shaped) or not possibly_any(missed):
            return usual
        return usual.without(missed)

    def _start(
        self, index: int, scale: Tensor | None, chances: Tensor | None, coordinates: Coordinates | None
    ) -> Tensor:
        """Originals, with noise of a new amount and sign for all but the first and new classes of later rounds.

        Where none before crossed the boundary, it is not near: those samples start anywhere in the box.
        """
        x0 = self.oracle.originals
        if not index:
            return x0
        amount = NOISE[(index - 1) % len(NOISE)]
        reach = torch.full_like(self.oracle.best_distance, LARGEST_STEP) if scale is None else scale
        if chances is not None and index >= self.explorations:
            reach = reach * (chances == -torch.inf).all(dim=1)
        noise = random.signs(self.oracle.keys, x0, stream=index)
        noise = noise if coordinates is None else coordinates.step(noise)
        start = noise.mul_(per_sample(amount * reach, x0)).add_(x0).clamp_(0, 1)
        missed = self.oracle.best_distance.isinf()
        if possibly_any(missed):
            anywhere = random.uniform(self.oracle.keys, x0[0].numel(), stream=index)
            overwrite(start, missed, anywhere.reshape(x0.shape).to(x0.dtype))
        return start

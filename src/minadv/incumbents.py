"""Each sample's best adversarial so far."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from minadv.masks import overwrite, possibly_any

# (x, distance) to what is smallest for the best of several adversarials, (batch,)
Rank = Callable[[Tensor, Tensor], Tensor]


@dataclass(eq=False)
class Incumbents:
    """What a search would answer if it ended now.

    Attributes:
        x: (batch, ...) best adversarials, the original where there is none.
        distance: (batch,) their distances, ∞ where there is none.
        rank: (batch,) by what they are best.
        by: how that is told; None is by distance.
    """

    x: Tensor
    distance: Tensor
    rank: Tensor
    by: Rank | None = None

    @classmethod
    def before(cls, originals: Tensor) -> "Incumbents":
        """Nothing is found yet."""
        unknown = torch.full_like(originals.flatten(1)[:, 0], torch.inf)
        return cls(originals.clone(), unknown, unknown)

    @property
    def found(self) -> Tensor:
        """(batch,) where there is one."""
        return self.distance < torch.inf

    def take(self, x: Tensor, distance: Tensor, adversarial: Tensor) -> None:
        """Keep those of the `adversarial` rows of `x` that are better."""
        if self.by is not None and not possibly_any(adversarial):
            return
        rank = distance if self.by is None else self.by(x, distance)
        better = adversarial & (rank < self.rank)
        if not possibly_any(better):
            return
        self.distance = torch.where(better, distance, self.distance)
        self.rank = self.distance if self.by is None else torch.where(better, rank, self.rank)
        overwrite(self.x, better, x.detach())

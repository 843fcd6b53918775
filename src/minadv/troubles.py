"""What went wrong with each sample on the way: answers of the model or of the distance that are none."""

from dataclasses import dataclass, field
from weakref import ref

import torch
from torch import Tensor

from minadv.masks import broken, possibly_broken
from minadv.probe import Probe


@dataclass(eq=False)
class Troubles:
    """Samples with which something went wrong, (batch,) bool each.

    Attributes:
        non_finite: logits or gradients were NaN or infinite.
        unmeasured: the distance was, of an image that the model could classify.
        flat: all gradients at the first point that was differentiated were exactly 0, or none.
        kept: whether ReLUs of the model kept their own gates where soft ones were asked for.
    """

    non_finite: Tensor
    unmeasured: Tensor
    flat: Tensor
    kept: bool = field(default=False, init=False)
    _began: "ref[Probe] | None" = field(default=None, init=False)  # a look at that point

    @classmethod
    def none(cls, like: Tensor) -> "Troubles":
        """Nothing has gone wrong yet with the samples of a mask."""
        return cls(*(torch.zeros_like(like) for _ in range(3)))

    def looked(self, margin: Tensor, distance: Tensor) -> bool:
        """Note what is no margin and no distance, (batch,) each; return whether a margin may be none."""
        lost = possibly_broken(margin)
        if lost:
            self.non_finite |= broken(margin)
        if possibly_broken(distance):
            self.unmeasured |= broken(distance) & ~broken(margin)
        return lost

    def differentiated(self, probe: Probe, gradient: Tensor) -> Tensor:
        """Note what is no gradient, and return it, (batch, ...), with zeros there."""
        if self._began is None and probe.part is None:
            self._began, self.flat = ref(probe), ~(probe.adversarial | self.non_finite)
        if possibly_broken(gradient):  # asked of the whole batch, decided by each entry
            entries = broken(gradient)
            self.non_finite |= entries.flatten(1).any(dim=1)
            gradient = gradient.masked_fill_(entries, 0)
        if self._began is not None and self._began() is probe:
            self.flat = self.flat & ~gradient.flatten(1).any(dim=1)
        return gradient

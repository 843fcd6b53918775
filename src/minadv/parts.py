"""Some of the attacked samples: those still searched are gathered for the model and scattered back."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from minadv.distances.base import Selectable


@dataclass(frozen=True, eq=False)
class Part:
    """Some of the attacked rows.

    Attributes:
        rows: indices on the CPU, for the books.
        index: the same on the device, filled up with copies of the last to a batch size that rounds alike.
        distance, surrogate: to the originals of `index`.
    """

    rows: Tensor
    index: Tensor
    distance: Selectable
    surrogate: Selectable

    def gather(self, whole: Tensor) -> Tensor:
        """Rows of a tensor that holds all attacked samples."""
        return whole[self.index]

    def scatter(self, part: Tensor, whole: Tensor) -> Tensor:
        """Copy of `whole` with this part's rows replaced; copies that fill up are dropped."""
        return whole.index_copy(0, self.index[: len(self.rows)], part[: len(self.rows)])

    def spread(self, part: Tensor, samples: int) -> Tensor:
        """Zeros for all attacked samples, with this part's rows; without a graph."""
        whole = part.new_zeros((samples, *part.shape[1:]))
        return whole.index_copy_(0, self.index[: len(self.rows)], part[: len(self.rows)])


class Parts:
    """The parts that a search asks for. The last one is remembered: most steps ask for it again."""

    def __init__(self, distance: Selectable, surrogate: Selectable, fill: Callable[[Tensor], Tensor]) -> None:
        """`fill` turns row numbers into those of a batch size that rounds alike, on the device."""
        self._distance, self._surrogate, self._fill = distance, surrogate, fill
        self._mask: Tensor | None = None
        self._rows: Tensor | None = None
        self._last: Part | None = None

    def rows(self, live: Tensor | None) -> Tensor | None:
        """Row numbers of a mask, on the CPU; None is all. A mask seen again costs no transfer."""
        if live is not self._mask:
            rows = None if live is None else torch.nonzero(live).flatten().cpu()
            self._mask, self._rows = live, None if rows is None or live is None or len(rows) == len(live) else rows
        return self._rows

    def of(self, rows: Tensor) -> Part:
        """Return the part of the given rows."""
        if self._last is None or not torch.equal(self._last.rows, rows):
            index = self._fill(rows)
            self._last = None  # frees the one before
            distance = self._distance.select(index)
            same = self._surrogate is self._distance
            self._last = Part(rows, index, distance, distance if same else self._surrogate.select(index))
        return self._last

    def measure(self, x: Tensor, part: Part | None, gradient: bool, samples: int) -> tuple[Tensor, Tensor | None]:
        """Distances of `x`, the rows of `part` (None is all), 0 elsewhere, and their gradients where asked for."""
        if part is None:
            return _measure(x, self._distance, self._surrogate, gradient)
        if not len(part.rows):
            zeros = x.new_zeros((samples, *x.shape[1:]))
            return zeros.flatten(1)[:, 0], zeros if gradient else None
        distance, slope = _measure(x, part.distance, part.surrogate, gradient)
        return part.spread(distance, samples), None if slope is None else part.spread(slope, samples)


def _measure(
    x: Tensor, distance: Selectable, surrogate: Selectable, gradient: bool
) -> tuple[Tensor, Tensor | None]:
    if not gradient:
        with torch.no_grad():
            return distance(x), None
    value, slope = surrogate.value_and_gradient(x)
    return value if surrogate is distance else distance(x), slope

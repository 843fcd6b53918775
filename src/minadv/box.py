"""Which images count: those in [0, 1] and, where one is asked for, on a grid of levels."""

from weakref import ref

from torch import Tensor

from minadv.verification import quantise


class Box:
    """[0, 1], with a grid of `levels` values an entry or, at None, without one.

    It knows what it put there last, so that nobody has to look.
    """

    def __init__(self, levels: int | None) -> None:
        self.levels = levels
        self._last: tuple[ref[Tensor] | None, int] = None, -1  # and its version then

    def project(self, x: Tensor) -> Tensor:
        """Nearest image that counts."""
        return self._landed(quantise(x.clamp(0, 1), self.levels))

    def project_(self, x: Tensor) -> Tensor:
        """`project` in the memory of `x`."""
        return self._landed(quantise(x.clamp_(0, 1), self.levels))

    def clip_(self, x: Tensor) -> Tensor:
        """`project_` without the grid."""
        x.clamp_(0, 1)
        return x if self.levels else self._landed(x)

    def among(self, x: Tensor, chosen: Tensor) -> Tensor:
        """Which of the `chosen` images, (batch,), count."""
        last, version = self._last
        if last is not None and last() is x and x._version == version:
            return chosen
        rows = x.flatten(1)
        # aminmax takes ten times as long on a CPU
        inside = chosen & (rows.amin(dim=1) >= 0) & (rows.amax(dim=1) <= 1)
        if self.levels is None:
            return inside
        return inside & (x == quantise(x, self.levels)).flatten(1).all(dim=1)

    def _landed(self, x: Tensor) -> Tensor:
        self._last = ref(x), x._version
        return x

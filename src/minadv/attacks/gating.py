"""Where gradients are masked, and how wide the soft gates of a search are there (`minadv.gates`)."""

from torch import Tensor

from minadv.attacks.directions import TINY, norm
from minadv.attacks.schedules import between

# More than this share of the entries carries a gradient at an original that can be trusted. It is below a tenth
# where gradients are masked: small ones mean nothing there.
DENSE = 0.12


def trust(gradient: Tensor, dense: float = DENSE) -> Tensor:
    """(batch,) 1 where more than the share `dense` of the entries carry the gradient at an original, else 0.

    That share is ‖g‖₁² / (n·‖g‖₂²), and 0 where the gradient vanishes.
    """
    carrying = (norm(gradient, 1) / norm(gradient, 2).clamp_min(TINY)).square() / gradient[0].numel()
    return (carrying > dense).to(gradient.dtype)


def untrusted(trusted: Tensor) -> Tensor | None:
    """(batch,) 1 where gradients are masked, else 0; None where they are nowhere.

    An accelerator's host waits for that: to be asked once a run.
    """
    some = 1 - trusted
    return some if bool(some.any()) else None


def narrowing(ends: tuple[float, float], masked: Tensor | None, step: int, steps: int) -> Tensor | None:
    """(batch,) widths of the gates at a step, geometric between `ends`; 0 where not `masked`, None for all."""
    return None if masked is None else between(ends, step, steps) * masked

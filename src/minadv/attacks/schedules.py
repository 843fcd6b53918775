"""Step sizes and the like over a run of N steps, as Python numbers: every sample gets the same."""

import math


def cosine(step: int, steps: int, first: float, last: float) -> float:
    """Half a cosine from `first` at step 0 towards `last` at step N."""
    return last + (first - last) * (1 + math.cos(math.pi * step / steps)) / 2


def linear(step: int, steps: int, first: float, last: float) -> float:
    """Straight line from `first` at step 0 to `last` at step N − 1."""
    return first + (last - first) * step / max(steps - 1, 1)


def geometric(step: int, steps: int, first: float, last: float) -> float:
    """Geometric decay from `first` at step 0 towards `last` at step N."""
    return first * (last / first) ** (step / steps)

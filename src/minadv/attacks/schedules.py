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


def passed(step: int, steps: int) -> float:
    """From 0 at the first step to 1 at the last."""
    return step / max(steps - 1, 1)


def between(ends: tuple[float, float], step: int, steps: int) -> float:
    """Geometric from the first of `ends` at step 0 to the last at step N − 1."""
    first, last = ends
    return first * (last / first) ** passed(step, steps)

"""What minimal distances say about an attack or a model: success, medians, curves and optimality.

Everywhere `distances` are (samples,) numbers ≥ 0, in an array or a tensor on the CPU: inf where the attack failed,
0 where the original was adversarial already. NaN and negative distances raise ValueError. Which samples are passed
(all, or only those that the model classifies correctly) is the caller's choice.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Numbers = NDArray[np.float64]

# A distance may be below the best known one by this much, relatively: one of them was rounded to float32.
_SLACK = 1e-6
# Half the spacing of float32 below 1, by which an image's entries are rounded: what lies on a ball of 8/255 is
# measured at up to that much beyond it.
_ROUNDING = 2**-24
# That is of norms: of a smaller radius, as of 1 − SSIM, it is at most this share.
_SMALL = 1e-4


def lower_median(distances: ArrayLike) -> float:
    """Return the median, the lower middle for even counts, so that it is a distance that occurred.

    It is inf when fewer than half of the samples were found, and nan for no samples.
    """
    distances = _checked("distances", distances)
    if not distances.size:
        return math.nan
    return float(np.sort(distances)[(distances.size - 1) // 2])


def asr(distances: ArrayLike) -> float:
    """Return the attack success rate in [0, 1]: the fraction of finite distances; nan for no samples."""
    distances = _checked("distances", distances)
    return float(np.isfinite(distances).mean()) if distances.size else math.nan


def mean_found(distances: ArrayLike) -> float:
    """Return the mean of the finite distances; nan when there is none.

    Args:
        distances: (samples,) of the samples that were attacked. Leave out those that were adversarial already:
            a 0 counts like any other distance here.
    """
    distances = _checked("distances", distances)
    found = distances[np.isfinite(distances)]
    return float(found.mean()) if found.size else math.nan


def robust_accuracy(distances: ArrayLike) -> tuple[Numbers, Numbers]:
    """Return the exact robust accuracy as a right-continuous step function.

    It is the fraction of samples whose minimal distance is greater than ε: failures (inf) stay robust at
    every ε, samples that were adversarial from the start (0) are robust at none.

    Args:
        distances: (samples,) ≥ 0, inf where the attack failed; at least one.

    Returns:
        0 and every finite distance, ascending and without repetition, and the value from there to the next.

    Raises:
        ValueError: for no samples.
    """
    distances = _checked("distances", distances)
    if not distances.size:
        raise ValueError("distances must have at least one sample, got none")
    at = np.unique(np.append(distances[np.isfinite(distances)], 0.0))
    at_most = np.searchsorted(np.sort(distances), at, side="right")
    return at, 1 - at_most / len(distances)


def robust_accuracy_at(distances: ArrayLike, radii: Sequence[float] | Numbers) -> Numbers:
    """Return the robust accuracy at given radii: the fraction of samples without an adversarial within each.

    A distance counts as within a radius where rounding to float32 alone may have put it beyond: by at most 1e-6 of
    the radius plus 2⁻²⁴, or 1e-4 of the radius if that is less. Otherwise it is `robust_accuracy` at those places.

    Args:
        distances: (samples,) ≥ 0, inf where the attack failed. It is the model's accuracy at radius 0 when samples
            that it misclassifies are among them, with distance 0.
        radii: (radii,) finite and ≥ 0, in any order, e.g. [8 / 255].

    Returns:
        (radii,) in [0, 1]; nan for no samples.

    Raises:
        ValueError: for a radius below 0 or not finite.
    """
    found = _checked("distances", distances)
    at: Numbers = np.asarray(radii, dtype=np.float64)
    if at.ndim != 1 or not (np.isfinite(at) & (at >= 0)).all():
        raise ValueError(f"radii must be one dimension of finite numbers ≥ 0, got {at.tolist()}")
    if not found.size:
        return np.full_like(at, math.nan)
    within: Numbers = at * (1 + _SLACK) + np.minimum(_ROUNDING, _SMALL * at)
    reached = np.searchsorted(np.sort(found), within, side="right")
    return 1 - reached / found.size


def area(distances: ArrayLike, upper: float) -> float:
    """Return the integral of the robust accuracy from 0 to `upper`: mean_j min(d_j, upper); nan for no samples.

    Raises:
        ValueError: for an `upper` below 0.
    """
    distances = _checked("distances", distances)
    if not upper >= 0:
        raise ValueError(f"upper must be ≥ 0, got {upper}")
    return float(np.minimum(distances, upper).mean()) if distances.size else math.nan


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean of numbers ≥ 0: 0 if any is 0.

    It is nan for no values, and when any is inf or nan: a median of inf makes a mean over models undefined.

    Raises:
        ValueError: for a negative value.
    """
    if any(value < 0 for value in values):
        raise ValueError(f"values must be ≥ 0, got {min(values)}")
    if not values or not all(map(math.isfinite, values)):
        return math.nan
    if min(values) == 0:
        return 0.0
    # relative to the largest, so that the mean of equal values is that value exactly
    largest = math.log(max(values))
    return max(values) * math.exp(math.fsum(math.log(value) - largest for value in values) / len(values))


def envelope(distances: ArrayLike) -> Numbers:
    """Return the best distance per sample over attacks: (attacks, samples) → (samples,); inf without attacks."""
    return np.min(_checked("distances", distances, dimensions=2), axis=0, initial=np.inf)


def local_optimality(distances: ArrayLike, best: ArrayLike) -> float:
    """Return how close an attack comes to the best known distances on one model, in [0, 1].

    It is the measure of AttackBench (Cinà et al., AAAI 2025). With e₀ = max_j d*_j, A the fraction with d*_j > 0,
    area = mean_j min(d_j, e₀) and area* = mean_j d*_j, it is

        1 − (area − area*) / (A·e₀ − area*)

    exactly, not by trapezoids. 1: as good as the best on every sample. 0: nothing found below e₀. From e₀ on, a
    distance counts as a failure, so that an attack can reach 1 and miss the samples whose best distance is e₀.

    - Samples that no attack breaks (best inf) are left out of all four numbers.
    - Samples that were adversarial already (best 0) count 0 for every attack, whatever `distances` says.
    - nan when there is nothing to compare, A·e₀ = area*: no sample was broken, all were adversarial already, or
      all others have one and the same best distance (a single one always has). This depends on `best` alone.
    - Otherwise `distances` equal to `best` gives 1, and failures alone give 0, exactly.

    Args:
        distances: (samples,) of the attack.
        best: (samples,) smallest known distances d*, e.g. by `envelope`; never above `distances`.

    Raises:
        ValueError: for arrays of different shapes, or a distance below the best one.
    """
    distances = _checked("distances", distances)
    best = _checked("best", best)
    if distances.shape != best.shape:
        raise ValueError(f"distances and best must have the same shape, got {distances.shape} and {best.shape}")
    below = np.flatnonzero(distances < best * (1 - _SLACK))
    if below.size:
        first = below[0]
        raise ValueError(
            f"best must not exceed distances, got {best[first]:.9g} > {distances[first]:.9g} at sample {first} "
            f"({below.size} such samples): take the envelope over all attacks, this one included"
        )
    compared = np.isfinite(best) & (best > 0)
    found, least = np.maximum(distances[compared], best[compared]), best[compared]
    # both sides of the fraction times the number of samples, without what cancels
    worst = np.max(least, initial=0.0)
    possible = (worst - least).sum()
    return float(1 - (np.minimum(found, worst) - least).sum() / possible) if possible > 0 else math.nan


def global_optimality(values: Sequence[float]) -> float:
    """Return the mean over models of an attack's local optimality.

    Undefined values (nan) are left out: they are undefined for every attack on that model. nan when none is left.
    """
    defined = [value for value in values if not math.isnan(value)]
    return math.fsum(defined) / len(defined) if defined else math.nan


def _checked(name: str, distances: ArrayLike, dimensions: int = 1) -> Numbers:
    array = np.asarray(distances, dtype=np.float64)
    if array.ndim != dimensions:
        raise ValueError(f"{name} must have {dimensions} dimensions, got shape {array.shape}")
    refused = array[~(array >= 0)]
    if refused.size:
        raise ValueError(f"{name} must be ≥ 0 (inf where the attack failed), got {refused[0]}")
    return array

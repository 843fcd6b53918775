"""Tables 1 and 2 of the paper: the geometric mean over models of each attack's results.

The appendix says only that much. Two things are our reading: that success rates and propagations are averaged in
the same way as medians, and which data are in which table (`NUMBERS`).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from minadv.metrics import geometric_mean

NUMBERS = {"mnist": 1, "cifar10": 1, "imagenet": 2}


@runtime_checkable
class Measured(Protocol):
    """One attack on one model: a row of the paper or one of our own."""

    @property
    def data(self) -> str:
        """Data set."""
        ...

    @property
    def distance(self) -> str:
        """Distance that was minimised."""
        ...

    @property
    def attack(self) -> str:
        """Attack, with its steps."""
        ...

    @property
    def model(self) -> str:
        """What is averaged over."""
        ...

    @property
    def asr(self) -> float:
        """Attack success rate, in any unit."""
        ...

    @property
    def median(self) -> float:
        """Median distance; inf when fewer than half of the samples were found."""
        ...

    @property
    def forwards(self) -> float:
        """Propagations per sample; nan where there was nothing to attack."""
        ...

    @property
    def backwards(self) -> float:
        """Propagations per sample."""
        ...


@dataclass(frozen=True)
class Mean:
    """One attack over models: geometric means in the units of what was averaged.

    Attributes:
        models: what was averaged over, in order; means over different models do not compare.
        median: nan when a model's median is inf: the mean is undefined.
        forwards, backwards: over models with something to attack; nan without any.
    """

    data: str
    distance: str
    attack: str
    models: tuple[str, ...]
    asr: float
    median: float
    forwards: float
    backwards: float


def geometric_means(rows: Iterable[Measured]) -> tuple[Mean, ...]:
    """Average over models, for each (data, distance, attack) in the order of their first rows.

    Raises:
        ValueError: when an attack has two rows for one model.
    """
    groups: dict[tuple[str, str, str], dict[str, Measured]] = {}
    for row in rows:
        group = groups.setdefault((row.data, row.distance, row.attack), {})
        if row.model in group:
            raise ValueError(f"rows must have one row per model, got two of {row.attack} on {row.model}")
        group[row.model] = row
    return tuple(_mean(list(group.values())) for group in groups.values())


def _mean(rows: list[Measured]) -> Mean:
    return Mean(
        data=rows[0].data,
        distance=rows[0].distance,
        attack=rows[0].attack,
        models=tuple(row.model for row in rows),
        asr=geometric_mean([row.asr for row in rows]),
        median=geometric_mean([row.median for row in rows]),
        forwards=geometric_mean([row.forwards for row in rows if not math.isnan(row.forwards)]),
        backwards=geometric_mean([row.backwards for row in rows if not math.isnan(row.backwards)]),
    )

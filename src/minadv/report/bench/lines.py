"""The numbers of one line of a table: an attack on a model."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from minadv import hyper_parameters, metrics
from minadv.bench.stored import Stored
from minadv.hashes import digest
from minadv.report.bench import names
from minadv.report.bench.groups import Entry
from minadv.result import Status

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Line:
    """Statistics of one cell over the samples of the population.

    Attributes:
        done, errors: samples that are stored, and that raised, of `entry.samples` that were asked for.
        counted: samples in the population.
        over: hash of those samples, numbers and content: lines of a model with the same one compare.
        distances: (counted,) ascending, inf for failures, 0 where already adversarial.
        asr: in [0, 1].
        median: lower median, inf when fewer than half were found.
        mean: over samples that were attacked and found.
        forwards, backwards: means over attacked samples.
        spent: largest forwards plus backwards of a sample.
        survives: share of found samples that are adversarial after rounding to 8 bits.
        optimality: local optimality against the best known distances; nan where it is undefined.

    Numbers of nothing are nan, and so are the median, mean and optimality of an attack within one radius: its
    distances are not the smallest.
    """

    entry: Entry
    done: int
    errors: int
    counted: int
    over: str
    distances: Numbers
    asr: float
    median: float
    mean: float
    forwards: float
    backwards: float
    spent: float
    survives: float
    optimality: float

    @property
    def complete(self) -> bool:
        """Whether every sample that was asked for is stored."""
        return self.done == self.entry.samples

    @property
    def propagations(self) -> float:
        """Forwards plus backwards, the mean over attacked samples."""
        return self.forwards + self.backwards

    @property
    def searched(self) -> float:
        """The only radius that was searched, in the distance that compares; inf where distances are minimised."""
        return _searched(self.entry)

    @property
    def minimal(self) -> bool:
        """Whether distances were minimised, and not one radius searched."""
        return self.searched == math.inf


_NEEDED = (
    "sample",
    "content",
    "counted",
    "attacked",
    "status",
    "value",
    "best",
    "forwards",
    "backwards",
    "survives_8bit",
)


def of(stored: Stored, rows: pl.DataFrame, entries: Sequence[Entry]) -> dict[int, Line]:
    """Return the line of every entry, by its number. `rows` are those of `scored.rows`."""
    failed: dict[str, set[int]] = {}
    for failure in stored.failures:
        failed.setdefault(failure.cell.id, set()).update(failure.samples)
    needed = rows.select("entry", *_NEEDED)
    parts = {int(part["entry"][0]): part for part in needed.partition_by("entry")}
    empty = needed.clear()
    return {
        entry.number: _line(
            entry,
            parts.get(entry.number, empty),
            failed.get(entry.cell.id, set()).intersection(stored.planned[entry.number].samples),
        )
        for entry in entries
    }


def _line(entry: Entry, rows: pl.DataFrame, failed: set[int]) -> Line:
    counted = rows.filter("counted")
    attacked = counted.filter("attacked")
    found = attacked.filter(pl.col("status") == Status.FOUND.value)
    distances = counted["value"].to_numpy()
    minimal = _searched(entry) == math.inf
    forwards, backwards = attacked["forwards"].to_numpy(), attacked["backwards"].to_numpy()
    return Line(
        entry=entry,
        done=len(rows),
        errors=len(failed.difference(rows["sample"].to_list())) if failed else 0,
        counted=len(counted),
        over=_hash(counted),
        distances=np.sort(distances),
        asr=metrics.asr(distances),
        median=metrics.lower_median(distances) if minimal else math.nan,
        mean=metrics.mean_found(attacked["value"].to_numpy()) if minimal else math.nan,
        forwards=_mean(forwards),
        backwards=_mean(backwards),
        spent=float((forwards + backwards).max()) if forwards.size else math.nan,
        survives=_mean(found["survives_8bit"].drop_nulls().to_numpy()),
        optimality=metrics.local_optimality(distances, counted["best"].to_numpy()) if minimal else math.nan,
    )


def _searched(entry: Entry) -> float:
    radius = hyper_parameters.fixed_radius(entry.cell.settings)
    return math.inf if radius is None or names.compared_by(entry.cell) != entry.cell.minimises else radius


def _hash(rows: pl.DataFrame) -> str:
    return digest(rows["sample"].to_numpy().tobytes(), *rows["content"].to_list())


def _mean(values: NDArray[np.generic]) -> float:
    return float(values.astype(np.float64).mean()) if values.size else math.nan

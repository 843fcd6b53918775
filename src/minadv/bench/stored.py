"""A benchmark folder, read: what tables, curves and pages are made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl
from torch import Tensor

from minadv.bench.records import Cell, Diagnosis, Failure, Planned
from minadv.diagnosis.finding import Finding
from minadv.result import Trace
from minadv.run_folder import Environment


@dataclass(frozen=True)
class Pictures:
    """Tensors of some samples of one cell: (n, ...) each."""

    originals: Tensor
    adversarials: Tensor


@dataclass(frozen=True)
class Stored:
    """A benchmark folder, read: pure functions make tables, curves and pages of it.

    Attributes:
        title: of the last suite.
        planned: what was asked for, in the order of the tables.
        rows: `ROWS`, one row per (cell, sample) of finished shards. `cell` is the cell's id.
        damaged: says which of the tensors that were asked for so far are damaged.
        earlier: cells that were replaced since, by other settings, weights or code, with their rows: they count
            for what is best known of a sample, and for nothing else.
        failures: shards that raised and were not computed since.
        diagnoses: of the models, with what was found.
        notes: what a reader should know about the folder: damaged files, results of earlier settings left out.
        environments: where the shards were computed.
        pictures: (cell id, sample numbers) → originals and adversarials.
        traces: (cell id, sample numbers) → their trace, or None when none was kept.
    """

    title: str
    planned: tuple[Planned, ...]
    rows: pl.DataFrame
    failures: tuple[Failure, ...]
    diagnoses: tuple[Diagnosis, ...]
    notes: tuple[str, ...]
    environments: tuple[Environment, ...]
    pictures: Callable[[str, Sequence[int]], Pictures]
    traces: Callable[[str, Sequence[int]], Trace | None]
    earlier: tuple[tuple[Cell, pl.DataFrame], ...] = ()
    damaged: Callable[[], tuple[str, ...]] = lambda: ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found about the models."""
        return tuple(finding for diagnosis in self.diagnoses for finding in diagnosis.findings)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells that could be computed, in the order of the tables."""
        return tuple(planned.cell for planned in self.planned if planned.cell is not None)

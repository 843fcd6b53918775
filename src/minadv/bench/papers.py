"""What a benchmark folder says about its shards, in small JSON files: plan, cells, failures and findings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from minadv.bench import files
from minadv.bench.records import Cell, Diagnosis, Failure, Plan, Planned

SHARDS, CELLS, FAILURES, DAMAGED = "shards", "cells", "failures", "damaged"
DIAGNOSES, CLAIMS, PLAN = "diagnoses", "claims", "plan.json"
PLAN_LOCK = "plan.lock"


@dataclass(frozen=True)
class Papers:
    """A benchmark folder, by its small files."""

    folder: Path

    def write_cell(self, cell: Cell) -> None:
        """Say what a cell is."""
        with self._alone():
            files.write_text(self.folder / CELLS / f"{cell.id}.json", cell.model_dump_json(indent=1))

    def write_failure(self, failure: Failure) -> None:
        """Record what a shard raised."""
        files.write_text(self.folder / FAILURES / f"{failure.shard}.json", failure.model_dump_json(indent=1))

    def write_diagnosis(self, diagnosis: Diagnosis) -> None:
        """Record what was found about a model."""
        path = self.folder / DIAGNOSES / f"{diagnosis.name}.json"
        with self._alone():
            files.write_text(path, diagnosis.model_dump_json(indent=1))

    def write_plan(self, plan: Plan) -> None:
        """Say what is asked for: it replaces cells of the same data, model and attack; others stay."""
        with self._alone():
            before, _ = self.plan()
            self._write_plan(plan, before.planned if before else (), plan.planned)

    def add_plan(self, plan: Plan) -> None:
        """Add what was asked of another folder: cells that are in this one's plan keep their settings."""
        with self._alone():
            before, _ = self.plan()
            own = [_together(mine, plan.planned) for mine in before.planned] if before else []
            self._write_plan(before or plan, plan.planned, own)

    def _write_plan(self, plan: Plan, old: Sequence[Planned], new: Sequence[Planned]) -> None:
        asked = {planned.name for planned in new}
        cells = {planned.cell.id for planned in new if planned.cell is not None}  # under whatever name
        kept = [
            planned
            for planned in old
            if planned.name not in asked and (planned.cell is None or planned.cell.id not in cells)
        ]
        merged = plan.model_copy(update={"planned": (*kept, *new)})
        files.write_text(self.folder / PLAN, merged.model_dump_json())

    def plan(self) -> tuple[Plan | None, str | None]:
        """Read what was asked for; None, and why, when there is no plan that can be read."""
        return files.read(Plan, self.folder / PLAN)

    def cells(self) -> Iterator[tuple[Path, Cell | None]]:
        """Read what the cells are, None for a damaged file."""
        for path in sorted((self.folder / CELLS).glob("*.json")):
            yield path, files.read(Cell, path)[0]

    def has_cell(self, cell: str) -> bool:
        """Whether it is said what a cell is."""
        return (self.folder / CELLS / f"{cell}.json").is_file()

    def failures(self) -> Iterator[Failure]:
        """Read what shards raised, in this folder's whole life."""
        for path in sorted((self.folder / FAILURES).glob("*.json")):
            failure, _ = files.read(Failure, path)
            if failure is not None:
                yield failure

    def diagnoses(self) -> Iterator[Diagnosis]:
        """Read what was found about models."""
        for path in sorted((self.folder / DIAGNOSES).glob("*.json")):
            diagnosis, _ = files.read(Diagnosis, path)
            if diagnosis is not None:
                yield diagnosis

    def diagnosis(self, name: str) -> Diagnosis | None:
        """Read one; None when there is none that can be read."""
        return files.read(Diagnosis, self.folder / DIAGNOSES / f"{name}.json")[0]

    def has(self, shard: str) -> bool:
        """Whether a shard is in its place (intact or not)."""
        return (self.folder / SHARDS / shard).is_dir()

    def _alone(self) -> FileLock:
        """Lock for the small files that belong to no shard."""
        return FileLock(self.folder / CLAIMS / PLAN_LOCK)


def _together(mine: Planned, others: Sequence[Planned]) -> Planned:
    """Return what was asked of a cell here and there; one that could not be computed here is what it is there."""
    there = [other for other in others if other.cell is not None and other.name == mine.name]
    if mine.cell is None:
        return next(iter(there), mine)
    same = [other.samples for other in there if other.cell is not None and other.cell.id == mine.cell.id]
    samples = {number for numbers in (mine.samples, *same) for number in numbers}
    return mine.model_copy(update={"samples": tuple(sorted(samples))})

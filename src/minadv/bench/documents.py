"""What a benchmark folder says about its shards, in small JSON files: plan, cells, failures and findings."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from minadv.bench import files, namesakes
from minadv.bench.files import Kind
from minadv.bench.records import Cell, Diagnosis, Failure, Plan, Planned

SHARDS, CELLS, FAILURES, DAMAGED = "shards", "cells", "failures", "damaged"
DIAGNOSES, CLAIMS, PLAN = "diagnoses", "claims", "plan.json"
PLAN_LOCK = "plan.lock"


@dataclass(frozen=True)
class Documents:
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
        """Say what is asked for: it replaces cells of the same data, model and attack, in their places.

        Cells of another network that had a model's name give way to the reason why they are not there.
        """
        with self._alone():
            before, _ = self.plan()
            old = namesakes.without(before.planned if before else (), namesakes.hashes(plan.planned))
            asked = {planned.name: _together(planned, old) for planned in plan.planned}
            ids = _ids(plan.planned)  # under whatever name
            kept = [planned for planned in old if planned.name in asked or not ids & _ids([planned])]
            merged = [asked.pop(planned.name, planned) for planned in kept]
            self._write_plan(plan, [*merged, *asked.values()])

    def add_plan(self, plan: Plan) -> None:
        """Add what was asked of another folder: cells that are in this one's plan keep their settings."""
        with self._alone():
            before, _ = self.plan()
            mine = before.planned if before else ()
            others = namesakes.without(plan.planned, namesakes.hashes(mine))
            own = [_together(planned, others) for planned in mine]
            names, ids = {planned.name for planned in own}, _ids(own)
            more = [planned for planned in others if planned.name not in names and not ids & _ids([planned])]
            self._write_plan(before or plan, [*own, *more])

    def _write_plan(self, plan: Plan, planned: Sequence[Planned]) -> None:
        whole = plan.model_copy(update={"planned": tuple(planned)}).sealed()
        files.write_text(self.folder / PLAN, whole.model_dump_json())

    def plan(self) -> tuple[Plan | None, str | None]:
        """Read what was asked for; None, and why, when there is no plan that can be read."""
        plan, why = files.read(Plan, self.folder / PLAN)
        return (plan, why) if plan is None or plan.intact() else (None, f"{PLAN} was altered")

    def cells(self) -> Iterator[tuple[Path, Cell | None]]:
        """Read what the cells are, None for a damaged file."""
        for path in sorted((self.folder / CELLS).glob("*.json")):
            yield path, _called(Cell, path, lambda cell: cell.id)

    def has_cell(self, cell: str) -> bool:
        """Whether it is said what a cell is."""
        return (self.folder / CELLS / f"{cell}.json").is_file()

    def failures(self) -> Iterator[Failure]:
        """Read what shards raised, in this folder's whole life."""
        for path in sorted((self.folder / FAILURES).glob("*.json")):
            failure = _called(Failure, path, lambda failure: failure.shard)
            if failure is not None:
                yield failure

    def diagnoses(self) -> Iterator[Diagnosis]:
        """Read what was found about models."""
        for path in sorted((self.folder / DIAGNOSES).glob("*.json")):
            diagnosis = self.diagnosis(path.stem)
            if diagnosis is not None:
                yield diagnosis

    def diagnosis(self, name: str) -> Diagnosis | None:
        """Read one; None when there is none that can be read."""
        path = self.folder / DIAGNOSES / f"{name}.json"
        return _called(Diagnosis, path, lambda diagnosis: diagnosis.name)

    def has(self, shard: str) -> bool:
        """Whether a shard is in its place (intact or not)."""
        return (self.folder / SHARDS / shard).is_dir()

    def _alone(self) -> FileLock:
        """Lock for the small files that belong to no shard."""
        return FileLock(self.folder / CLAIMS / PLAN_LOCK)


def _called(kind: type[Kind], path: Path, name: Callable[[Kind], str]) -> Kind | None:
    """Read a file that is called what it holds; None when it cannot be read, or holds something else."""
    record, _ = files.read(kind, path)
    return record if record is not None and name(record) == path.stem else None


def _together(mine: Planned, others: Sequence[Planned]) -> Planned:
    """Return what was asked of a cell here and there; one that could not be computed here is what it is there."""
    there = [other for other in others if other.cell is not None and other.name == mine.name]
    if mine.cell is None:
        return next(iter(there), mine)
    # of another population, more samples than were asked for would be those that the model gets right
    own = mine.cell.id, mine.cell.population
    same = [one.samples for one in there if one.cell is not None and (one.cell.id, one.cell.population) == own]
    samples = {number for numbers in (mine.samples, *same) for number in numbers}
    return mine.model_copy(update={"samples": tuple(sorted(samples))})


def _ids(planned: Iterable[Planned]) -> set[str]:
    return {one.cell.id for one in planned if one.cell is not None}

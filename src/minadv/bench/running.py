"""Run what is missing of a suite, and lose nothing of it."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable

import polars as pl
import torch

from minadv.bench import finished as shelf
from minadv.bench.executor import Executor, Failed, Finished
from minadv.bench.jobs import Job, Planning, Shard, shards
from minadv.bench.records import Failure, Sample, ShardRecord
from minadv.bench.store import TENSORS_FILE, TRACE_FILE, DamagedError, Store
from minadv.claims import Claim

WAIT = 0.5  # seconds between looks at what another process computes


@runtime_checkable
class View(Protocol):
    """Who watches a run."""

    def begin(self, job: Job, finished: pl.DataFrame) -> None:
        """Show a cell, and the rows that it has already."""
        ...

    def finished(self, job: Job, rows: pl.DataFrame) -> None:
        """Take note of a shard's rows, computed here or by another process."""
        ...

    def failed(self, failed: Failed) -> None:
        """Take note of a shard that raised."""
        ...

    def note(self, text: str) -> None:
        """Say something."""
        ...


@dataclass(frozen=True)
class Report:
    """How a run ended: shards computed here, failed, found finished, and whether it was asked to stop."""

    computed: int
    failed: int
    before: int
    stopped: bool


@dataclass
class Run:
    """One process working on a suite in a folder.

    Attributes:
        stop: asked before each shard whether to leave the rest for another time.
    """

    planning: Planning
    store: Store
    executor: Executor
    view: View
    stop: Callable[[], bool] = lambda: False
    _claims: dict[str, Claim] = field(default_factory=dict[str, Claim])
    _busy: list[Shard] = field(default_factory=list[Shard])
    _rest: list[Shard] = field(default_factory=list[Shard])
    _counts: Counter[str] = field(default_factory=Counter[str])

    def __call__(self) -> Report:
        """Compute what is missing.

        Raises:
            OSError: when the folder cannot be written to; what is finished stays.
        """
        done = self._finished()
        for job in self.planning.jobs:
            self.store.write_cell(job.cell)
        self.store.write_plan(self.planning.plan)
        try:
            self._work(self._missing(done))
            while (self._rest or self._busy) and not self.stop():
                waiting, self._rest, self._busy = [*self._rest, *self._busy], [], []
                self._work(iter(waiting))
                if self._busy:
                    self._wait()
        finally:
            for claim in self._claims.values():
                claim.release()
            self.store.tidy()
        counts = self._counts
        left = bool(self._busy or self._rest or counts["left"])
        return Report(counts["computed"], counts["failed"], counts["before"], left)

    def _finished(self) -> dict[str, frozenset[Sample]]:
        """Find each cell's finished samples, reading every byte of what this run builds on."""
        found, damaged = shelf.records(self.store)
        size, jobs = self.planning.shard_size, {job.cell.id: job for job in self.planning.jobs}
        rows: dict[str, list[pl.DataFrame]] = {cell: [] for cell in jobs}
        samples: dict[str, set[Sample]] = {cell: set() for cell in jobs}
        for record in found:
            if record.cell not in jobs or (jobs[record.cell].trace and TRACE_FILE not in record.files):
                continue
            try:
                self.store.verify(record.id)
                rows[record.cell].append(shelf.rows_of(self.store, record))
                samples[record.cell] |= set(record.samples)
            except DamagedError as error:
                damaged.append((record.id, str(error)))
        for shard, why in damaged:
            if self.store.set_aside(shard):
                self.view.note(f"{why}: it is set aside in damaged/, and what this suite needs is computed again")
        for cell, job in jobs.items():
            self._counts["before"] += sum(samples[cell].issuperset(shard.samples) for shard in shards(job, size))
            asked = pl.DataFrame(job.samples, schema=["sample", "content", "label"], orient="row")
            frames = [frame.join(asked, on=asked.columns, how="semi") for frame in rows[cell]]
            self.view.begin(job, shelf.joined(frames))
        return {cell: frozenset(of) for cell, of in samples.items()}

    def _missing(self, done: dict[str, frozenset[Sample]]) -> Iterator[Shard]:
        for job in self.planning.jobs:
            yield from shards(job, self.planning.shard_size, done[job.cell.id])

    def _work(self, wanted: Iterator[Shard]) -> None:
        for outcome in self.executor.run(self._claimed(wanted)):
            if isinstance(outcome, Finished):
                self._store(outcome)
            else:
                self._record(outcome)
            self._claims.pop(outcome.shard.id).release()

    def _wait(self) -> None:
        if not self._counts["waited"]:
            self.view.note(f"{len(self._busy)} shards are being computed by another process: waiting for them")
        self._counts["waited"] += 1
        time.sleep(WAIT)

    def _claimed(self, wanted: Iterator[Shard]) -> Iterator[Shard]:
        """Yield the shards that this process is the one to compute."""
        for shard in wanted:
            if self.stop():
                self._counts["left"] += 1
                return
            claim = self.store.claim(shard.id)
            if claim is None:
                self._busy.append(shard)
            elif self.store.intact(shard.id):  # finished by another process since we looked
                claim.release()
                self._counts["before"] += 1
                self.view.finished(shard.job, shelf.rows_of(self.store, self.store.record(shard.id)))
            else:
                self._claims[shard.id] = claim
                yield shard

    def _store(self, finished: Finished) -> None:
        shard = finished.shard
        record = ShardRecord(
            id=shard.id,
            cell=shard.job.cell.id,
            samples=shard.samples,
            files={},
            seconds=finished.seconds,
            started=finished.started,
            warnings=finished.warnings,
            environment=finished.environment,
        )
        numbers = torch.tensor([number for number, _, _ in shard.samples])
        tensors = {
            TENSORS_FILE: {
                "originals": finished.originals,
                "adversarials": finished.adversarials,
                "samples": numbers,
            }
        }
        if finished.trace is not None:
            tensors[TRACE_FILE] = {
                "propagations": finished.trace.propagations,
                "distances": finished.trace.distances,
                "samples": numbers,
            }
        rows = finished.rows.with_columns(pl.lit(shard.id).alias("shard"))
        self.store.write_shard(record, shelf.ordered(rows), tensors)
        self._counts["computed"] += 1
        self.view.finished(shard.job, rows)

    def _record(self, failed: Failed) -> None:
        """Record what failed; where some samples alone are to blame, the others are computed without them."""
        job = failed.shard.job
        bad = tuple(sample for sample in failed.shard.samples if sample[0] in failed.samples)
        rest = tuple(sample for sample in failed.shard.samples if sample not in bad)
        if bad and rest:
            failed = replace(failed, shard=Shard.of(job, bad))
            self._rest.append(Shard.of(job, rest))
        failure = Failure(
            shard=failed.shard.id,
            cell=job.cell,
            samples=tuple(number for number, _, _ in failed.shard.samples),
            error=failed.error,
            traceback=failed.traceback,
            when=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self.store.write_failure(failure)
        self._counts["failed"] += 1
        self.view.failed(failed)

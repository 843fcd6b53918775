"""Computing shards in this process. What an executor is, is small: shards in, outcomes out."""

import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Protocol, runtime_checkable

import polars as pl
import torch
from torch import Tensor, nn

import minadv
from minadv.bench import rows
from minadv.bench.jobs import Shard
from minadv.data import Data
from minadv.environment import environment
from minadv.errors import RowError
from minadv.evaluation import evaluate
from minadv.result import Trace
from minadv.run_folder import Environment


@dataclass(frozen=True)
class Finished:
    """What was computed of a shard: rows of `records.ROWS` without the shard's id, tensors (n, ...), the trace.

    And where it was computed, which need not be the process that stores it.
    """

    shard: Shard
    rows: pl.DataFrame
    originals: Tensor
    adversarials: Tensor
    trace: Trace | None
    seconds: float
    started: str
    warnings: tuple[str, ...]
    environment: Environment


@dataclass(frozen=True)
class Failed:
    """A shard that raised: the error in one line, and its traceback.

    Attributes:
        samples: numbers of those that alone are to blame; none where that is not known.
    """

    shard: Shard
    error: str
    traceback: str
    samples: tuple[int, ...] = ()

    @classmethod
    def of(cls, shard: Shard, error: BaseException) -> "Failed":
        """Say what a shard raised."""
        to_blame = error.rows if isinstance(error, RowError) else ()
        name = ValueError.__name__ if to_blame else type(error).__name__  # a name that is known outside, too
        line = " ".join(f"{name}: {error}".split())
        return cls(shard, line, "".join(traceback.format_exception(error)), to_blame)


@runtime_checkable
class Executor(Protocol):
    """Computes shards somewhere.

    It takes the next shard only when it is about to compute it, and yields outcomes in any order. It stores
    nothing: a shard counts as finished when the caller has stored it.
    """

    def run(self, shards: Iterable[Shard]) -> Iterator[Finished | Failed]:
        """Compute the shards and yield what came out. A shard that raises is an outcome like another."""
        ...


class Local:
    """Computes in this process, one shard after the other; keeps the last model and data set."""

    def __init__(
        self,
        device: torch.device | str = "cpu",
        on_progress: Callable[[Shard, float], None] = lambda _shard, _done: None,
    ) -> None:
        """Compute on `device`; `on_progress` is told how many samples of a shard are done, in fractions too."""
        self._device = torch.device(device)
        self._on_progress = on_progress
        self._models: dict[str, nn.Module] = {}
        self._data: dict[str, Data] = {}

    def run(self, shards: Iterable[Shard]) -> Iterator[Finished | Failed]:
        """Compute the shards in order."""
        for shard in shards:
            try:
                yield self._compute(shard)
            except (Exception, SystemExit) as error:  # whatever a user's model raises: recorded, and tried again
                yield Failed.of(shard, error)

    def _compute(self, shard: Shard) -> Finished:
        job = shard.job
        model = self._loaded(job.model_spec)
        numbers = [number for number, _, _ in shard.samples]
        originals, labels = self._opened(job.data_spec).batch(numbers)
        started, clock = datetime.now(UTC), time.perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                result = evaluate(
                    model,
                    (originals, labels),
                    job.attack,
                    targets=job.target,
                    device=self._device,
                    progress=False,
                    trace=job.trace,
                    on_progress=lambda done: self._on_progress(shard, done),
                )
            except RowError as error:
                error.number(numbers)
                raise
        seconds = time.perf_counter() - clock
        table = rows.of(
            result,
            model,
            originals,
            labels,
            cell=job.cell,
            samples=numbers,
            contents=[content for _, content, _ in shard.samples],
            target=job.target,
            seconds=seconds,
        )
        said = tuple(dict.fromkeys(" ".join(str(warning.message).split()) for warning in caught))
        when = started.isoformat(timespec="milliseconds")
        found = originals, result.adversarials, result.trace
        return Finished(shard, table, *found, seconds, when, said, self._environment)

    @cached_property
    def _environment(self) -> Environment:
        return environment(self._device)  # once: it asks git

    def _loaded(self, spec: str) -> nn.Module:
        if spec not in self._models:
            self._models = {spec: minadv.models.load(spec, device=self._device)}  # only the last: they are large
        return self._models[spec]

    def _opened(self, spec: str) -> Data:
        if spec not in self._data:
            self._data = {spec: minadv.data.load(spec)}
        return self._data[spec]

"""The live view of a benchmark: a line per cell in a terminal, plain lines elsewhere."""

import time
from dataclasses import dataclass, field
from types import TracebackType

import numpy as np
import polars as pl
from rich.console import Console, Group, RenderableType
from rich.live import Live as Screen
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from minadv import errors, metrics
from minadv.bench.executor import Failed
from minadv.bench.jobs import Job, Planning, Shard
from minadv.cli.console import err, warn
from minadv.report.summary import duration, number

AT_ONCE = 30  # cells shown in a terminal: those at work, and what comes next


@dataclass
class CellState:
    """What is known of a cell so far."""

    job: Job
    distances: list[np.ndarray[tuple[int], np.dtype[np.float64]]] = field(
        default_factory=list[np.ndarray[tuple[int], np.dtype[np.float64]]]
    )
    done: int = 0
    failed: int = 0
    under_way: float = 0.0
    computed: int = 0
    seconds: float = 0.0
    since: float | None = None

    @property
    def total(self) -> int:
        """Samples."""
        return len(self.job.samples)

    @property
    def all_distances(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Of the finished samples."""
        return np.concatenate(self.distances) if self.distances else np.empty(0)

    @property
    def rate(self) -> float | None:
        """Samples per second, of those computed here."""
        running = time.monotonic() - self.since if self.since is not None else 0.0
        seconds, samples = self.seconds + running, self.computed + self.under_way
        return samples / seconds if samples and seconds else None

    @property
    def left(self) -> float | None:
        """Seconds until it is finished, None before anything of it was computed here."""
        rest = self.total - self.done - self.failed - self.under_way
        return 0.0 if rest <= 0 else rest / self.rate if self.rate else None

    def facts(self) -> tuple[str, str, str, str]:
        """ASR, median, rate and time left in words."""
        distances = self.all_distances
        asr = f"{100 * metrics.asr(distances):.1f} %" if len(distances) else "–"
        minimal = self.job.attack.fixed_radius is None
        median = number(metrics.lower_median(distances)) if len(distances) and minimal else "–"
        rate = f"{self.rate:.2g}/s" if self.rate else "–"
        if self.done + self.failed >= self.total:
            return asr, median, rate, "failed" if self.failed else "done"
        return asr, median, rate, "–" if self.left is None else duration(self.left)


class Live:
    """Shows each cell's progress; implements `minadv.bench.running.View`."""

    def __init__(self, planned: Planning, console: Console) -> None:
        """Say what was computed on a console, and show it under way on stderr; a quiet console shows nothing."""
        self._cells = {job.cell.id: CellState(job) for job in planned.jobs}
        self._told = set[tuple[str, str]]()
        screen = err(console.quiet)
        self._screen = Screen(
            get_renderable=self._render,
            console=screen,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=console.is_terminal,
        )
        self._terminal = screen.is_terminal and not console.quiet
        self._console = console
        # in one terminal, only the screen's own console writes without cutting through it
        self._beside = screen if self._terminal and console.is_terminal else console

    def __enter__(self) -> "Live":
        if self._terminal:
            self._screen.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        if self._terminal:
            self._screen.stop()
            if kind is None:
                self._console.print(self._table(list(self._cells.values())))

    def say(self, text: str) -> None:
        """Show what goes on besides shards."""
        self._beside.print(Text(text), soft_wrap=True)

    def begin(self, job: Job, finished: pl.DataFrame) -> None:
        """Show a cell, and the rows that it has already."""
        state = self._cells[job.cell.id]
        state.done = len(finished)
        state.distances = [finished["distance"].to_numpy()]

    def progress(self, shard: Shard, done: float) -> None:
        """Show how far a shard is, in samples."""
        state = self._cells[shard.job.cell.id]
        state.since = state.since or time.monotonic()
        state.under_way = done

    def finished(self, job: Job, rows: pl.DataFrame) -> None:
        """Count a finished shard."""
        state = self._cells[job.cell.id]
        state.done += len(rows)
        state.distances.append(rows["distance"].to_numpy())
        if state.since is not None:
            state.seconds += time.monotonic() - state.since
            state.computed += len(rows)
        state.since, state.under_way = None, 0.0
        self._line(state)

    def failed(self, failed: Failed) -> None:
        """Show a shard that raised, and say why once for each model."""
        state = self._cells[failed.shard.job.cell.id]
        state.failed += len(failed.shard.samples)
        state.since, state.under_way = None, 0.0
        cell, told = state.job.cell, (state.job.cell.model, errors.kind(failed.error))
        if told not in self._told:
            self._told.add(told)
            count = len(failed.shard.samples)
            samples = f"{count} sample{'' if count == 1 else 's'}"
            self.note(f"{cell.attack} on {cell.model}, {samples} failed: {failed.error}")

    def note(self, text: str) -> None:
        """Say something that a user should know."""
        warn(text)

    def _line(self, state: CellState) -> None:
        """Without a terminal, say what a finished shard brought."""
        if not self._terminal:
            asr, median, rate, left = state.facts()
            cell, left = state.job.cell, left if left in ("done", "failed") else f"{left} left"
            facts = f"{state.done}/{state.total}, ASR {asr}, median {median}, {rate}, {left}"
            self._console.print(Text(f"{cell.model}, {cell.attack}: {facts}"), soft_wrap=True)

    def _render(self) -> RenderableType:
        states = list(self._cells.values())
        open_ones = [state for state in states if state.done + state.failed < state.total]
        finished = len(states) - len(open_ones)
        lefts = [state.left for state in open_ones]
        known = [left for left in lefts if left is not None]
        guess = sum(known) / len(known) * len(open_ones) if known else None
        rest = "" if guess is None else f", about {duration(guess)} left"
        more = f", {len(open_ones) - AT_ONCE} more below" if len(open_ones) > AT_ONCE else ""
        return Group(
            Text(
                f"{finished} of {len(states)} cells finished{rest}{more}; Ctrl-C stops after the current shard",
                "dim",
            ),
            self._table(open_ones[:AT_ONCE]),
        )

    def _table(self, states: list[CellState]) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for head in ("model", "attack", "", "done", "ASR", "median", "rate", "left"):
            table.add_column(head, justify="left" if head in ("model", "attack", "") else "right", no_wrap=True)
        for state in states:
            done = state.done + state.under_way
            bar = ProgressBar(total=state.total, completed=done, width=16)
            cell = state.job.cell
            counted = f"{state.done}/{state.total}"
            table.add_row(Text(cell.model), Text(cell.attack), bar, counted, *map(Text, state.facts()))
        return table

"""Runs suites into their folders with the benchmark's own planning and store: what is finished stays finished."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from benchmarks.frontier import models
from minadv.bench import planning
from minadv.bench.executor import Local
from minadv.bench.jobs import Options, Planning
from minadv.bench.running import Report, Run
from minadv.bench.store import Store
from minadv.bench.suite import Suite
from minadv.cli.bench_view import Live


@dataclass(frozen=True)
class Ran:
    """How the run of one data set ended, and what was left out and why; no report where the data are missing."""

    name: str
    report: Report | None
    left_out: tuple[str, ...]


def run(
    suites: Iterable[tuple[str, Suite]], out: Path, files: tuple[Path, ...], console: Console
) -> Iterator[Ran]:
    """Compute what is missing of each suite in `out`/NAME.

    Args:
        suites: folder and suite.
        out: where the folders are.
        files: folders in which weights and data are looked for first.
        console: that progress is shown on.

    Raises:
        ValueError, TypeError: for settings that do not fit.
    """
    for name, suite in suites:
        with console.status(f"looking at {name}"):
            try:
                planned = planning.plan(suite, Options(files=files))
            except (OSError, ImportError, RuntimeError) as error:
                ours = str(models.folder()) in str(error)
                hint = "; python -m benchmarks.frontier train writes it" if ours else ""
                yield Ran(name, None, (f"{name}: {error}{hint}",))
                continue
        store = Store(out / name)
        store.create()
        with Live(planned, console) as view:
            view.say(f"{name}: {len(planned.jobs)} cells, into {store.folder}")
            report = Run(planned, store, Local(on_progress=view.progress), view)()
        yield Ran(name, report, left_out(planned))


def left_out(planned: Planning) -> tuple[str, ...]:
    """Say what a plan has that cannot be computed here, once for each reason."""
    reasons = {
        (cell.model, cell.unavailable): cell.attack
        for cell in reversed(planned.plan.planned)
        if cell.unavailable is not None
    }
    return tuple(f"{model} ({attack}, …): {why}" for (model, why), attack in reversed(reasons.items()))


def say(ran: Ran, console: Console) -> None:
    """Print how a run ended."""
    for line in ran.left_out:
        console.print(Text(f"left out: {line}", "yellow"), soft_wrap=True)
    if ran.report is not None:
        failed = f", {ran.report.failed} failed (see failures/)" if ran.report.failed else ""
        text = f"{ran.name}: {ran.report.computed} shards computed, {ran.report.before} were there{failed}"
        console.print(Text(text, "bold"))

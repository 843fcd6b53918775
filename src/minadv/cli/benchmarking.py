"""What `minadv bench` does, once the words are understood."""

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from minadv import run_folder
from minadv.bench import confirming, costs, finished, jobs, planning, reading, suite
from minadv.bench.executor import Executor, Local
from minadv.bench.jobs import Options, Planning, Shard
from minadv.bench.running import Report, Run
from minadv.bench.store import Store
from minadv.cli import console
from minadv.cli.bench_view import Live
from minadv.errors import counted
from minadv.validation import usable_device

FINISHED, INCOMPLETE, UNWRITABLE = 0, 1, 3


@dataclass(frozen=True)
class Request:
    """The words of one `minadv bench`."""

    suite: str
    options: Options
    out: Path
    dry_run: bool
    diagnosis: bool
    report: bool
    engine: str
    device: str
    threads: int | None
    quiet: bool


def run(request: Request) -> int:
    """Compute what is missing of a suite, write the report, and return the exit code.

    Raises:
        ValueError, TypeError, ImportError, RuntimeError, OSError: for what cannot be begun, saying why.
    """
    if request.threads is not None:
        torch.set_num_threads(request.threads)
    device = _device(request)
    asked = suite.load(request.suite)
    say = Console(quiet=True) if request.quiet else console.out()
    with console.err(request.quiet).status("reading the suite") as status:
        planned = _planned(request, asked, lambda what: status.update(f"looking at {what}"))
    store = Store(request.out)
    run_folder.check_free(request.out)
    if request.out.exists() and not request.out.is_dir():
        raise ValueError(f"--out {request.out} is a file: give a folder")
    if request.dry_run:
        say.print(costs_table(planned, store))
        return INCOMPLETE if _unavailable(planned) else FINISHED
    try:
        store.create()
        with _stoppable() as stop, Live(planned, say) as view:
            confirming.confirm(planned, store, view.say)
            if request.diagnosis:
                from minadv.bench import diagnosing

                diagnosing.diagnose(planned, store, view.say, stop)
            executor = _executor(request.engine, device, view.progress)
            report = Run(planned, store, executor, view, stop)()
    except OSError as error:
        return _unwritable(request.out, error)
    return _ending(request, planned, report, say)


def _device(request: Request) -> torch.device:
    """Return where to compute; machines of a cluster may have what is not here.

    Raises:
        ValueError: when torch does not know it, or this process is to use it and cannot.
    """
    if request.engine == "local":
        return usable_device(request.device, "--device {}")
    try:
        return torch.device(request.device)
    except RuntimeError as error:
        raise ValueError(f"--device {request.device} is none that torch knows: {error}") from error


def _executor(engine: str, device: torch.device, progress: Callable[[Shard, float], None]) -> Executor:
    if engine == "local":
        return Local(device, progress)
    from minadv.bench.cluster import Cluster

    return Cluster(device)


def _planned(request: Request, asked: suite.Suite, say: Callable[[str], None]) -> Planning:
    """Plan a suite; what is wrong with it is said with its name."""
    try:
        return planning.plan(asked, request.options, say)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{request.suite}: {error}") from error
    except (OSError, RuntimeError, ImportError) as error:
        raise RuntimeError(f"{request.suite}: data: {error}") from error


def _ending(request: Request, planned: Planning, report: Report, say: Console) -> int:
    missing = _unavailable(planned)
    say.print(Text(f"{counted(report.computed, 'shard')} computed, {report.before} were finished before", "bold"))
    again = f"the same command goes on: finished shards in {request.out} are kept"
    if report.failed:
        console.warn(
            f"{counted(report.failed, 'shard')} failed (see {request.out}/failures and the report); {again}"
        )
    if report.stopped:
        console.warn(f"stopped before all was computed; {again}")
    if request.report and (report.computed or report.before):
        from minadv.report import bench as page

        try:
            with console.err(request.quiet).status("writing the report"):
                path = page.write(request.out, reading.read(request.out))
        except OSError as error:
            return _unwritable(request.out, error)
        say.print(Text(f"report: {path}"), soft_wrap=True)
    if report.stopped:
        return console.INTERRUPTED
    return INCOMPLETE if report.failed or missing else FINISHED


def _unavailable(planned: Planning) -> int:
    """Say what cannot be computed here, each reason once; return how many that are not optional are missing."""
    reasons: dict[str, list[str]] = {}
    for cell in planned.plan.planned:
        if cell.unavailable is not None:
            reasons.setdefault(cell.unavailable, []).append(f"{cell.attack} on {cell.model}")
    for reason, names in reasons.items():
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        console.warn(f"not available: {names[0]}{others}: {reason}")
    return sum(cell.unavailable is not None and not cell.optional for cell in planned.plan.planned)


def costs_table(planned: Planning, store: Store) -> Table:
    """Cells, shards, and the propagations that the missing ones will cost at most."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("model", "attack", "samples", "shards", "missing", "forwards", "backwards"):
        table.add_column(name, justify="left" if name in ("model", "attack") else "right")
    total = [0, 0, 0, 0]
    unknown = False
    done = finished.samples(store)
    for job in planned.jobs:
        found = list(jobs.shards(job, planned.shard_size))
        missing = list(jobs.shards(job, planned.shard_size, done.get(job.cell.id, frozenset())))
        samples = sum(len(shard.samples) for shard in missing)
        each = costs.at_most(job.cell.family, job.attack, job.outputs)
        spent = None if each is None else (samples * each[0], samples * each[1])
        unknown |= spent is None and samples > 0
        shown = ("?", "?") if spent is None else tuple(f"{count:,}" for count in spent)
        cells = (
            job.cell.model,
            job.cell.attack,
            str(len(job.samples)),
            str(len(found)),
            str(len(missing)),
            *shown,
        )
        table.add_row(*map(Text, cells))
        for place, count in enumerate((len(found), len(missing), *(spent or (0, 0)))):
            total[place] += count
    table.add_section()
    counts = [f"{count:,}" for count in total]
    table.add_row(Text("at most" if not unknown else "at most, without ?", "bold"), "", "", *counts)
    return table


def _unwritable(folder: Path, error: OSError) -> int:
    why = error.strerror or str(error)
    message = (
        f"error: cannot write to {error.filename or folder}: {why}. Finished shards in {folder} are kept: make "
        "room, or copy the folder elsewhere and give that as --out, then give the same command again"
    )
    console.err().print(Text(message, "red"), soft_wrap=True)
    return UNWRITABLE


@contextmanager
def _stoppable() -> Generator[Callable[[], bool]]:
    """Yield whether to stop: after the first Ctrl-C (or SIGTERM) at the next shard, at once after the second."""
    asked: list[int] = []

    def ask(_number: int, _frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(1)
        console.warn("stopping after the current shard is stored; Ctrl-C again stops at once and loses it")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

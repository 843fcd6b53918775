"""Measurements on the terminal: how far they are, and their tables."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks.tables import Table, written

T = TypeVar("T")


class Track(Protocol):
    """Yields jobs, and shows which one runs."""

    def __call__(self, title: str, jobs: Sequence[T], /) -> Iterator[T]: ...


def tracked(progress: Progress) -> Track:
    """Show jobs, by what they are as text, in a bar of their own."""

    def track(title: str, jobs: Sequence[T], /) -> Iterator[T]:
        task = progress.add_task(escape(title), total=len(jobs))
        for job in jobs:
            progress.update(task, description=escape(f"{title}: {job}"))
            yield job
            progress.advance(task)
        progress.remove_task(task)

    return track


def show(measured: Callable[[Track], Iterator[Table]], file: Path | None, console: Console) -> None:
    """Print tables, and write them to the file, if any, as they come; of an incomplete one its last row is new."""
    columns = SpinnerColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=console) as progress:
        for table in written(measured(tracked(progress)), file):
            if table.complete:
                progress.console.print(table.rich())
            else:
                progress.console.print(" | ".join(table.rows[-1]), markup=False)

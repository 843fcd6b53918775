"""Measurements on the terminal: how far they are, and their tables."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks.tables import Table, written
from benchmarks.targets import SHARED

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


def on_public_models(about: str | None, tables: Callable[[Path, int, Track], Iterator[Table]], width: int) -> None:
    """Run a benchmark of the public models from the command line: `tables` of a folder and so many images.

    Args:
        about: the text of its help.
        tables: what it measures.
        width: of the terminal that its tables need.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of models and images")
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--out", type=Path, help="Markdown file to write the table to, row by row")
    given = parser.parse_args()
    show(lambda track: tables(given.data, given.samples, track), given.out, Console(width=width))

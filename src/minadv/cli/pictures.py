"""`minadv report` and `minadv plot`: pictures from what is stored or known, without an attack."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from minadv.cli.bench import Population
from minadv.cli.console import one_line_errors, out, warn
from minadv.cli.options import Debug
from minadv.errors import listed

plot = typer.Typer(help="Draw figures.", no_args_is_help=True)


@plot.callback()
def figures() -> None:
    """Draw figures."""


@plot.command()
def penalties(
    file: Annotated[Path, typer.Option("--out", help="File to write; its ending chooses SVG, PDF or PNG.")] = Path(
        "penalties.svg"
    ),
    debug: Debug = False,
) -> None:
    """Draw the four penalty functions, as figure 1 of the ALMA paper does."""
    with one_line_errors(debug):
        from minadv.report.penalties import save

        save(file)
        out().print(Text(f"wrote {file}"), soft_wrap=True)


def report(
    folder: Annotated[
        Path, typer.Argument(help="Folder of a minadv attack or minadv bench.", metavar="RUN_FOLDER")
    ],
    population: Annotated[
        Population | None,
        typer.Option(
            help="Of a benchmark: statistics over all samples, or over those classified correctly before the "
            "attack. [dim]default: the suite's[/]",
            show_default=False,
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Write the report again, from the files of a run folder alone."""
    with one_line_errors(debug):
        from minadv.bench.store import Store

        if Store(folder).exists():
            from minadv.bench import reading
            from minadv.report import bench

            wanted = None if population is None else population.value
            stored = reading.read(folder)
            with _writing_to(folder):
                page = bench.write(
                    folder, stored, population=wanted, say=lambda text: out().print(Text(text), soft_wrap=True)
                )
            for note in (*stored.notes, *stored.damaged()):
                warn(note)
        else:
            from minadv.report import write

            _check_for_runs(folder)
            if population is not None:
                raise ValueError(f"--population is for benchmark folders, and {folder} is none: leave it out")
            with _writing_to(folder):
                page = write(folder)
        out().print(Text(f"report: {page}"), soft_wrap=True)


def _check_for_runs(folder: Path) -> None:
    """Raise ValueError where a folder is no run, but holds some."""
    from minadv import run_folder
    from minadv.bench.store import Store

    if run_folder.exists(folder) or not folder.is_dir():
        return
    inside = (child for child in sorted(folder.iterdir()) if child.is_dir())
    runs = [child for child in inside if run_folder.exists(child) or Store(child).exists()]
    if runs:
        raise ValueError(f"{folder} is not a run, but holds some: give one of them, e.g. {listed(runs, most=3)}")


@contextmanager
def _writing_to(folder: Path) -> Generator[None]:
    """Say what to do where the system lets nobody write."""
    try:
        yield
    except OSError as error:
        if error.strerror is None:  # our own words
            raise
        raise OSError(
            f"cannot write the report into {folder} ({error.strerror}): make room or allow it there, or copy the "
            "folder elsewhere and give the copy"
        ) from error

"""`minadv report` and `minadv plot`: pictures from what is stored or known, without an attack."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from minadv.cli.console import one_line_errors, out

Debug = Annotated[bool, typer.Option("--debug", help="Show errors with their traceback.")]

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
    folder: Annotated[Path, typer.Argument(help="Folder of a finished run.", metavar="RUN_FOLDER")],
    debug: Debug = False,
) -> None:
    """Write report.html again from the files of a run folder."""
    with one_line_errors(debug):
        from minadv.report import write

        out().print(Text(f"report: {write(folder)}"), soft_wrap=True)

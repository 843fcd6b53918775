"""The command line. Nothing heavy is imported before a command needs it, so that `--help` answers at once."""

import sys
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from minadv import __version__
from minadv.cli.attack import attack
from minadv.cli.bench import EPILOG, bench, merge
from minadv.cli.console import INTERRUPTED, out
from minadv.cli.diagnose import diagnose
from minadv.cli.listing import list_names
from minadv.cli.pictures import plot, report


class _Commands(TyperGroup):
    """Commands whose bad options are told in typer's words, without pydantic's before them."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
            raise


app = typer.Typer(
    cls=_Commands,
    help="Minimal adversarial perturbations: the smallest change that makes a classifier wrong.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(attack)
app.command(epilog=EPILOG)(bench)
app.command()(report)
app.command()(merge)
app.command()(diagnose)
app.command("list")(list_names)
app.add_typer(plot, name="plot")


def _version(wanted: bool) -> bool:
    if wanted:
        out().print(f"minadv {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Minimal adversarial perturbations: the smallest change that makes a classifier wrong."""


def main() -> None:
    """Run the command line, in a process of its own."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # not every terminal has the letters ℓ and ∞
            stream.reconfigure(errors="replace")
    with suppress(OSError):  # the folder may be gone
        # last, for what the user's own models and distances import while they run
        sys.path.append(str(Path.cwd()))
    try:
        app()
    except KeyboardInterrupt:  # before a command could take care of it
        sys.exit(INTERRUPTED)

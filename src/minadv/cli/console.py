"""How the command line speaks: results on stdout, one clear line per problem and progress bars on stderr."""

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130

# What our own errors are, what the system says when a file, memory or a network is not there, and what torch
# says of a model that does not take these inputs. --debug shows the traceback of any of them.
EXPECTED = (ValueError, TypeError, ImportError, MemoryError, OSError, RuntimeError)


class OwnCodeError(Exception):
    """Raised for what the code of somebody's own model or distance raises."""


def out() -> Console:
    """Console for results; made anew, because tests and pipes replace the stream."""
    return Console(highlight=False)


def err(quiet: bool = False) -> Console:
    """Console for problems, and for progress bars, which are no results either."""
    return Console(stderr=True, highlight=False, quiet=quiet)


def warn(message: str) -> None:
    """Say something that the user should know on stderr."""
    err().print(Text.assemble(("note: ", "bold yellow"), _one_line(message)), soft_wrap=True)


@contextmanager
def one_line_errors(debug: bool) -> Generator[None]:
    """Turn expected errors into one line and exit code 2, those of own code 1, Ctrl-C into exit code 130.

    Args:
        debug: let errors through with their traceback.
    """
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise  # they are RuntimeErrors, but say how to exit
    except KeyboardInterrupt as interrupt:
        left = str(interrupt) or "nothing more is written"
        err().print(Text(f"interrupted: {left}", "bold yellow"), soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from interrupt
    except (OwnCodeError, *EXPECTED) as error:
        if debug:
            raise
        message = _one_line(str(error)) or _bare(error)
        err().print(Text.assemble(("error: ", "bold red"), (message, "red")), soft_wrap=True)
        raise typer.Exit(FAILED if isinstance(error, OwnCodeError) else BAD_INPUT) from error


@contextmanager
def plain_warnings() -> Generator[None]:
    """Show Python warnings as one line each."""
    with warnings.catch_warnings():
        warnings.showwarning = _show
        yield


@contextmanager
def kept_warnings() -> Generator[list[str]]:
    """Show Python warnings as they are shown outside, and yield what they say, each once, for the record."""
    said: list[str] = []
    with warnings.catch_warnings():
        show = warnings.showwarning

        def keep(message: Warning | str, *place: Any, **options: Any) -> None:
            if (text := _one_line(str(message))) not in said:
                said.append(text)
            show(message, *place, **options)

        warnings.showwarning = keep
        yield said


def _show(message: Warning | str, *_place: object, **_options: object) -> None:
    warn(str(message))


def _bare(error: Exception) -> str:
    """Say what an error without words is."""
    if isinstance(error, MemoryError):
        return "not enough memory: take fewer or smaller images"
    return type(error).__name__


def _one_line(message: str) -> str:
    return " ".join(message.split())

"""The user's own code by name: `python:package.module:attribute`, of models and of distances."""

import sys
import sysconfig
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

PREFIX = "python:"
PACKAGE = Path(__file__).parent
# what is installed is nobody's own code, nor is what Python brings
INSTALLED = (str(PACKAGE), *(sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")))


@contextmanager
def attribute(spec: str) -> Generator[Any]:
    """Import a module and give an attribute of it; until the end, the working directory is on the path.

    Errors that the user's own code raises pass through as they are.

    Args:
        spec: python:package.module:attribute.

    Raises:
        ValueError: for a malformed spec, no such module, or no such attribute in it.
    """
    module, colon, name = spec.removeprefix(PREFIX).partition(":")
    if not (module and colon and name):
        raise ValueError(f"{spec!r} is malformed: needed is {PREFIX}package.module:name")
    with _working_directory_on_path():
        yield _attribute(spec, _module(spec, module), name)


def own(file: str) -> bool:
    """Whether a source file is the user's own: neither part of this package nor installed."""
    return not (installed(file) or file.startswith("<"))


def installed(file: str) -> bool:
    """Whether a source file is part of this package, of an installed one, or of Python."""
    return file.startswith(INSTALLED)


def own_module(name: str) -> bool:
    """Whether a module that was imported is the user's own."""
    file = getattr(sys.modules.get(name), "__file__", None)
    return file is not None and own(file)


def place_of(error: Exception) -> str | None:
    """Return file and line of the innermost own code that an error came through; None when there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    theirs = [frame for frame in traceback.extract_tb(error.__traceback__) if own(frame.filename)]
    return f"{theirs[-1].filename}:{theirs[-1].lineno}" if theirs else None


def kind(value: object) -> str:
    """Describe a value that is none of what is needed."""
    return f"{value!r:.60} ({type(value).__name__})"


def _module(spec: str, name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        # a module that the user's module imports may be missing as well: that is for its own traceback to say
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise ValueError(
            f"{spec}: there is no module {error.name!r} on the path, which begins with {Path.cwd()}"
        ) from error


def _attribute(spec: str, module: ModuleType, name: str) -> Any:
    if hasattr(module, name):
        return getattr(module, name)
    public = sorted(known for known in vars(module) if not known.startswith("_"))
    nearest = get_close_matches(name, public, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else f"; it has {', '.join(public) or 'no public names'}"
    raise ValueError(f"{spec}: module {module.__name__!r} has no {name!r}{hint}")


@contextmanager
def _working_directory_on_path() -> Generator[None]:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)

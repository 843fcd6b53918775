"""Models that the user's own code builds: `python:package.module:factory`."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from torch import Tensor, nn

from minadv.models.specs import Spec
from minadv.models.wrap import Function


def load(spec: Spec) -> nn.Module:
    """Import the module, with the working directory on the path, and call the factory without arguments.

    Errors that the user's own code raises pass through as they are.

    Raises:
        ValueError: no such module, or no such attribute in it.
        TypeError: the factory cannot be called, or returns neither an nn.Module nor a callable.
    """
    module_name, _, attribute = spec.name.partition(":")
    with _working_directory_on_path():
        factory = _attribute(spec, _module(spec, module_name), attribute)
        if not callable(factory):
            raise TypeError(
                f"{spec.text}: {attribute} is {_kind(factory)}; needed is a function that builds the model"
            )
        model: Any = factory()
    if isinstance(model, nn.Module):
        return model
    if callable(model):
        return Function(cast("Callable[[Tensor], Tensor]", model))
    raise TypeError(f"{spec.text}: {attribute}() returned {_kind(model)}; needed is an nn.Module or a callable")


def _module(spec: Spec, name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        # a module that the user's module imports may be missing as well: that is for its own traceback to say
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise ValueError(
            f"{spec.text}: there is no module {error.name!r} on the path, which begins with {Path.cwd()}"
        ) from error


def _attribute(spec: Spec, module: ModuleType, name: str) -> Any:
    if hasattr(module, name):
        return getattr(module, name)
    public = sorted(known for known in vars(module) if not known.startswith("_"))
    nearest = get_close_matches(name, public, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else f"; it has {', '.join(public) or 'no public names'}"
    raise ValueError(f"{spec.text}: module {module.__name__!r} has no {name!r}{hint}")


def _kind(value: object) -> str:
    return f"{value!r:.60} ({type(value).__name__})"


@contextmanager
def _working_directory_on_path() -> Generator[None]:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)

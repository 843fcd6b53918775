"""Hashes of everything that decides a sample's numbers: weights, images, settings and code."""

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from minadv.bench.reach import reach
from minadv.data import Data
from minadv.data.images import InFiles, InMemory
from minadv.hashes import bits, digest
from minadv.importing import own_module

FIRST = 16  # images of files by which a data set is told
# Code that decides no sample's numbers: lists of what there is, loaders of what is hashed by its content, and
# the shapes of files, which have a number of their own.
NO_NUMBERS = (
    "minadv.attacks.registry.",
    "minadv.bench.records.",
    "minadv.bench.stored.",
    "minadv.bench.suite.",
    "minadv.data.",
    "minadv.errors.",
    "minadv.files.",
    "minadv.models.",
    "minadv.run_folder.",
)


def of_json(value: Any) -> str:
    """Hash a value that JSON has, whatever the order of its keys."""
    return digest(json.dumps(value, sort_keys=True, ensure_ascii=False))


def of_samples(images: Tensor) -> list[str]:
    """Hash each image (batch, ...): shape, type and every bit."""
    array = images.detach().cpu().contiguous().numpy()
    return [digest(f"{image.dtype}{image.shape}", image.tobytes()) for image in array]


@lru_cache(maxsize=1)
def of_data(data: Data) -> str:
    """Hash a data set: labels, classes and images; of images in files, their names and sizes and the first ones.

    Samples have a hash of their own besides.
    """
    if isinstance(data.images, InMemory):
        images = of_samples(data.images.pixels.unsqueeze(0))
    else:
        images = of_samples(data.batch(range(min(FIRST, len(data))))[0])
    if isinstance(data.images, InFiles):
        images += [f"{path.name}:{path.stat().st_size}" for path in data.images.paths]
    return digest(*data.classes, data.labels.numpy().tobytes(), *images)


def of_module(module: nn.Module) -> str:
    """Hash a network: its tree of modules, their options, numbers and code, every parameter and buffer.

    And what the user's own code in it refers to: see `reach`.
    """
    return _reached(module)


def _reached(root: Any) -> str:
    return digest(*(part for path, value in reach(root) for part in (path, *_told(value))))


def _told(value: Any) -> Iterator[bytes | memoryview | str]:
    """Write out one thing that was reached, without what it refers to."""
    if isinstance(value, nn.Module):
        # function objects show their address
        yield f"{type(value).__qualname__}:{re.sub(r' at 0x[0-9a-f]+', '', value.extra_repr())}"
        code = getattr(value, "code", None)  # what torch.fx and torch.jit have written
        yield code if isinstance(code, str) else ""
        tensors = (*value.named_parameters(recurse=False), *value.named_buffers(recurse=False))
        for name, tensor in tensors:
            yield from (name, *bits(tensor))
    elif isinstance(value, Tensor):
        yield from bits(value)
    elif isinstance(value, np.ndarray):
        array = cast("NDArray[Any]", value)
        # addresses in place of objects would be others every time
        yield from (f"{array.dtype}{array.shape}", repr(array) if array.dtype.hasobject else array.tobytes())
    else:
        named = isinstance(value, type | ModuleType) or inspect.isroutine(value)
        # the same code in another folder is the same
        yield _source(value) if named else repr(value).replace(str(Path.cwd()), ".")


def of_attack(attack: object) -> str:
    """Hash an attack: its class, every hyper-parameter (networks inside a distance by their weights), its code."""
    return digest(_value(attack), of_code(type(attack).__module__, "minadv.bench.rows"))


def _value(value: Any) -> str:
    """Write a hyper-parameter out so that equal ones, and no others, look alike."""
    if isinstance(value, nn.Module | Tensor) or inspect.isroutine(value) or own_module(type(value).__module__):
        return _reached(value)
    if is_dataclass(value) and not isinstance(value, type):
        inside = ",".join(f"{field.name}={_value(getattr(value, field.name))}" for field in fields(value))
        return f"{type(value).__module__}.{type(value).__qualname__}({inside})"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_value(key)}:{_value(item)}" for key, item in value.items()) + "}"  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, tuple | list):
        return "(" + ",".join(_value(item) for item in value) + ")"  # pyright: ignore[reportUnknownVariableType]
    return repr(value)


def _source(thing: Any) -> str:
    try:
        # a decorated function's own text, not that of what it was made of
        return _meaning(inspect.getsource(thing.__code__ if inspect.isfunction(thing) else thing))
    except (OSError, TypeError):  # made in an interpreter, or compiled: its name has to do
        return f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', type(thing).__qualname__)}"


@lru_cache(maxsize=1024)
def _meaning(text: str) -> str:
    """Write code without comments, docstrings and layout; as it is where it is no whole statement, as a lambda."""
    try:
        tree = ast.parse(textwrap.dedent(text))
    except SyntaxError:
        return text
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return ast.unparse(tree)


@lru_cache
def of_code(*modules: str) -> str:
    """Hash the source of modules and of everything of this package that they import, directly or not.

    An attack's results are its code's: when that changes, and only then, they are computed again. Modules of
    other packages count by their own text alone.
    """
    return digest(*(f"{name}\n{_text(name)}" for name in sorted(_closure(modules))))


def _closure(modules: Iterable[str]) -> set[str]:
    known: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in known and not f"{name}.".startswith(NO_NUMBERS):
            known.add(name)
            waiting += _imports(name)
    return known


@lru_cache(maxsize=1024)
def _imports(module: str) -> list[str]:
    """Names of this package's modules that a module imports, anywhere in its text."""
    found: list[str] = []
    for node in ast.walk(ast.parse(_text(module))):
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name for name in inner if _path(name) is not None] + [node.module]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    # the package itself only names its parts
    return [name for name in found if name.startswith("minadv.") and _path(name) is not None]


def _text(module: str) -> str:
    path = _path(module)
    return path.read_text(encoding="utf-8") if path is not None else ""


@lru_cache(maxsize=1024)
def _path(module: str) -> Path | None:
    try:
        spec = find_spec(module)
    except (ModuleNotFoundError, ValueError, AttributeError):  # a name in a module, not a module; __main__
        return None
    return Path(spec.origin) if spec is not None and spec.origin and spec.origin.endswith(".py") else None

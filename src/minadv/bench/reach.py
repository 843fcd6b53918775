"""What decides how a model behaves: its modules, and whatever the user's own code in it refers to."""

import re
from argparse import Namespace
from collections import deque
from collections.abc import Iterable, Iterator
from decimal import Decimal
from fractions import Fraction
from functools import partial
from inspect import isfunction, isroutine
from pathlib import PurePath
from types import FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from minadv.importing import own, own_module
from minadv.networks import names_in

PLAIN = (
    *(bool, int, float, complex, str, bytes, range, slice, Fraction, Decimal, PurePath, re.Pattern),
    *(np.generic, np.dtype, np.ndarray, torch.dtype, torch.device, Tensor),
)
HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
# objects of libraries that are made of what their users say
RECORDS = (SimpleNamespace, Namespace)
TRANSFORMS = "torchvision.transforms"
TORCHS = frozenset(vars(nn.Module()))  # attributes that every module has


def reach(root: Any) -> Iterator[tuple[str, Any]]:
    """Yield a path to each module, function, class and plain value that `root` refers to, and the thing itself.

    These are modules within modules, their attributes, hooks and classes, and of the user's own functions, classes
    and objects what is in closures, defaults, attributes, and the globals that they use. What is met again is
    yielded as the path where it was first. Of libraries, only the code of classes and functions that stand in a
    module is looked at, and what torch brings is known by its name.
    """
    first: dict[int, tuple[str, Any]] = {}  # with the object, so that no other gets its identity
    waiting: list[tuple[str, Any]] = [("", root)]
    while waiting:
        path, value = waiting.pop()
        if value is None or isinstance(value, PLAIN):
            yield path, cast("Any", value)
            continue
        parts = _parts(value)
        if parts is None:
            continue
        if id(value) in first:
            yield path, f"that of {first[id(value)][0]}"
            continue
        first[id(value)] = path, value
        if isinstance(value, nn.Module | type | ModuleType) or isroutine(value):
            yield path, value
        waiting += [(f"{path}.{name}", part) for name, part in reversed(parts.items())]


def _parts(value: Any) -> dict[str, Any] | None:
    """Return what a thing refers to, by name; None for what is none of our business."""
    if isinstance(value, nn.Module):
        return _of_module(value)
    if isinstance(value, dict):  # no other mapping: os.environ is one
        pairs = ((repr(key), part) for key, part in cast("dict[Any, Any]", value).items())
        return dict(sorted((key, part) for key, part in pairs if " at 0x" not in key))
    if isinstance(value, list | tuple | deque):
        return {str(number): part for number, part in enumerate(cast("Iterable[Any]", value))}
    if isinstance(value, set | frozenset):
        return {name: name for name in sorted(map(repr, cast("Iterable[Any]", value))) if " at 0x" not in name}
    if isinstance(value, ModuleType):
        return {} if own_module(value.__name__) else None
    if isinstance(value, partial):
        call = cast("partial[Any]", value)
        return {"function": call.func, "arguments": call.args, "keywords": call.keywords}
    if isinstance(value, MethodType):
        return {"of": value.__self__, "function": value.__func__}
    if isinstance(value, FunctionType):
        return _of_function(value)
    if isinstance(value, type):
        return _of_class(value)
    inside = _attributes(value)
    if own_module(str(type(value).__module__)):
        return {"class": type(value), **inside}
    if isinstance(value, RECORDS) or str(type(value).__module__).startswith(TRANSFORMS):
        return inside
    if "__wrapped__" in inside:  # what functools.cache makes
        return {"function": inside["__wrapped__"]}
    return {} if isroutine(value) else None


def _attributes(value: Any) -> dict[str, Any]:
    """Return what an object holds, in its dictionary or in slots."""
    declared = (vars(cls).get("__slots__", ()) for cls in type(value).__mro__)
    slots = (slot for names in declared for slot in ((names,) if isinstance(names, str) else names))
    held = {slot: getattr(value, slot) for slot in slots if hasattr(value, slot)}
    return dict(sorted((held | getattr(value, "__dict__", {})).items()))


def _of_module(module: nn.Module) -> dict[str, Any]:
    kinds: tuple[dict[int, Any], ...] = tuple(getattr(module, kind, {}) for kind in HOOKS)
    hooks = (hook for kind in kinds for hook in kind.values())
    # what libraries keep to themselves can be an address, other in every process
    private = own_module(type(module).__module__)
    attributes = {
        name: part for name, part in vars(module).items() if name not in TORCHS and (private or name[0] != "_")
    }
    return {
        "class": type(module),
        **dict(sorted(attributes.items())),
        **{f"hook {number}": hook for number, hook in enumerate(hooks)},
        **dict(getattr(module, "_modules", {}).items()),  # named_children leaves out who is there twice
    }


def _of_class(cls: type) -> dict[str, Any] | None:
    if cls.__module__.partition(".")[0] in ("torch", "builtins"):
        return None
    if not own_module(cls.__module__):
        return {}
    bases = {f"base {number}": base for number, base in enumerate(cls.__bases__)}
    inside = ((name, _function_of(part)) for name, part in vars(cls).items())
    return bases | {name: part for name, part in inside if isfunction(part) or not name.startswith("__")}


def _function_of(member: Any) -> Any:
    """Return the function of a static or class method, or of a property."""
    return getattr(member, "__func__", None) or getattr(member, "fget", None) or member


def _of_function(function: FunctionType) -> dict[str, Any]:
    code, cells = function.__code__, function.__closure__ or ()
    if not own(code.co_filename):  # a library's decorator, perhaps, of an own function
        wrapped = getattr(function, "__wrapped__", None)
        return {} if wrapped is None else {"wrapped": wrapped}
    parts: dict[str, Any] = {"defaults": function.__defaults__, "keywords": function.__kwdefaults__}
    for name, cell in zip(code.co_freevars, cells, strict=True):
        try:
            parts[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    names = sorted(names_in(code))
    for name in names:
        if name.startswith("__"):  # where the file is, say
            continue
        found = function.__globals__.get(name)
        if isinstance(found, ModuleType):
            inside = vars(found) if own_module(found.__name__) else {}
            parts |= {f"{name}.{other}": inside[other] for other in names if other in inside}
        else:
            parts[name] = found if name in function.__globals__ else parts.get(name)
    return {name: part for name, part in parts.items() if part is not None}

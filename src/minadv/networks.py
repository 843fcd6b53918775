"""The networks that a model is made of, where it is no `torch.nn.Module` itself but a function or an object."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, cast

import torch
from torch import Tensor, nn

from minadv.importing import installed

DEEP, MANY = 4, 1000  # no data set is looked through for a network


def networks(model: Callable[..., Any]) -> list[nn.Module]:
    """Return the outermost modules that calling a model may run, each once.

    That is a module itself, and those in a function's closure, defaults and the globals that it names, in what a
    method is bound to, in what `functools.partial` holds and in an object's attributes, up to four steps deep.
    Modules may hold functions, too.
    """
    found: dict[int, nn.Module] = {}
    seen: dict[int, Any] = {}  # with the object, so that no other gets its identity
    waiting: deque[tuple[Any, int]] = deque([(model, 0)])
    while waiting:
        value, depth = waiting.popleft()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        if isinstance(value, nn.Module):
            found[id(value)] = value
            waiting.extend((part, depth + 1) for part in _functions_in(value))
        elif depth < DEEP:
            waiting.extend((part, depth + 1) for part in _parts(value))
    inner = {id(part) for network in found.values() for part in network.modules() if part is not network}
    return [network for key, network in found.items() if key not in inner]


def home(model: Callable[..., Any]) -> torch.device:
    """Return the device of a model's first parameter or buffer, the CPU if it has none."""
    tensors = (tensor for network in networks(model) for tensor in (*network.parameters(), *network.buffers()))
    first = next(tensors, None)
    return torch.device("cpu") if first is None else first.device


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, Tensor | ModuleType | type | str | bytes):
        return ()
    if isinstance(value, partial):
        call = cast("partial[Any]", value)
        return (call.func, *call.args, *call.keywords.values())
    if isinstance(value, MethodType):
        return (value.__self__, value.__func__)
    if isinstance(value, FunctionType):
        return _of_function(value)
    if isinstance(value, Mapping):
        inside = cast("Mapping[Any, Any]", value)
        return tuple(inside.values()) if len(inside) <= MANY else ()
    if isinstance(value, list | tuple | set | frozenset | deque):
        inside = cast("list[Any]", value)
        return tuple(inside) if len(inside) <= MANY else ()
    return tuple(getattr(value, "__dict__", {}).values())


def _functions_in(network: nn.Module) -> Iterator[Any]:
    """Functions that modules hold: torch registers other modules alone."""
    for module in network.modules():
        yield from (
            part for part in vars(module).values() if isinstance(part, FunctionType | MethodType | partial)
        )


def _of_function(function: FunctionType) -> Iterator[Any]:
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    if not installed(function.__code__.co_filename):  # a library's globals are not what the caller has
        yield from (function.__globals__.get(name) for name in names_in(function.__code__))


def names_in(code: CodeType) -> set[str]:
    """Names of globals and attributes in a function and in those within it."""
    inner = (part for part in code.co_consts if isinstance(part, CodeType))
    return {*code.co_names, *(name for part in inner for name in names_in(part))}

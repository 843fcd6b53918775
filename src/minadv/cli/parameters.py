"""The hyper-parameters of an attack as its docstrings explain them, for `minadv list attacks NAME`."""

import inspect
import re
from dataclasses import MISSING, dataclass, fields
from types import NoneType
from typing import get_type_hints

from minadv import hyper_parameters
from minadv.attacks.base import Attack

ENTRY = re.compile(r"    (\w[\w, ]*): (.*)")
WORDS: dict[object, str] = {bool: "true | false", int: "int", float: "float", str: "name", NoneType: "none"}
DEEPER = re.compile(r"     +(\S.*)")


@dataclass(frozen=True)
class Parameter:
    """One hyper-parameter: its default and its values as they are written after --set."""

    name: str
    default: str
    values: str
    about: str


def of(attack: type[Attack]) -> tuple[Parameter, ...]:
    """Return an attack's hyper-parameters, its own first."""
    about: dict[str, str] = {}
    for cls in reversed(attack.__mro__):
        about |= explained(cls.__doc__ or "")
    hints = get_type_hints(attack)
    shared = {field.name for field in fields(Attack)}
    ordered = sorted(fields(attack), key=lambda field: field.name in shared)
    return tuple(
        Parameter(
            field.name,
            "" if field.default is MISSING else written(field.default),
            " | ".join(hyper_parameters.values(hints[field.name], WORDS)),
            about.get(field.name, ""),
        )
        for field in ordered
    )


def explained(docstring: str) -> dict[str, str]:
    """Return what the Args of a docstring say of each name."""
    found: dict[str, str] = {}
    names: list[str] = []
    lines = inspect.cleandoc(docstring).splitlines()
    for line in lines[lines.index("Args:") + 1 :] if "Args:" in lines else ():
        if entry := ENTRY.fullmatch(line):
            names = [name.strip() for name in entry[1].split(",")]
            found |= dict.fromkeys(names, entry[2])
        elif more := DEEPER.fullmatch(line):
            found |= {name: f"{found[name]} {more[1]}" for name in names}
        else:
            break
    return found


def written(value: object) -> str:
    """Write a default as --set takes it."""
    plain = hyper_parameters.plain(value)
    return "none" if plain is None else str(plain).lower() if isinstance(plain, bool) else str(plain)

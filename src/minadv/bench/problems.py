"""What pydantic finds wrong in a suite, in the words of the file: the key, what is allowed, what it got."""

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from minadv import attacks, errors

# keys that take values of several types: pydantic would name each of them
_SEVERAL = {
    "samples": "needs a count ≥ 1, or a range [first, end)",
    "target": "needs a class: its number, from 0 on, or its name",
    "options": "needs a number, a text, true or false",
}


def of(error: ValidationError, whole: type[BaseModel], parts: Mapping[str, type[BaseModel]]) -> list[str]:
    """Return a line for each problem, once.

    Args:
        error: what pydantic raised.
        whole: what was validated.
        parts: kinds of the entries of its arrays, by their keys.
    """
    found = error.errors()
    # an array whose every item is wrong is also too short, says pydantic
    inner = {problem["loc"][:1] for problem in found if len(problem["loc"]) > 1}
    told = [problem for problem in found if problem["loc"] not in inner and not _of_item(problem)]
    return list(dict.fromkeys(_line(problem, whole, parts) for problem in told))


def _line(problem: ErrorDetails, whole: type[BaseModel], parts: Mapping[str, type[BaseModel]]) -> str:
    keys = _keys(problem["loc"])
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in keys).lstrip(".")
    part = parts.get(str(keys[0]), whole) if len(keys) > 1 else whole
    if problem["type"] == "extra_forbidden":
        plural = f"{keys[-1]}s" in part.model_fields  # budget and distance have keys of their own
        if "options" in part.model_fields and not plural and _hyper_parameter(str(keys[-1])):
            written = f"options = {{{keys[-1]} = {_written(problem['input'])}}}"
            return f"{key}: a hyper-parameter of the attack is written {written}"
        return f"{key}: {errors.unknown('key', str(keys[-1]), part.model_fields)}"
    if problem["type"] == "missing":
        required = [name for name, field in part.model_fields.items() if field.is_required()]
        return f"{key} is missing: needed: {', '.join(required)}"
    if problem["type"] == "value_error" and not key:
        return problem["msg"].removeprefix("Value error, ")
    several = next((text for name, text in _SEVERAL.items() if name in keys), None)
    own = problem["type"] != "value_error"
    what = several if several and own else problem["msg"].removeprefix("Value error, ")
    written = what.replace("tuple", "array").replace("Tuple", "Array")
    return f"{key}: {written}, got {_written(problem['input'])}"


def _hyper_parameter(key: str) -> bool:
    """Whether any attack has a hyper-parameter of that name."""
    return any(key in (field.name for field in fields(attacks.find(name))) for name in attacks.names())


def _of_item(problem: ErrorDetails) -> bool:
    """Whether a problem is of an item where the whole value has one too: several types were tried on it."""
    place = problem["loc"]
    return len(place) > 1 and place[0] in _SEVERAL and isinstance(place[-1], int)


def _keys(place: tuple[str | int, ...]) -> list[str | int]:
    """Leave out of a place what is no key of the file: the alternatives of a type."""
    last = next((number for number, part in enumerate(place) if part in _SEVERAL), len(place))
    last += 2 if last < len(place) and place[last] == "options" else 1
    return list(place[:last])


def _written(value: Any) -> str:
    """Write a value as in the file, shortened."""
    return json.dumps(value, ensure_ascii=False, default=str)[:80]

"""From words on a command line to an attack: pure functions, no output."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from inspect import signature
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, JsonValue, TypeAdapter

from minadv import attacks, distances, penalties
from minadv.attacks.base import Attack
from minadv.distances import Distance
from minadv.errors import unknown
from minadv.numerals import number

FIXED_RADIUS = "fixed_radius"
NOTHING = ("none", "null", "")
NEEDED: dict[object, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number (e.g. 0.031 or 8/255)",
    str: "a name",
    NoneType: "none",
}


def build_attack(
    name: str, distance: str, options: Mapping[str, Any], assignments: Sequence[str], paper: bool
) -> Attack:
    """Return the attack that a command line describes.

    Args:
        name: of the attack.
        distance: name and options, e.g. "ciede2000:scale=paper".
        options: hyper-parameters with an option of their own; None where it was not given. The steps of auto are
            its budget.
        assignments: further hyper-parameters, each "key=value".
        paper: start from the settings of the paper's tables.

    Raises:
        ValueError: for an unknown name or hyper-parameter, with the nearest, or a value that does not fit.
    """
    cls = attacks.find(name)
    known = [field.name for field in fields(cls)]
    # some presets depend on more, e.g. on the data set
    extra = [key for key in signature(cls.paper).parameters if key not in (*known, "others")] if paper else []
    given = {key: value for key, value in options.items() if value is not None}
    words = {key: f"--{key}" for key in (*options, "distance")}
    if name == "auto" and "steps" in given:
        if "budget" in given:
            both = f"--steps {given['steps']} and --budget {given['budget']}"
            raise ValueError(f"the steps of auto are its budget, got {both}: leave one out")
        given["budget"], words["budget"] = given.pop("steps"), "--steps"
    for key in given:
        if key not in known:
            raise ValueError(
                f"the attack {name} has no {key}: leave --{key} out. It has: {', '.join(sorted(known))}"
            )
    for key, value in (split(assignment) for assignment in assignments):
        if key not in (names := known + extra):
            raise unknown(f"hyper-parameter of {name}", key, names)
        if key in given or key == "distance":
            raise ValueError(
                f"{key} is given twice: as --set {key}={value} and as {words.get(key, f'--set {key}')}"
            )
        given[key] = parse(cls.paper if key in extra else cls, key, value)
    if not paper:
        return cls(distance=distances.resolve(distance), **given)
    attack = cls.paper(distance, **given)
    # resolved, so that a run's settings tell the distance by its own label, e.g. ciede2000[paper]
    return replace(attack, distance=distances.resolve(attack.distance))


def split(assignment: str) -> tuple[str, str]:
    """Take "key=value" apart.

    Raises:
        ValueError: when there is no = or no key.
    """
    key, equals, value = assignment.partition("=")
    if not equals or not key.strip():
        raise ValueError(f"--set (-p) takes KEY=VALUE, got {assignment!r}")
    return key.strip().replace("-", "_"), value.strip()


def parse(cls: Callable[..., Attack], key: str, text: object) -> Any:
    """Read a value, written out or of a type that TOML has, by the type of its field.

    Raises:
        ValueError: when it does not fit.
    """
    hint = get_type_hints(cls)[key]
    if isinstance(text, str) and text.lower() in NOTHING and NoneType in get_args(hint):
        return None
    try:
        numeric = float in (hint, *get_args(hint))
        value = number(text) if isinstance(text, str) and "/" in text and numeric else text
        return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True)).validate_python(value)
    except ValueError as error:  # pydantic's own, too
        raise ValueError(f"{key} needs {' or '.join(values(hint, NEEDED))}, got {text!r}") from error


def values(hint: object, words: Mapping[object, str]) -> list[str]:
    """Return what a hyper-parameter of a type can be on the command line, in words for the types there."""
    if get_origin(hint) is Literal:
        return list(map(str, get_args(hint)))
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    written = [part for part in parts if part in words or get_origin(part) is Literal]
    return [text for part in written for text in ([words[part]] if part in words else values(part, words))]


def usual_distance(attack: str) -> str:
    """Return the distance that an attack minimises when none is asked for."""
    card = attacks.REGISTRY.get(attack)
    return "l2" if card is None else card.usual


def distance_for(distance: str, model: str) -> str:
    """Return the distance to use with this model: LPIPS on the demo takes the demo's own features."""
    return "lpips:trunk=demo" if distance == "lpips" and model.partition("@")[0] == "demo" else distance


def as_plain(attack: Attack) -> dict[str, JsonValue]:
    """Every hyper-parameter of an attack as a value that JSON has, and the radius where that is fixed."""
    settings = {field.name: plain(getattr(attack, field.name)) for field in fields(attack)}
    return settings if attack.fixed_radius is None else settings | {FIXED_RADIUS: attack.fixed_radius}


def fixed_radius(settings: Mapping[str, JsonValue]) -> float | None:
    """Return the radius of the only ball that an attack of these settings searches, None where it minimises."""
    radius = settings.get(FIXED_RADIUS)
    return float(radius) if isinstance(radius, int | float) else None


def plain(value: Any) -> JsonValue:
    """Return a hyper-parameter's value as one that JSON has."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no infinity
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Distance):
        return value.name
    names = [name for name, penalty in penalties.ALL.items() if penalty == value]
    return names[0] if names else repr(value)

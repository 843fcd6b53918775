"""Distances between images: `get("l2")(x, x0)`, or `get("l2").anchored(x0)` inside an attack."""

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from inspect import signature
from typing import Any, cast

import torch
from torch import Tensor

from minadv.distances.base import Anchored, Custom, Distance, Reanchored, Selectable
from minadv.distances.ciede2000 import CIEDE2000
from minadv.distances.lp import Lp
from minadv.distances.lpips import LPIPS
from minadv.distances.lpips import build as build_lpips
from minadv.distances.ssim import SSIM
from minadv.errors import unknown
from minadv.importing import PREFIX, attribute, kind

__all__ = [
    "CIEDE2000",
    "LPIPS",
    "SSIM",
    "Anchored",
    "Custom",
    "Distance",
    "Lp",
    "anchor",
    "as_published",
    "family",
    "get",
    "names",
    "resolve",
]

_BUILDERS: dict[str, Callable[..., Distance]] = {
    "l0": lambda: Lp(0),
    "l1": lambda: Lp(1),
    "l2": lambda: Lp(2),
    "linf": lambda: Lp(math.inf),
    "ssim": SSIM,
    "ciede2000": CIEDE2000,
    "lpips": build_lpips,
}


def names() -> tuple[str, ...]:
    """Return the names that `get` knows."""
    return tuple(_BUILDERS)


def get(name: str, **options: Any) -> Distance:
    """Return the distance of that name.

    Args:
        name: l0, l1, l2, linf, ssim, ciede2000 or lpips; options may follow a colon, as on the command
            line: "ciede2000:scale=paper", "lpips:trunk=demo,linear=none". Or "python:package.module:name" for your
            own, a Distance or a function `(x, x0) -> (batch,)`; the module may be in the working directory.
        **options: options of that distance: `scale` of ciede2000; `trunk`, `linear`, `layers`, ... of lpips.

    Raises:
        ValueError: for an unknown name (the nearest is suggested) or an option that the distance does not have;
            for a module or a name in it that is not there, or a name that a distance of this library has.
        TypeError: when your own is no distance.
        FileNotFoundError: when the weights of LPIPS are not there; the message says where to get them.
    """
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"name must be a string, got {type(name).__name__}: one of {', '.join(_BUILDERS)}")
    if name.startswith(PREFIX):
        return _imported(name, options)
    name, _, written = name.partition(":")
    if name not in _BUILDERS:
        raise unknown("distance", name, (*_BUILDERS, f"{PREFIX}package.module:name"))
    for pair in filter(None, written.split(",")):
        key, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"distance options are written key=value, got {pair!r} in {written!r}")
        options[key.strip()] = {"true": True, "false": False}.get(value.strip().lower(), value.strip())
    known = list(signature(_BUILDERS[name]).parameters)
    for option in options:
        if option not in known:
            raise unknown(f"option of distance {name}", option, known)
    # a network built in inference mode could not be differentiated ever after, and distances are remembered
    with torch.inference_mode(False):
        return _BUILDERS[name](**options)


def _imported(spec: str, options: Mapping[str, Any]) -> Distance:
    """Return the user's own distance; `options` are for those of this library."""
    if options:
        raise ValueError(f"{spec} takes no options, got {', '.join(options)}: bind them in your own code")
    with attribute(spec) as own:
        if isinstance(own, str | type) or not (isinstance(own, Distance) or callable(own)):
            raise TypeError(f"{spec} is {kind(own)}; needed is a Distance or a function (x, x0) -> (batch,)")
        distance = resolve(own)
    if distance.name.partition("[")[0] in _BUILDERS:
        raise ValueError(f"{spec} is called {distance.name!r}, as one of this library is: give it another name")
    return distance


@lru_cache(maxsize=16)
def _named(name: str) -> Distance:
    """Remember distances by name: a trunk's weights are read once, not at every attack."""
    return get(name)


def anchor(distance: Distance, x0: Tensor) -> Selectable:
    """Return the distance to `x0`, with a gradient and a choice of rows where it does not bring its own."""
    anchored = distance.anchored(x0)
    return anchored if isinstance(anchored, Selectable) else Reanchored(anchored, distance, x0)


def as_published(distance: Any) -> Any:
    """Return "ciede2000" and "lpips" in the form that the ALMA paper optimises, anything else as it is."""
    if distance == "ciede2000":
        return get("ciede2000", scale="paper")
    return get("lpips", linear="none") if distance == "lpips" else distance


def family(distance: object) -> str:
    """Return the name that `get` knows a distance by, without its options; "" for your own, whatever it is called.

    What is chosen or known by a distance's name holds for the distances of this library only. That of a name is
    known without what the distance needs, as weights.

    Raises:
        TypeError: for what is no distance.
        ValueError: for an unknown name.
    """
    if isinstance(distance, str) and (name := distance.partition(":")[0]) in _BUILDERS:
        return name
    resolved = resolve(distance)
    ours = isinstance(resolved, Lp | SSIM | CIEDE2000 | LPIPS)
    return resolved.name.partition("[")[0] if ours else ""


def resolve(distance: object) -> Distance:
    """Return a Distance for a name, a Distance, or a function `(x, x0) -> (batch,)`.

    Raises:
        TypeError: for anything else.
    """
    if isinstance(distance, str):
        return _named(distance)
    if isinstance(distance, Distance):
        return distance
    if callable(distance):
        return Custom(cast("Callable[[Tensor, Tensor], Tensor]", distance))
    raise TypeError(
        f"distance must be a name ({', '.join(names())}), a Distance or a function (x, x0) -> (batch,), "
        f"got {type(distance).__name__}"
    )

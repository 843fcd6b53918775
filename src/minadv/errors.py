"""Errors that say what was given and what is needed."""

from collections.abc import Iterable
from difflib import get_close_matches


def unknown(kind: str, name: str, known: Iterable[str]) -> ValueError:
    """Build the error for a name that is not in a registry, with the nearest known name."""
    names = sorted(known)
    nearest = get_close_matches(name.lower(), [n.lower() for n in names], n=1, cutoff=0.4)
    hint = next((f" did you mean {n!r}?" for n in names if nearest and n.lower() == nearest[0]), "")
    return ValueError(f"unknown {kind} {name!r};{hint} known: {', '.join(names) or 'none'}")


def missing_extra(what: str, package: str, extra: str) -> ImportError:
    """Build the error for an optional library that is not installed."""
    return ImportError(f"{what} needs the package {package!r}: pip install 'minadv[{extra}]'")

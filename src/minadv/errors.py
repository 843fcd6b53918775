"""Errors that say what was given and what is needed."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

# What others call our parameters.
ALIASES = {"eps": "radius", "epsilon": "radius"}


def unknown(kind: str, name: str, known: Iterable[str]) -> ValueError:
    """Build the error for a name that is not in a registry, with the nearest known name."""
    names = sorted(known)
    asked = ALIASES.get(name.lower(), "")
    nearest = (
        [asked] if asked in names else get_close_matches(name.lower(), [n.lower() for n in names], n=1, cutoff=0.4)
    )
    hint = next((f" did you mean {n!r}?" for n in names if nearest and n.lower() == nearest[0]), "")
    return ValueError(f"unknown {kind} {name!r};{hint} known: {', '.join(names) or 'none'}")


def missing_extra(what: str, package: str, extra: str) -> ImportError:
    """Build the error for an optional library that is not installed."""
    return ImportError(f"{what} needs the package {package!r}: pip install 'minadv[{extra}]'")


class RowError(ValueError):
    """A ValueError that names rows of a batch.

    Attributes:
        first: the number of the batch's first row, where rows are better known by other numbers.
    """

    def __init__(self, before: str, rows: Sequence[int], after: str = "") -> None:
        """Say `before`, the numbers of the rows in the batch, and `after`."""
        super().__init__(before, rows, after)
        self.first = 0

    def __str__(self) -> str:
        before, rows, after = self.args
        return f"{before}{', '.join(str(self.first + row) for row in rows)}{after}"

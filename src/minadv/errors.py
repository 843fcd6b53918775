"""Errors that say what was given and what is needed."""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

# What others call ours.
ALIASES = {"eps": "radius", "epsilon": "radius", "norm": "distance", "autoattack": "auto"}


def unknown(kind: str, name: str, known: Iterable[str], meant: str | None = None) -> ValueError:
    """Build the error for a name that is not in a registry, with what was meant, or the nearest known name."""
    names = sorted(known)
    asked = ALIASES.get(name.lower(), "")
    nearest = [asked] if asked in names else get_close_matches(name.lower(), [n.lower() for n in names], n=1)
    meant = meant or next((n for n in names if n.lower() in nearest), None)
    hint = f" did you mean {meant!r}?" if meant else ""
    return ValueError(f"unknown {kind} {name!r};{hint} known: {', '.join(names) or 'none'}")


def missing_extra(what: str, package: str, extra: str) -> ImportError:
    """Build the error for an optional library that is not installed."""
    return ImportError(f"{what} needs the package {package!r}: pip install 'minadv[{extra}]'")


def first_line(error: Exception) -> str:
    """Return the first line of what an error says."""
    return str(error).strip().partition("\n")[0]


def counted(count: int, what: str) -> str:
    """Write how many there are of something."""
    return f"{count} {what}{'s' * (count != 1)}"


def listed(values: Sequence[object], most: int = 5) -> str:
    """Write the first of some values, and whether there are more."""
    return ", ".join(map(str, values[:most])) + (", …" if len(values) > most else "")


class RowError(ValueError):
    """A ValueError that names rows of a batch."""

    def __init__(self, before: str, rows: Sequence[int], after: str = "", most: int = 5) -> None:
        """Say `before`, the numbers of the rows, as many as `most`, and `after`."""
        super().__init__(before, tuple(rows), after, most)

    @property
    def rows(self) -> tuple[int, ...]:
        """All of them."""
        return self.args[1]

    def number(self, numbers: Sequence[int]) -> None:
        """Call the rows by other numbers from now on: those of the samples in the data."""
        before, _, *rest = self.args
        self.args = (before, tuple(numbers[row] for row in self.rows), *rest)

    def __str__(self) -> str:
        before, rows, after, most = self.args
        return f"{before}{rows[0] if most == 1 else listed(rows, most)}{after}"


def kind(message: str) -> str:
    """Return a message without its numbers: what errors have in common that differ by samples alone."""
    return re.sub(r"\d+(, (\d+|…))*", "#", message)

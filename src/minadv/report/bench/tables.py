"""Tables as data, laid out as in the ALMA paper, whatever they are written as afterwards."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

UNDEFINED, INCOMPLETE = "–", "†"
THIN = "\N{NARROW NO-BREAK SPACE}"


@dataclass(frozen=True)
class Value:
    """One cell of a table.

    Attributes:
        text: as printed.
        order: what a column is sorted by; nan is last.
        best: whether it is the best of its block.
        quiet: whether it is somebody else's number, beside ours.
    """

    text: str
    order: float | str
    best: bool = False
    quiet: bool = False


@dataclass(frozen=True)
class Column:
    """Head of a column.

    Attributes:
        over: head that it shares with its neighbours, or "".
        head: its own.
        number: whether its values are right-aligned.
        about: what it is, in a sentence.
    """

    over: str
    head: str
    number: bool = True
    about: str = ""


@dataclass(frozen=True)
class Block:
    """Rows of one model."""

    model: str
    rows: tuple[tuple[Value, ...], ...]


@dataclass(frozen=True)
class Table:
    """A table whose rows are grouped by model; a single block without a name is not grouped."""

    title: str
    slug: str
    columns: tuple[Column, ...]
    blocks: tuple[Block, ...]
    notes: tuple[str, ...] = ()

    @property
    def grouped(self) -> bool:
        """Whether there is a column for the model."""
        return any(block.model for block in self.blocks)

    @property
    def heads(self) -> tuple[tuple[str, int], ...]:
        """Shared heads from left to right with how many columns each spans; "" spans one."""
        spans: list[tuple[str, int]] = []
        for column in self.columns:
            if column.over and spans and spans[-1][0] == column.over:
                spans[-1] = (column.over, spans[-1][1] + 1)
            else:
                spans.append((column.over, 1))
        return tuple(spans)


def number(value: float, decimals: int, *, quiet: bool = False) -> Value:
    """Return a value with fixed decimals; a dash where it is not finite."""
    if not math.isfinite(value):
        return Value(UNDEFINED, value, quiet=quiet)
    text = f"{value:.{decimals}f}"
    if value and not float(text):
        text = f"{value:.1e}"
    return Value(grouped(text), value, quiet=quiet)


def grouped(text: str) -> str:
    """Put thin spaces between thousands, as the paper does."""
    whole, point, rest = text.partition(".")
    return f"{int(whole):,}".replace(",", THIN) + point + rest if whole.isdigit() else text


def pair(forwards: float, backwards: float, *, quiet: bool = False) -> Value:
    """Return forwards / backwards, ordered by their sum."""
    if math.isnan(forwards):
        return Value(UNDEFINED, math.nan, quiet=quiet)
    text = f"{number(forwards, 0).text} / {number(backwards, 0).text}"
    return Value(text, forwards + backwards, quiet=quiet)


def decimals(values: Sequence[float], least: int = 2, most: int = 6) -> int:
    """Return how many decimals show three digits of the smallest positive value."""
    positive = [value for value in values if 0 < value < math.inf]
    if not positive:
        return least
    return min(most, max(least, 2 - math.floor(math.log10(min(positive)))))

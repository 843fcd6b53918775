"""Figures as data: what the page's script draws with plotly, and `drawn` with matplotlib."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minadv.report.bench import names
from minadv.report.bench.groups import Entry, Group
from minadv.report.bench.palette import Style

Numbers = NDArray[np.float64]
DIGITS = 5  # significant ones, of coordinates on the page


@dataclass(frozen=True)
class Label:
    """One name of a legend."""

    name: str
    colour: int
    dash: str


@dataclass(frozen=True)
class Trace:
    """One curve, or one point: `key` is its place in the legend."""

    key: int
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Figure:
    """The curves of one model. `x_range` and `y_range` are what is seen first; None leaves it to the data."""

    model: str
    traces: tuple[Trace, ...]
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Panel:
    """Figures with one legend.

    Attributes:
        kind: "steps" holds a value until the next one, "points" are not joined.
        hover: what is said of a point, with {x} and {y} in it.
    """

    slug: str
    title: str
    kind: str
    x_title: str
    y_title: str
    hover: str
    legend: tuple[Label, ...]
    figures: tuple[Figure, ...]
    x_log: bool = False
    y_log: bool = False


def of_medians(
    group: Group, about: str, kind: str, hover: str, labels: tuple[Label, ...], figures: Iterable[Figure]
) -> Panel:
    """Return a panel of a group's medians against propagations, both logarithmic; `about` ends its slug."""
    return Panel(
        slug=f"{group.slug}-{about}",
        title=group.title,
        kind=kind,
        x_title="forwards + backwards",
        y_title=f"median {names.power(group.exponent)}".strip(),
        hover=hover,
        legend=labels,
        figures=tuple(figures),
        x_log=True,
        y_log=True,
    )


def legend(entries: Iterable[Entry], styles: Mapping[int, Style]) -> tuple[Label, ...]:
    """Return every attack once, in the order of the tables."""
    found: dict[str, Label] = {}
    for entry in entries:
        style = styles[entry.number]
        found.setdefault(entry.cell.attack, Label(entry.cell.attack, style.colour, style.dash))
    return tuple(found.values())


def key(labels: Sequence[Label], entry: Entry) -> int:
    """Return the place of an entry's attack in a legend."""
    return [label.name for label in labels].index(entry.cell.attack)


def rounded(values: Numbers) -> tuple[float, ...]:
    """Round to `DIGITS` significant digits, so that the page stays light."""
    return tuple(float(f"{value:.{DIGITS}g}") for value in values.tolist())

"""Which cells are compared with one another: those of the same data, distance and goal make one table."""

from dataclasses import dataclass

from minadv.bench.records import Cell
from minadv.bench.stored import Stored
from minadv.bench.suite import radius
from minadv.report.bench import names


@dataclass(frozen=True)
class Entry:
    """A planned cell: what tables have one line for.

    Attributes:
        number: position in `Stored.planned`.
        samples: how many were asked for.
    """

    number: int
    cell: Cell
    samples: int


@dataclass(frozen=True)
class Group:
    """Cells that one table and one figure show.

    Attributes:
        data, data_title: the spec, and what it is called.
        distance: label of the distance by which the cells are compared.
        column: the column of the rows that holds it.
        entries: ordered by model, then as in the suite.
        exponent: medians are printed in this power of ten.
        radii: at which robust accuracy is printed, ascending, as the suite writes them.
        slug: for file names and anchors.
    """

    data: str
    data_title: str
    distance: str
    column: str
    goal: str
    entries: tuple[Entry, ...]
    exponent: int
    radii: tuple[str, ...]
    slug: str

    @property
    def symbol(self) -> str:
        """How the distance is written."""
        return names.symbol(self.distance)

    @property
    def models(self) -> tuple[str, ...]:
        """Models in the order of the suite."""
        return tuple(dict.fromkeys(entry.cell.model for entry in self.entries))

    @property
    def title(self) -> str:
        """Data, distance, and the goal when it is not the usual one."""
        goal = "" if self.goal == "untargeted" else f", {self.goal}"
        return f"{self.data_title}, {self.symbol}{goal}"

    @property
    def unit(self) -> str:
        """Symbol and power of ten, as in the heads of tables."""
        return f"{self.symbol} {names.power(self.exponent)}".strip()


def of(stored: Stored) -> tuple[Group, ...]:
    """Return the groups, in the order of the suite."""
    found: dict[tuple[str, str, str], list[Entry]] = {}
    for number, planned in enumerate(stored.planned):
        if planned.cell is not None:
            key = (planned.cell.data, names.compared_by(planned.cell), planned.cell.goal)
            found.setdefault(key, []).append(Entry(number, planned.cell, len(planned.samples)))
    titles = names.titles(stored.cells)
    slugs = names.slugs(
        "-".join((titles[data], distance, *(() if goal == "untargeted" else (goal,))))
        for data, distance, goal in found
    )
    return tuple(
        _group(titles[data], distance, entries, slug)
        for ((data, distance, _), entries), slug in zip(found.items(), slugs, strict=True)
    )


def _group(title: str, distance: str, entries: list[Entry], slug: str) -> Group:
    first = entries[0].cell
    models = list(dict.fromkeys(entry.cell.model for entry in entries))
    ordered = sorted(entries, key=lambda entry: models.index(entry.cell.model))
    return Group(
        data=first.data,
        data_title=title,
        distance=distance,
        column=first.column,
        goal=first.goal,
        entries=tuple(ordered),
        exponent=names.exponent(distance, first.paper),
        radii=tuple(sorted({text for entry in entries for text in entry.cell.radii}, key=radius)),
        slug=slug,
    )

"""Everything that a report shows, computed once."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from minadv.bench.records import Population
from minadv.bench.stored import Stored
from minadv.report.bench import accuracy, groups, lines, overall, palette, results, scored
from minadv.report.bench.groups import Group
from minadv.report.bench.lines import Line
from minadv.report.bench.tables import Table


@dataclass(frozen=True, eq=False)
class Report:
    """The numbers behind tables and figures.

    Attributes:
        population: which samples statistics are over; None leaves it to each cell.
        cells, rows, beyond: those of `scored`.
        lines, styles: of every cell, by its position in `Stored.planned`.
    """

    stored: Stored
    population: Population | None
    groups: tuple[Group, ...]
    cells: pl.DataFrame
    rows: pl.DataFrame
    beyond: scored.Beyond
    lines: Mapping[int, Line]
    styles: Mapping[int, palette.Style]

    @property
    def steps(self) -> int:
        """How many steps a curve keeps in figures."""
        return accuracy.resolution(len(self.lines))

    @cached_property
    def sections(self) -> tuple[tuple[Table, Table | None], ...]:
        """The paper's tables, of each group: its attacks under a distance, and their means over models."""
        return tuple((results.table(group, self.lines), overall.table(group, self.lines)) for group in self.groups)

    @property
    def tables(self) -> tuple[Table, ...]:
        """All of them, one after the other."""
        return tuple(table for pair in self.sections for table in pair if table is not None)


def of(stored: Stored, population: Population | None = None) -> Report:
    """Compute every number of the report."""
    found = groups.of(stored)
    cells = scored.cells(found, population)
    beyond = scored.beyond(stored, cells)
    rows = scored.rows(stored, found, cells, beyond)
    entries = [entry for group in found for entry in group.entries]
    made = lines.of(stored, rows, entries)
    return Report(stored, population, found, cells, rows, beyond, made, palette.styles(found))

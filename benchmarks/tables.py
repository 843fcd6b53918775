"""A table of measurements: on the terminal, and as Markdown."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape
from rich.table import Table as RichTable

MISSED = "✗"


@dataclass(frozen=True)
class Table:
    """Rows of cells under a title; `note` says how they were measured.

    An incomplete table is followed by others of the same title, with more rows.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    complete: bool = True

    def rich(self) -> RichTable:
        table = RichTable(*self.columns, title=escape(self.title), caption=escape(self.note), title_justify="left")
        for row in self.rows:
            table.add_row(*map(escape, row))
        return table

    def markdown(self) -> str:
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        body = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
        return "\n".join([f"## {self.title}\n", body, *([f"{self.note}\n"] if self.note else [])])


def judged(value: float, most: float | None, digits: int = 2) -> str:
    """Return a number, marked where it is above what is asked for (as printed: what is not seen is noise)."""
    missed = most is not None and not round(value, digits) <= most
    return f"{value:.{digits}f}{f' {MISSED}' if missed else ''}"


def written(tables: Iterator[Table], file: Path | None) -> Iterator[Table]:
    """Pass tables on, each after it was written to the file, if any, together with those before."""
    if file is None:
        yield from tables
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    texts: dict[str, str] = {}
    for table in tables:
        texts[table.title] = table.markdown()
        file.write_text("\n".join(texts.values()), encoding="utf-8")
        yield table

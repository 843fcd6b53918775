"""A benchmark folder as tables, figures and one self-contained page: pure functions of what is stored."""

from collections.abc import Callable, Collection
from pathlib import Path

import polars as pl

from minadv import files
from minadv.bench.records import Population
from minadv.bench.stored import Stored
from minadv.report.bench import accuracy, drawn, headline, latex, markdown, page, report, scored

FOLDER, PAGE = "report", "index.html"
DRAWN = ("svg", "pdf", "png")
FORMATS = ("html", "md", "tex", *DRAWN)


def write(
    folder: Path,
    stored: Stored,
    *,
    population: Population | None = None,
    formats: Collection[str] = FORMATS,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Write the report into `folder/report/` and return the path of its page.

    Besides the page: `tables.md`, `tables.tex`, `curves-DATA-DISTANCE.svg/.pdf/.png`, `results.parquet` (every
    row, with what the statistics need) and `envelope.parquet` (the best known distance per sample).

    Args:
        folder: of the benchmark; where the report goes.
        stored: what is in it.
        population: which samples statistics are over; None leaves it to each cell.
        formats: what to write besides the two Parquet files.
        say: told how much of what was asked for is done.

    Raises:
        ValueError: for a format that is not one of `FORMATS`.
    """
    unknown = sorted(set(formats) - set(FORMATS))
    if unknown:
        raise ValueError(f"formats must be among {', '.join(FORMATS)}, got {', '.join(unknown)}")
    shown, place = report.of(stored, population), folder / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    with files.in_place(place / "results.parquet") as path:
        parts = (scored.labelled(shown.rows, shown.cells), scored.failed(stored, shown.cells))
        pl.concat(parts, how="diagonal").sink_parquet(path)
    with files.in_place(place / "envelope.parquet") as path:
        scored.envelope(shown.rows, shown.cells, shown.beyond).write_parquet(path)
    lead = (f"{headline.size(shown.lines)}.", headline.population(shown.groups, population))
    curves = tuple(accuracy.panel(group, shown.lines, shown.styles, shown.steps) for group in shown.groups)
    if "md" in formats:
        _write(place / "tables.md", markdown.document(stored.title, lead, shown.tables))
    if "tex" in formats:
        _write(place / "tables.tex", latex.document(lead, shown.tables))
    for panel in curves:
        drawn.save(panel, place / f"curves-{panel.slug}", [kind for kind in DRAWN if kind in formats])
    if "html" in formats:
        _write(place / PAGE, page.render(shown, curves))
    say(headline.completeness(stored, shown.lines))
    return place / PAGE


def _write(path: Path, text: str) -> None:
    with files.in_place(path) as temporary:
        temporary.write_text(text, encoding="utf-8")

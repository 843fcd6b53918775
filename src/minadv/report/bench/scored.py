"""The stored rows with what statistics need of each: the distance that counts, and the best known one.

Everything here is columnar, so that a million rows take seconds.
"""

from collections.abc import Sequence

import polars as pl

from minadv.bench.records import MEASURED, Population, Stored
from minadv.report.bench.groups import Group
from minadv.result import Status


def rows(stored: Stored, groups: Sequence[Group], population: Population | None) -> pl.DataFrame:
    """Return the rows that were asked for, ordered as in the tables.

    Columns are those of `records.ROWS`, and

    - `entry`: position in `Stored.planned`, whose labels `model` and `attack` are;
    - `family`, `model_hash`, `goal`, `compared_by`: of the cell;
    - `value`: the distance by which the cell is compared; inf unless found, 0 when already adversarial;
    - `attacked`: false for samples that were adversarial already;
    - `counted`: whether the sample is in the population (None: that of its cell);
    - `best`: smallest `value` known for the sample, from any attack; inf when nobody found one.
    """
    asked, wanted = _entries(groups, population), _samples(stored)
    labels = [name for name in asked.columns if name in ("model", "attack", "minimises")]
    joined = (
        stored.rows.lazy()
        .drop(labels)
        .join(asked.lazy(), on=("cell", "data"))
        .join(wanted.lazy(), on=("entry", "sample"), how="semi")
        .collect()
    )
    attacked = pl.col("status") != Status.ALREADY.value
    frame = joined.with_columns(
        value=_reached(_compared(groups)),
        attacked=attacked,
        counted=~pl.col("only_correct") | (pl.col("clean_prediction") == pl.col("label")),
    )
    return _with_best(frame.sort("position", "sample").drop("position", "only_correct"), groups)


def envelope(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the best known distance per (data, model, goal, sample content, distance), and who reached it.

    Every distance that was measured counts, whatever the attack minimised. Distances that are not among
    `records.MEASURED` are known under their label, from attacks that minimised them. Samples that nobody broke
    have no line.
    """
    cells = _cells(rows)
    keyed = rows.join(cells.select("entry", "source"), on="entry", maintain_order="left")
    parts = [_best(keyed, pl.lit(name), pl.col(name)) for name in MEASURED if rows[name].null_count() < len(rows)]
    own = keyed.filter(~pl.col("compared_by").is_in(MEASURED))
    best = pl.concat([*parts, _best(own, pl.col("compared_by"), pl.col("distance"))])
    return (
        best.join(cells, on="entry")
        .select("data", "model", "model_hash", "goal", "sample", "content", "distance", "best", "attack", "cell")
        .sort("data", "model", "goal", "distance", "sample", "content")
    )


def _cells(rows: pl.DataFrame) -> pl.DataFrame:
    """Return one row per entry. A sample is the same where `source` (data, model, goal) and content are."""
    names = ("cell", "data", "model", "attack", "model_hash", "goal")
    cells = rows.group_by("entry", maintain_order=True).agg(pl.col(names).first())
    return cells.with_columns(source=pl.struct("data", "model_hash", "goal").rank("dense"))


def _best(rows: pl.DataFrame, name: pl.Expr, measured: pl.Expr) -> pl.DataFrame:
    """Reduce rows to the smallest distance per source, content and distance; the first where several are equal."""
    return (
        rows.lazy()
        .select("source", "content", "entry", "sample", distance=name.cast(pl.String), best=_reached(measured))
        .filter(pl.col("best").is_finite())
        .group_by("source", "content", "distance", maintain_order=True)
        .agg(pl.col("entry", "sample", "best").get(pl.col("best").arg_min()))
        .collect()
    )


def _with_best(frame: pl.DataFrame, groups: Sequence[Group]) -> pl.DataFrame:
    cells = _cells(frame).select("entry", "source")
    keyed = frame.select("entry", "content", "compared_by").with_row_index().join(cells, on="entry")
    parts: list[pl.DataFrame] = []
    for distance, column in dict.fromkeys((group.distance, group.column) for group in groups):
        minimised = pl.col("compared_by") == distance
        reached = frame.select("entry", "content", "compared_by", best=_reached(pl.col(column)))
        candidates = reached.filter(minimised) if column == "distance" else reached
        best = candidates.join(cells, on="entry").group_by("source", "content").agg(pl.col("best").min())
        parts.append(keyed.filter(minimised).join(best, on=("source", "content")).select("index", "best"))
    best = pl.concat(parts).sort("index")["best"] if parts else frame["value"].alias("best")
    return frame.with_columns(best)


def _compared(groups: Sequence[Group]) -> pl.Expr:
    """Each row's own distance."""
    value = pl.when(False).then(None)
    for distance, column in dict.fromkeys((group.distance, group.column) for group in groups):
        value = value.when(pl.col("compared_by") == distance).then(pl.col(column))
    return value.otherwise(None)


def _reached(measured: pl.Expr) -> pl.Expr:
    """Return a measured distance; inf unless the attack succeeded, 0 where there was nothing to attack."""
    return (
        pl.when(~pl.col("success"))
        .then(float("inf"))
        .when(pl.col("status") == Status.ALREADY.value)
        .then(0.0)
        .otherwise(measured.fill_null(float("inf")))
    )


def _entries(groups: Sequence[Group], population: Population | None) -> pl.DataFrame:
    """Describe each planned cell; `position` orders them as in the tables."""
    entries = [entry for group in groups for entry in group.entries]
    cells = [entry.cell for entry in entries]
    facts = {
        "entry": [entry.number for entry in entries],
        "position": range(len(entries)),
        "cell": [cell.id for cell in cells],
        "data": [cell.data for cell in cells],
        "model": [cell.model for cell in cells],
        "attack": [cell.attack for cell in cells],
        "minimises": [cell.minimises for cell in cells],
        "family": [cell.family for cell in cells],
        "model_hash": [cell.model_hash for cell in cells],
        "goal": [cell.goal for cell in cells],
        "compared_by": [group.distance for group in groups for _ in group.entries],
        "only_correct": [(population or cell.population) == "correct" for cell in cells],
    }
    numbers, flags = {"entry": pl.UInt32, "position": pl.UInt32}, {"only_correct": pl.Boolean}
    return pl.DataFrame(facts, schema={name: (numbers | flags).get(name, pl.String) for name in facts})


def _samples(stored: Stored) -> pl.DataFrame:
    """Return (entry, sample) of everything that was asked for."""
    asked = {
        "entry": range(len(stored.planned)),
        "sample": [list(planned.samples) for planned in stored.planned],
    }
    return pl.DataFrame(asked, schema={"entry": pl.UInt32, "sample": pl.List(pl.Int64)}).explode("sample")

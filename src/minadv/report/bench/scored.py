"""The stored rows with what statistics need of each: the distance that counts, and the best known one.

Everything here is columnar, and labels are kept once per cell, so that a million rows take seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from minadv.bench.records import ERROR, MEASURED, Cell, Population
from minadv.bench.stored import Stored
from minadv.report.bench import names
from minadv.report.bench.groups import Group
from minadv.result import Status

NEEDED = ("entry", "content", "label", "sample", "success", "status", "margin", "distance", *MEASURED)
SAME = "source", "content", "label"  # what makes two rows' samples the same
LABELS = ("cell", "data", "model", "attack", "family", "minimises", "compared_by", "goal", "model_hash")


def cells(groups: Sequence[Group], population: Population | None) -> pl.DataFrame:
    """Return what is said of each planned cell, in the order of the tables.

    Columns are `LABELS`, and `entry`: position in `Stored.planned`; `source`: a sample is the same where this
    (data, model's weights and goal), its content and its label are; `confidence`: how many logits beyond the
    boundary its answers are; `only_correct`: whether the population (None: that of the cell) leaves misclassified
    samples out.
    """
    entries = [entry for group in groups for entry in group.entries]
    facts = [entry.cell for entry in entries]
    columns = {
        "entry": [entry.number for entry in entries],
        "cell": [cell.id for cell in facts],
        "data": [cell.data for cell in facts],
        "model": [cell.model for cell in facts],
        "attack": [cell.attack for cell in facts],
        "family": [cell.family for cell in facts],
        "minimises": [cell.minimises for cell in facts],
        "compared_by": [group.distance for group in groups for _ in group.entries],
        "goal": [cell.goal for cell in facts],
        "model_hash": [cell.model_hash for cell in facts],
        "confidence": list(map(_confidence, facts)),
        "only_correct": [(population or cell.population) == "correct" for cell in facts],
    }
    schema = {
        "entry": pl.UInt32,
        **dict.fromkeys(LABELS, pl.String),
        "confidence": pl.Float64,
        "only_correct": pl.Boolean,
    }
    frame = pl.DataFrame(columns, schema_overrides=schema)
    return frame.with_columns(source=pl.struct("data", "model_hash", "goal").rank("dense"))


@dataclass(frozen=True)
class Beyond:
    """Rows that are in no table but count for what is best known, and their cells where `cells` lacks them.

    Columns are `NEEDED`, and those of `cells`.
    """

    rows: pl.DataFrame
    cells: pl.DataFrame


def beyond(stored: Stored, cells: pl.DataFrame) -> Beyond:
    """Return the rows of cells that were replaced, and of samples that are not asked for any more."""
    facts = {
        "cell": [cell.id for cell, _ in stored.earlier],
        **{
            name: [getattr(cell, name) for cell, _ in stored.earlier]
            for name in LABELS
            if name in Cell.model_fields
        },
        "compared_by": [names.compared_by(cell) for cell, _ in stored.earlier],
    }
    described = (
        pl.DataFrame(facts, schema=dict.fromkeys(facts, pl.String))
        .with_row_index("entry", offset=len(stored.planned))
        .with_columns(
            pl.Series("confidence", [_confidence(cell) for cell, _ in stored.earlier], dtype=pl.Float64),
            only_correct=pl.lit(False),
        )
        .join(cells.select("data", "model_hash", "goal", "source").unique(), on=("data", "model_hash", "goal"))
        .select(cells.columns)
    )
    found = pl.concat([pl.DataFrame(schema=stored.rows.schema), *(frame for _, frame in stored.earlier)])
    parts = [found.join(described.select("cell", "entry"), on="cell").select(NEEDED)]
    if len(stored.rows) != sum(len(planned.samples) for planned in stored.planned if planned.cell is not None):
        own = stored.rows.join(cells.select("cell", "entry"), on="cell")
        parts.append(own.join(_samples(stored), on=("entry", "sample"), how="anti").select(NEEDED))
    return Beyond(pl.concat(parts), described)


def rows(stored: Stored, groups: Sequence[Group], cells: pl.DataFrame, beyond: Beyond) -> pl.DataFrame:
    """Return the rows that were asked for, ordered as in the tables.

    Columns are those of `records.ROWS` without the labels, and

    - `entry`: which of `cells` the row belongs to;
    - `value`: the distance by which the cell is compared; inf unless found, 0 when already adversarial;
    - `attacked`: false for samples that were adversarial already;
    - `counted`: whether the sample is in the population;
    - `best`: smallest `value` known for the sample, of any attack's answers that are as far beyond the boundary as
      this cell's have to be; inf when nobody found one.
    """
    asked = cells.select("cell", "entry", "only_correct").with_row_index("position")
    # which rows, and in which order, from a few narrow columns: a million rows are copied once
    order = (
        stored.rows.lazy()
        .select("cell", "sample")
        .with_row_index("row")
        .join(asked.lazy(), on="cell")
        .join(_samples(stored).lazy(), on=("entry", "sample"), how="semi")
        .sort("position", "sample")
        .select("row", "entry", "only_correct")
        .collect()
    )
    labels = [label for label in LABELS if label in stored.rows.columns]
    frame = stored.rows.drop("shard", *labels)[order["row"]].with_columns(
        order["entry"], counted=~order["only_correct"] | (pl.col("clean_prediction") == pl.col("label"))
    )
    value, best = _distances(frame, groups, cells, beyond)
    return frame.with_columns(value, best, attacked=pl.col("status") != Status.ALREADY.value)


def failed(stored: Stored, cells: pl.DataFrame) -> pl.LazyFrame:
    """Return a row for each sample of a shard that failed: its cell's labels, and nothing measured."""
    keys = [(failure.cell.id, number) for failure in stored.failures for number in failure.samples]
    schema = {"cell": pl.String, "sample": pl.Int64}
    missing = pl.LazyFrame(keys, schema=schema, orient="row").unique(maintain_order=True)
    known = stored.rows.lazy().select("cell", "sample")
    return (
        missing.join(known, on=("cell", "sample"), how="anti", maintain_order="left")
        .join(cells.lazy().select(LABELS), on="cell", maintain_order="left")
        .with_columns(status=pl.lit(ERROR), success=pl.lit(False))
    )


def labelled(rows: pl.DataFrame, cells: pl.DataFrame) -> pl.LazyFrame:
    """Return the rows with the labels of their cells, as they are stored for others to read."""
    first = ("data", "model", "attack", "compared_by", "goal", "sample", "value", "counted", "attacked", "best")
    joined = rows.lazy().join(cells.lazy().select("entry", *LABELS), on="entry", maintain_order="left")
    return joined.select(*first, pl.exclude(*first, "entry"))


def envelope(rows: pl.DataFrame, cells: pl.DataFrame, beyond: Beyond) -> pl.DataFrame:
    """Return the best known distance per (data, model, goal, sample, distance), and who reached it.

    A sample is its content and label.

    Every distance that was measured counts, whatever the attack minimised. Distances that are not among
    `records.MEASURED` are known under their label, from attacks that minimised them. Samples that nobody broke
    have no line.
    """
    cells = pl.concat([cells, beyond.cells])
    if len(beyond.rows):
        rows = pl.concat([rows.select(beyond.rows.columns), beyond.rows])
    measured = [name for name in MEASURED if rows[name].null_count() < max(1, len(rows))]
    parts = [_best(rows, cells, name, name) for name in measured]
    own = cells.filter(~pl.col("compared_by").is_in(MEASURED))["compared_by"].unique(maintain_order=True)
    parts += [_best(rows, cells.filter(pl.col("compared_by") == name), "distance", name) for name in own]
    names = ("data", "model", "model_hash", "goal", "sample", "content", "label", "distance", "best")
    return (
        pl.concat(parts)
        .join(cells, on="entry")
        .select(*names, "attack", "cell")
        .sort("data", "model", "goal", "distance", "sample", "content", "label")
    )


def _best(rows: pl.DataFrame, cells: pl.DataFrame, column: str, name: str) -> pl.DataFrame:
    """Reduce rows to the smallest distance per sample; the first where several are equal."""
    return (
        rows.lazy()
        .select("entry", "content", "label", "sample", best=_reached(column))
        .filter(pl.col("best").is_finite())
        .join(cells.lazy().select("entry", "source"), on="entry", maintain_order="left")
        .group_by(SAME, maintain_order=True)
        .agg(pl.col("entry", "sample", "best").get(pl.col("best").arg_min()))
        .with_columns(distance=pl.lit(name))
        .collect()
    )


def _distances(
    frame: pl.DataFrame, groups: Sequence[Group], cells: pl.DataFrame, beyond: Beyond
) -> tuple[pl.Series, pl.Series]:
    """Return `value` and `best` of every row."""
    labels = ("entry", "source", "compared_by", "confidence")
    keyed = frame.lazy().with_row_index().join(cells.lazy().select(labels), on="entry")
    more = beyond.rows.lazy().join(pl.concat([cells, beyond.cells]).lazy().select(labels), on="entry")
    confidences = {entry.number: _confidence(entry.cell) for group in groups for entry in group.entries}
    parts: list[pl.LazyFrame] = []
    for distance, column, confidence in dict.fromkeys(
        (group.distance, group.column, confidences[entry.number]) for group in groups for entry in group.entries
    ):
        minimised = pl.col("compared_by") == distance
        columns = (*SAME, "compared_by", "confidence", "margin")
        reached = keyed.select("index", *columns, value=_reached(column))
        candidates = pl.concat([reached.drop("index"), more.select(*columns, value=_reached(column))])
        as_far = (pl.col("confidence") >= confidence) | (pl.col("margin") <= -confidence)
        candidates = candidates.filter(as_far & minimised if column == "distance" else as_far)
        best = candidates.group_by(SAME).agg(best=pl.col("value").min())
        compared = reached.filter(minimised & (pl.col("confidence") == confidence))
        parts.append(compared.join(best, on=SAME).select("index", "value", "best"))
    if not parts:
        return frame["distance"].alias("value"), frame["distance"].alias("best")
    found = pl.concat(parts).sort("index").collect()
    return found["value"], found["best"]


def _confidence(cell: Cell) -> float:
    """Return how many logits beyond the boundary a cell's answers are, as every attack's settings say."""
    value = cell.settings.get("confidence")
    return float(value) if isinstance(value, int | float) else 0.0


def _reached(column: str) -> pl.Expr:
    """Return a measured distance; inf unless the attack succeeded, 0 where there was nothing to attack."""
    return (
        pl.when(~pl.col("success"))
        .then(float("inf"))
        .when(pl.col("status") == Status.ALREADY.value)
        .then(0.0)
        .otherwise(pl.col(column).fill_null(float("inf")).fill_nan(float("inf")))
    )


def _samples(stored: Stored) -> pl.DataFrame:
    """Return (entry, sample) of everything that was asked for."""
    asked = {
        "entry": range(len(stored.planned)),
        "sample": [list(planned.samples) for planned in stored.planned],
    }
    return pl.DataFrame(asked, schema={"entry": pl.UInt32, "sample": pl.List(pl.Int64)}).explode("sample")

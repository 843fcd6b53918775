"""The rows of finished shards, read from their files, and no byte of them unchecked."""

import io
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from polars.exceptions import ColumnNotFoundError, PolarsError, SchemaError

from minadv.bench.records import MEASURED, ROWS, Sample, ShardRecord
from minadv.bench.store import ROWS_FILE, DamagedError, Store

FILES = 512  # read at a time
Damaged = tuple[str, str]  # a shard, and what is wrong with it


def records(store: Store) -> tuple[list[ShardRecord], list[Damaged]]:
    """Read what the shards of a folder are; and (name, reason) of those that are damaged."""
    found: list[ShardRecord] = []
    damaged: list[Damaged] = []
    for name in store.shard_names():
        try:
            found.append(store.record(name))
        except DamagedError as error:
            damaged.append((name, str(error)))
    return found, damaged


def samples(store: Store) -> dict[str, frozenset[Sample]]:
    """Return what is finished of each cell, as far as can be seen without reading all of it."""
    found: dict[str, set[Sample]] = {}
    for record in records(store)[0]:
        found.setdefault(record.cell, set()).update(record.samples)
    return {cell: frozenset(of) for cell, of in found.items()}


def rows_of(store: Store, record: ShardRecord) -> pl.DataFrame:
    """Read the rows of a shard.

    Raises:
        DamagedError: when they are not what was written.
    """
    try:
        return ordered(pl.read_parquet(io.BytesIO(store.bytes_of(record, ROWS_FILE))))
    except PolarsError as error:
        raise DamagedError(f"{ROWS_FILE} of shard {record.id} cannot be read: {error}") from error


def rows_of_all(
    store: Store, found: Sequence[ShardRecord]
) -> tuple[pl.DataFrame, list[ShardRecord], list[Damaged]]:
    """Read the rows of many shards; those that are damaged are named and left out.

    Where two shards have the same sample, the later in `found` counts. Files are hashed one by one, then read many
    at a time and in the order of the result, which takes a fraction of the time and memory of one by one.
    """
    reasons = [_reason(store, record) for record in found]
    intact = [record for record, why in zip(found, reasons, strict=True) if why is None]
    damaged = [(record.id, why) for record, why in zip(found, reasons, strict=True) if why is not None]
    in_order = sorted(intact, key=lambda record: (record.cell, record.samples[:1]))
    rows = _together(store, in_order)
    if not _each_once(rows):
        rows = joined([_together(store, intact)])
    elif not _in_order(rows):
        rows = rows.sort("cell", "sample")
    return rows, intact, damaged


def _together(store: Store, found: Sequence[ShardRecord]) -> pl.DataFrame:
    paths = [store.path(record, ROWS_FILE) for record in found]
    parts = (of_files(paths[start : start + FILES]) for start in range(0, len(paths), FILES))
    return pl.concat([pl.DataFrame(schema=ROWS), *(part.rechunk() for part in parts)])


def of_files(paths: Sequence[Path]) -> pl.DataFrame:
    """Read the rows of shards at once, or one by one where versions that measured more and less wrote them."""
    try:
        return ordered(pl.read_parquet(list(paths)))
    except (ColumnNotFoundError, SchemaError):
        return pl.concat([ordered(pl.read_parquet(path)) for path in paths])


def _each_once(rows: pl.DataFrame) -> bool:
    counts = rows.lazy().group_by("cell").agg(pl.len(), different=pl.col("sample").n_unique()).collect()
    return bool((counts["len"] == counts["different"]).all())


def _in_order(rows: pl.DataFrame) -> bool:
    step = rows.lazy().select(cell=pl.col("cell").rle_id().diff(), sample=pl.col("sample").diff())
    return bool(step.select(((pl.col("cell") > 0) | (pl.col("sample") > 0)).all()).collect().item())


def _reason(store: Store, record: ShardRecord) -> str | None:
    try:
        store.bytes_of(record, ROWS_FILE)
    except DamagedError as error:
        return str(error)
    return None


def ordered(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with the columns and types of `ROWS`, in that order; null for what earlier versions did not measure."""
    absent = [name for name in MEASURED if name not in rows.columns]
    rows = rows.with_columns(pl.lit(None).alias(name) for name in absent)
    return rows.select(pl.col(name).cast(dtype) for name, dtype in ROWS.items())


def joined(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """One table, each sample of a cell once, the last of them.

    Folders that were merged may have it in two shards, and an image may have changed since.
    """
    if not frames:
        return pl.DataFrame(schema=ROWS)
    return (
        pl.concat(frames)
        .unique(["cell", "sample"], keep="last", maintain_order=True)
        .sort("cell", "sample", maintain_order=True)
    )

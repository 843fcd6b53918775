"""Reading a benchmark folder: what is intact counts, the rest is named."""

import io
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import polars as pl
import torch
from polars.exceptions import PolarsError
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from minadv.bench.records import ROWS, Cell, Pictures, Planned, ShardRecord, Stored
from minadv.bench.store import ROWS_FILE, TENSORS_FILE, TRACE_FILE, DamagedError, Store

THREADS = 4  # files are read while others are parsed


def read(folder: Path) -> Stored:
    """Read a benchmark folder.

    Rows are checked against their checksums here, tensors when they are asked for.

    Raises:
        FileNotFoundError: when it is no benchmark folder, or has nothing finished and nothing planned.
    """
    store = Store(folder)
    if not store.exists():
        raise FileNotFoundError(f"{folder} is no benchmark folder: give the --out of a minadv bench")
    found, damaged = records(store)
    found.sort(key=lambda record: (record.started, record.id))  # what is later counts
    frames: list[pl.DataFrame] = []
    intact: list[ShardRecord] = []
    with ThreadPoolExecutor(THREADS) as pool:
        for record, frame in zip(found, pool.map(partial(_rows_or_reason, store), found), strict=True):
            if isinstance(frame, str):
                damaged.append((record.id, frame))
            else:
                frames.append(frame)
                intact.append(record)
    plan, why = store.plan()
    notes = [text for _, text in damaged]
    if plan is None and why is not None:
        notes.append(f"{why}: what was asked for is taken from the finished shards")
    planned, left_out = _planned(store, plan.planned if plan else (), intact)
    known = {cell.cell.id for cell in planned if cell.cell is not None}
    notes += left_out
    notes += sorted({text for record in intact if record.cell in known for text in record.warnings})
    rows = joined(frames).filter(pl.col("cell").is_in(known))
    models = {cell.cell.model_hash for cell in planned if cell.cell is not None}
    diagnosed = [diagnosis for diagnosis in store.diagnoses() if diagnosis.model_hash in models]
    of_cell: dict[str, list[ShardRecord]] = {}
    for record in intact:
        of_cell.setdefault(record.cell, []).append(record)
    computed = {cell: {number for record in of for number, _, _ in record.samples} for cell, of in of_cell.items()}
    return Stored(
        title=plan.title if plan else folder.name,
        planned=planned,
        rows=rows,
        failures=tuple(
            failure
            for failure in store.failures()
            # since then its samples may have been computed in other shards, or its model or attack been repaired
            if failure.cell.id in known and not computed.get(failure.cell.id, set()).issuperset(failure.samples)
        ),
        diagnoses=tuple(diagnosed),
        notes=tuple(notes),
        environments=tuple({repr(record.environment): record.environment for record in intact}.values()),
        pictures=partial(_pictures, store, of_cell),
        traces=partial(_traces, store, of_cell),
    )


def records(store: Store) -> tuple[list[ShardRecord], list[tuple[str, str]]]:
    """Read what the shards of a folder are; and (name, reason) of those that are damaged."""
    found: list[ShardRecord] = []
    damaged: list[tuple[str, str]] = []
    for name in store.shard_names():
        try:
            found.append(store.record(name))
        except DamagedError as error:
            damaged.append((name, str(error)))
    return found, damaged


def rows_of(store: Store, record: ShardRecord) -> pl.DataFrame:
    """Read the rows of a shard.

    Raises:
        DamagedError: when they are not what was written.
    """
    try:
        return ordered(pl.read_parquet(io.BytesIO(store.bytes_of(record, ROWS_FILE))))
    except PolarsError as error:
        raise DamagedError(f"{ROWS_FILE} of shard {record.id} cannot be read: {error}") from error


def ordered(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with the columns and types of `ROWS`, in that order."""
    return rows.select(pl.col(name).cast(dtype) for name, dtype in ROWS.items())


def joined(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """One table, each sample of a cell once, the last of them.

    Folders that were merged may have it in two shards, and an image may have changed since.
    """
    if not frames:
        return pl.DataFrame(schema=ROWS)
    return (
        pl.concat(frames)
        .unique(["cell", "data", "sample"], keep="last", maintain_order=True)
        .sort("cell", "sample", maintain_order=True)
    )


def _rows_or_reason(store: Store, record: ShardRecord) -> pl.DataFrame | str:
    try:
        return rows_of(store, record)
    except DamagedError as error:
        return str(error)


def _planned(
    store: Store, planned: Sequence[Planned], found: Iterable[ShardRecord]
) -> tuple[tuple[Planned, ...], list[str]]:
    """List what was asked for, then cells that came from elsewhere; and notes on what is left out."""
    asked = {cell.cell.id for cell in planned if cell.cell is not None}
    called = {cell.name for cell in planned}
    samples: dict[str, set[int]] = {}
    for record in found:
        samples.setdefault(record.cell, set()).update(number for number, _, _ in record.samples)
    notes: list[str] = []
    more: list[Planned] = []
    cells = {cell.id: cell for _, cell in store.cells() if cell is not None}
    for cell in (cells[name] for name in sorted(samples.keys() & cells.keys() - asked)):
        if (cell.data, cell.model, cell.attack) in called:
            notes.append(
                f"{cell.attack} on {cell.model}: {len(samples[cell.id])} samples computed with other settings, "
                "weights or code are left out"
            )
        else:
            more.append(_found(cell, samples[cell.id]))
    unknown = len(samples.keys() - cells.keys() - asked)
    if unknown:
        notes.append(f"the shards of {unknown} cells are left out: their files in cells/ are missing or damaged")
    return (*planned, *more), notes


def _found(cell: Cell, samples: set[int]) -> Planned:
    return Planned(model=cell.model, attack=cell.attack, cell=cell, samples=tuple(sorted(samples)))


def _pictures(store: Store, of_cell: dict[str, list[ShardRecord]], cell: str, numbers: Sequence[int]) -> Pictures:
    """Originals and adversarials of these samples.

    Raises:
        DamagedError: when their file is damaged.
        KeyError: when a sample is not among the cell's.
    """
    wanted, found = set(numbers), dict[int, tuple[Tensor, Tensor]]()
    for record in of_cell.get(cell, []):
        if not wanted.isdisjoint(number for number, _, _ in record.samples):
            tensors = _tensors(store, record, TENSORS_FILE)
            order = map(int, tensors["samples"])
            triples = zip(order, tensors["originals"], tensors["adversarials"], strict=True)
            found |= {
                number: (original, adversarial) for number, original, adversarial in triples if number in wanted
            }
    return Pictures(*(torch.stack([found[number][part] for number in numbers]) for part in (0, 1)))


def _traces(store: Store, of_cell: dict[str, list[ShardRecord]], cell: str) -> tuple[Tensor, Tensor] | None:
    """Propagations and best distances (queries, samples) of a cell; None when a sample has no intact trace."""
    parts: list[tuple[Tensor, Tensor]] = []
    seen = set[int]()
    for record in reversed(of_cell.get(cell, [])):
        try:
            tensors = _tensors(store, record, TRACE_FILE) if TRACE_FILE in record.files else None
        except DamagedError:
            tensors = None
        if tensors is not None:
            # a sample may be in several shards
            new = [place for place, number in enumerate(map(int, tensors["samples"])) if number not in seen]
            seen.update(number for number, _, _ in record.samples)
            parts.append((tensors["propagations"][:, new], tensors["distances"][:, new]))
    asked = {number for record in of_cell.get(cell, []) for number, _, _ in record.samples}
    if not parts or seen != asked:
        return None
    longest = max(len(spent) for spent, _ in parts)
    # shorter ones go on with their last row
    rows = [torch.arange(longest).clamp_max(len(spent) - 1) for spent, _ in parts]
    joined_parts = [
        torch.cat([part[which][chosen] for part, chosen in zip(parts, rows, strict=True)], dim=1)
        for which in (0, 1)
    ]
    return joined_parts[0], joined_parts[1]


def _tensors(store: Store, record: ShardRecord, name: str) -> dict[str, Tensor]:
    try:
        return load(store.bytes_of(record, name))
    except SafetensorError as error:
        raise DamagedError(f"{name} of shard {record.id} cannot be read: {error}") from error

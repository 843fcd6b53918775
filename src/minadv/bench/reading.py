"""Reading a benchmark folder: what is intact counts, the rest is named."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from minadv.bench import finished, namesakes
from minadv.bench.records import Cell, Diagnosis, Planned
from minadv.bench.store import Store
from minadv.bench.stored import Stored
from minadv.bench.tensors import Tensors


def read(folder: Path) -> Stored:
    """Read a benchmark folder.

    Rows are checked against their checksums here, tensors when they are asked for.

    Raises:
        FileNotFoundError: when it is no benchmark folder, or has nothing finished and nothing planned.
    """
    store = Store(folder)
    if not store.exists():
        raise FileNotFoundError(f"{folder} is no benchmark folder: give the --out of a minadv bench")
    found, damaged = finished.records(store)
    found.sort(key=lambda record: (record.started, record.id))  # what is later counts
    # a million samples are in the rows already; the first of each shard says where its rows belong
    light = [record.model_copy(update={"samples": record.samples[:1]}) for record in found]
    del found
    rows, intact, more = finished.rows_of_all(store, light)
    plan, why = store.plan()
    notes = [text for _, text in (*damaged, *more)]
    if plan is None and why is not None:
        notes.append(f"{why}: what was asked for is taken from the finished shards")
    order = {record.cell: place for place, record in enumerate(intact)}
    planned, replaced, left_out = _planned(store, plan.planned if plan else (), rows, order)
    known = {cell.cell.id for cell in planned if cell.cell is not None}
    notes += left_out
    notes += sorted({text for record in intact if record.cell in known for text in record.warnings})
    earlier = tuple((cell, rows.filter(pl.col("cell") == cell.id)) for cell in replaced)
    if rows.select(~pl.col("cell").is_in(known).all()).item():
        rows = rows.filter(pl.col("cell").is_in(known))
    tensors = Tensors.behind(store, intact, rows)
    return Stored(
        title=plan.title if plan else folder.name,
        planned=planned,
        rows=rows,
        failures=tuple(
            failure
            for failure in store.failures()
            # since then its samples may have been computed in other shards, or its model or attack been repaired
            if failure.cell.id in known and not _computed(rows, failure.cell.id).issuperset(failure.samples)
        ),
        diagnoses=_diagnosed(store, planned),
        notes=tuple(notes),
        environments=tuple({repr(record.environment): record.environment for record in intact}.values()),
        pictures=tensors.pictures,
        traces=tensors.traces,
        earlier=earlier,
        damaged=tensors.damaged,
    )


def _diagnosed(store: Store, planned: Sequence[Planned]) -> tuple[Diagnosis, ...]:
    """Read what was found about the models of a plan on its data: the newest, as labels may have been repaired.

    What an older version found, which does not say on what data, counts until the model is looked at again.
    """
    newest = {(one.data, one.model_hash): one for one in sorted(store.diagnoses(), key=lambda one: one.when)}
    asked = [(one.cell.data, one.cell.model_hash) for one in planned if one.cell is not None]
    found = [newest.get((data, model), newest.get(("", model))) for data, model in asked]
    return tuple({one.name: one for one in found if one is not None}.values())


def _computed(rows: pl.DataFrame, cell: str) -> set[int]:
    return set(rows.filter(pl.col("cell") == cell)["sample"].to_list())


def _planned(
    store: Store, planned: Sequence[Planned], rows: pl.DataFrame, order: Mapping[str, int]
) -> tuple[tuple[Planned, ...], list[Cell], list[str]]:
    """List what was asked for, then cells that came from elsewhere; cells that were replaced; and notes.

    `order` is that in which cells were computed last.
    """
    asked = {cell.cell.id for cell in planned if cell.cell is not None}
    called, current = {cell.name for cell in planned}, namesakes.hashes(planned)
    others = set(rows["cell"].unique().to_list()) - asked
    cells = {cell.id: cell for _, cell in store.cells() if cell is not None} if others else {}
    notes: list[str] = []
    more: list[Planned] = []
    replaced: list[Cell] = []
    for cell in (cells[name] for name in sorted(others & cells.keys())):
        samples = tuple(sorted(_computed(rows, cell.id)))
        if (cell.data, cell.model, cell.attack) in called:
            replaced.append(cell)
            same = current.get((cell.data, cell.model), cell.model_hash) == cell.model_hash
            how = (
                "settings or code count only for what is best known"
                if same
                else "weights or code of it are left out"
            )
            notes.append(f"{cell.attack} on {cell.model}: {len(samples)} samples computed with other {how}")
        else:
            more.append(Planned(model=cell.model, attack=cell.attack, cell=cell, samples=samples))
    unknown = len(others - cells.keys())
    if unknown:
        notes.append(f"the shards of {unknown} cells are left out: their files in cells/ are missing or damaged")
    kept, foreign = _of_one_network(planned, more, order)
    return kept, replaced + foreign, notes


def _of_one_network(
    planned: Sequence[Planned], more: Sequence[Planned], order: Mapping[str, int]
) -> tuple[tuple[Planned, ...], list[Cell]]:
    """Leave out cells of other networks that have a model's name: copied folders may hold several.

    The plan's network counts, or that which was computed last.
    """

    def last(one: Planned) -> int:
        return len(order) if one.cell is None else order.get(one.cell.id, len(order))

    every = (*planned, *more)
    kept = namesakes.without(every, namesakes.hashes((*sorted(more, key=last), *sorted(planned, key=last))))
    gone = [was.cell for was, now in zip(every, kept, strict=True) if was.cell is not None and now.cell is None]
    # the same attack on the network that counts needs no reason
    there = {one.name for one in kept if one.cell is not None}
    return tuple(one for one in kept if one.cell is not None or one.name not in there), gone

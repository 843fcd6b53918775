"""Putting the finished work of one benchmark folder into another."""

from dataclasses import dataclass
from pathlib import Path

from minadv.bench.store import DamagedError, Store
from minadv.run_folder import check_free


@dataclass(frozen=True)
class Merged:
    """How many shards were copied, how many were there already, and what was damaged."""

    copied: int
    there: int
    damaged: tuple[str, ...]


def merge(source: Path, target: Path) -> Merged:
    """Copy the intact shards, cells, diagnoses and plan of `source` that `target` lacks.

    Names are hashes of what decides a result: equal names are equal results, and nothing is overwritten.

    Raises:
        FileNotFoundError: `source` is no benchmark folder.
        ValueError: `target` holds a run of `minadv attack`.
        OSError: `target` cannot be written to.
    """
    old, new = Store(source), Store(target)
    if not old.exists():
        raise FileNotFoundError(f"{source} is no benchmark folder: give the --out of a minadv bench")
    check_free(target)
    new.create()
    copied, there, damaged = 0, 0, list[str]()
    for name in old.shard_names():
        try:
            if new.intact(name):
                there += 1
            else:
                old.copy_shard(name, new)
                copied += 1
        except DamagedError as error:
            damaged.append(f"{error}: left behind")
    for path, cell in old.cells():
        if cell is None:
            damaged.append(f"{path} is damaged: left behind")
        elif not new.has_cell(cell.id):
            new.write_cell(cell)
    diagnosed = {(diagnosis.data, diagnosis.model_hash) for diagnosis in new.diagnoses()}
    for diagnosis in old.diagnoses():
        # a newer one would take the place of that which belongs to the rows here
        if (diagnosis.data, diagnosis.model_hash) not in diagnosed:
            new.write_diagnosis(diagnosis)
    plan, _ = old.plan()
    if plan is not None:
        new.add_plan(plan)
    return Merged(copied, there, tuple(damaged))

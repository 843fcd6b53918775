"""A name in the tables stands for one network: cells of another that had it do not compare with its cells."""

from collections.abc import Iterable, Mapping, Sequence

from minadv.bench.records import Planned

Name = tuple[str, str]  # data spec, and what tables call the model


def hashes(planned: Iterable[Planned]) -> dict[Name, str]:
    """Return the hash of the network that each name stands for: the last one's, where there are several."""
    return {one.name[:2]: one.cell.model_hash for one in planned if one.cell is not None}


def without(planned: Sequence[Planned], known: Mapping[Name, str]) -> list[Planned]:
    """Put a reason in the place of every cell of another network than its name stands for, by `known`."""
    return [_or_reason(one, known) for one in planned]


def _or_reason(planned: Planned, known: Mapping[Name, str]) -> Planned:
    cell = planned.cell
    if cell is None or known.get(planned.name[:2], cell.model_hash) == cell.model_hash:
        return planned
    why = (
        f"what is stored of it was computed with other weights or code of {cell.model} than the other rows, and "
        "does not compare with them: run the suite again without --only, or give this model a name of its own"
    )
    return planned.model_copy(update={"cell": None, "samples": (), "unavailable": why, "data": cell.data})

"""What a reader must know before believing the tables: findings, problems first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor

from minadv.attacks.registry import REGISTRY
from minadv.bench.stored import Stored
from minadv.diagnosis.comparisons import beaten_findings, more_steps_findings
from minadv.diagnosis.finding import Finding
from minadv.report.bench.groups import Entry, Group
from minadv.report.bench.palette import effort, stem, steps

SEVERITIES = ("problem", "warning", "note")
BLACK_BOX_REMEDY = (
    "Take the smaller distance of the two per sample (envelope.parquet), and look for what breaks the gradients."
)


@dataclass(frozen=True)
class Issue:
    """Findings of one kind, which are explained once; `seen` are (model, what was observed)."""

    check: str
    severity: str
    matters: str
    remedy: str
    seen: tuple[tuple[str, str], ...]


def of(stored: Stored, rows: pl.DataFrame, groups: Sequence[Group]) -> tuple[Issue, ...]:
    """Return the findings of the models' diagnoses and of the stored rows, problems first, alike ones together."""
    kinds: dict[tuple[str, str, str, str], dict[tuple[str, str], None]] = {}
    for finding in (*stored.findings, *extra_findings(rows, groups)):
        kind = (finding.check, finding.severity, finding.matters, finding.remedy)
        kinds.setdefault(kind, {})[finding.model, finding.seen] = None
    issues = [Issue(*kind, tuple(seen)) for kind, seen in kinds.items()]
    return tuple(sorted(issues, key=lambda issue: SEVERITIES.index(issue.severity)))


def extra_findings(rows: pl.DataFrame, groups: Sequence[Group]) -> tuple[Finding, ...]:
    """Return what the rows show beyond the models' own diagnoses.

    More steps of an attack made it worse; an attack that never saw gradients beats one that did; distances that
    are missing.
    """
    parts = {int(part["entry"][0]): part for part in rows.select(_NEEDED).partition_by("entry")}
    return tuple(
        finding
        for group in groups
        for model in group.models
        for finding in _of_model(
            group,
            model,
            parts,
            [entry for entry in group.entries if entry.cell.model == model and entry.number in parts],
        )
    )


_NEEDED = ("entry", "sample", "value", "success", "attacked")


def _of_model(
    group: Group, model: str, parts: dict[int, pl.DataFrame], entries: Sequence[Entry]
) -> Iterator[Finding]:
    where = f"{model}, {group.data_title}"
    for few, many in _pairs(entries):
        one, other = _aligned(parts[few.number], parts[many.number])
        yield from more_steps_findings(where, (few.cell.attack, one), (many.cell.attack, other))
    for blind in entries:
        card = REGISTRY.get(blind.cell.family)
        if card is None or card.gradients:
            continue
        for seeing in entries:
            if REGISTRY.get(seeing.cell.family, card).gradients:
                one, other = _aligned(parts[seeing.number], parts[blind.number])
                yield from beaten_findings(
                    "black box wins",
                    where,
                    (seeing.cell.attack, one),
                    (blind.cell.attack, other),
                    BLACK_BOX_REMEDY,
                )
    for entry in entries:
        yield from _missing(group, where, entry, parts[entry.number])


def _pairs(entries: Sequence[Entry]) -> Iterator[tuple[Entry, Entry]]:
    """Yield the same attack at neighbouring numbers of steps, fewer first."""
    variants: dict[tuple[str, str, float], list[Entry]] = {}
    for entry in entries:
        # a budget would end the longer run before it could be worse
        variants.setdefault((entry.cell.family, stem(entry.cell), effort(entry.cell)[1]), []).append(entry)
    for found in variants.values():
        ordered = sorted(found, key=lambda entry: steps(entry.cell))
        yield from ((few, many) for few, many in pairwise(ordered) if steps(few.cell) < steps(many.cell))


def _aligned(
    one: pl.DataFrame, other: pl.DataFrame
) -> tuple[Float[Tensor, " samples"], Float[Tensor, " samples"]]:
    """Distances of the samples that both have."""
    both = one.join(other, on="sample", how="inner", maintain_order="left")
    first, second = (np.array(both[name].to_numpy()) for name in ("value", "value_right"))
    return torch.from_numpy(first), torch.from_numpy(second)


def _missing(group: Group, where: str, entry: Entry, rows: pl.DataFrame) -> Iterator[Finding]:
    found = rows.filter(pl.col("success") & pl.col("attacked"))
    missing = int(found["value"].is_infinite().sum())
    if missing:
        yield Finding(
            check="missing distances",
            severity="problem",
            model=where,
            seen=f"{entry.cell.attack} found {missing} adversarials whose {group.symbol} was not measured",
            matters="They count as failures here: the median is too large and the success rate too small.",
            remedy="Measure the distance (for LPIPS, with its weights present) and compute these shards again.",
        )

"""Tables 1 and 2 of the paper: geometric means over the models of a data set, and global optimality."""

import math
from collections.abc import Iterable, Mapping, Sequence

from minadv import metrics, paper
from minadv.report.bench.groups import Group
from minadv.report.bench.lines import Line
from minadv.report.bench.results import digits, published, ratio
from minadv.report.bench.tables import INCOMPLETE, Block, Column, Table, Value, number, pair


def table(group: Group, lines: Mapping[int, Line]) -> Table | None:
    """Return geometric means over models; None for a single model, whose means are its numbers."""
    if len(group.models) < 2:
        return None
    attacks: dict[str, dict[str, Line]] = {}
    for entry in group.entries:
        if lines[entry.number].counted:
            attacks.setdefault(entry.cell.attack, {})[entry.cell.model] = lines[entry.number]
    theirs = {attack: _published(list(found.values())) for attack, found in attacks.items()}
    beside = any(theirs.values())
    places = digits(group, [line for found in attacks.values() for line in found.values()])
    everywhere = len(group.models)
    means = {attack: _median(found.values()) for attack, found in attacks.items() if len(found) == everywhere}
    least = min((mean for mean in means.values() if math.isfinite(mean)), default=math.nan)
    best = number(least / 10**group.exponent, places).text
    rows = [
        _row(group, attack, list(found.values()), theirs[attack], places, best, beside)
        for attack, found in attacks.items()
    ]
    notes = ["Geometric means over models; – where a median is ∞. Optimality: the mean of the models' values."]
    if beside:
        notes.append("Paper: means of its tables over the same models, as in its tables 1 and 2.")
    if any(row[1].text != str(everywhere) for row in rows):
        notes.append("Means over different models do not compare.")
    if any(not line.complete for found in attacks.values() for line in found.values()):
        notes.append(f"{INCOMPLETE} Not all samples of all models are done.")
    return Table(
        f"{group.title}: over all models",
        f"{group.slug}-overall",
        _columns(group, beside),
        (Block("", tuple(rows)),),
        tuple(notes),
    )


def _columns(group: Group, beside: bool) -> tuple[Column, ...]:
    median, counts = f"Median {group.unit}", "forwards / backwards"
    if beside:
        heads = (("ASR (%)", ("ours", "paper")), (median, ("ours", "paper", "ratio")), (counts, ("ours", "paper")))
        means = tuple(Column(over, head) for over, under in heads for head in under)
    else:
        means = (Column("", "ASR (%)"), Column("", median), Column("", counts))
    return (
        Column("", "Attack", number=False),
        Column("", "Models"),
        *means,
        Column("", "Global optimality", about="mean over models of the local optimality"),
    )


def _row(
    group: Group,
    attack: str,
    lines: Sequence[Line],
    theirs: Sequence[paper.Row],
    places: int,
    best: str,
    beside: bool,
) -> tuple[Value, ...]:
    scale = 10**group.exponent
    mean = _median(lines)
    median = number(mean / scale, places)
    median = Value(median.text, median.order, best=median.text == best and len(lines) == len(group.models))
    asr = number(100 * metrics.geometric_mean([line.asr for line in lines]), 1)
    counts = _counts([(line.forwards, line.backwards) for line in lines])
    numbers = [asr, median, counts]
    if beside:
        other = metrics.geometric_mean([row.median for row in theirs])
        numbers = [
            asr,
            number(metrics.geometric_mean([row.asr for row in theirs]), 1, quiet=True),
            median,
            number(other / scale, 2, quiet=True),
            number(ratio(mean, other), 2),
            counts,
            _counts([(row.forwards, row.backwards) for row in theirs], quiet=True),
        ]
    complete = all(line.complete for line in lines)
    return (
        Value(attack if complete else f"{attack} {INCOMPLETE}", attack),
        Value(str(len(lines)), len(lines)),
        *numbers,
        number(metrics.global_optimality([line.optimality for line in lines]), 3),
    )


def _published(lines: Sequence[Line]) -> list[paper.Row]:
    """Return the paper's rows of the same models, or nothing when one is missing."""
    rows = [row for row in map(published, lines) if row is not None]
    return rows if len(rows) == len(lines) else []


def _median(lines: Iterable[Line]) -> float:
    return metrics.geometric_mean([line.median for line in lines])


def _counts(counts: Sequence[tuple[float, float]], *, quiet: bool = False) -> Value:
    forwards, backwards = (metrics.geometric_mean([each[k] for each in counts]) for k in (0, 1))
    return pair(forwards, backwards, quiet=quiet)

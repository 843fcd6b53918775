"""Tables 1 and 2 of the paper: geometric means over the models of a data set, and global optimality."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from minadv import metrics
from minadv.paper.geometric import Mean, Measured, geometric_means
from minadv.report.bench.groups import Group
from minadv.report.bench.lines import Line
from minadv.report.bench.results import NOTE_DIFFERENT, NOTE_RADIUS, comparable, digits, published, ratio
from minadv.report.bench.tables import INCOMPLETE, Block, Column, Table, Value, number, pair


@dataclass(frozen=True)
class Ours:
    """A line as what `geometric_means` averages; success rates in per cent, as in the paper."""

    data: str
    distance: str
    attack: str
    model: str
    asr: float
    median: float
    forwards: float
    backwards: float


def table(group: Group, lines: Mapping[int, Line]) -> Table | None:
    """Return geometric means over models; None for a single model, whose means are its numbers."""
    if len(group.models) < 2:
        return None
    attacks: dict[str, dict[str, Line]] = {}
    for entry in group.entries:
        if lines[entry.number].counted:
            attacks.setdefault(entry.cell.attack, {})[entry.cell.model] = lines[entry.number]
    printed = {attack: list(map(published, found.values())) for attack, found in attacks.items()}
    theirs = {attack: _mean([row for row in rows if row]) for attack, rows in printed.items() if all(rows)}
    beside = bool(theirs)
    places = digits(group, [line for found in attacks.values() for line in found.values()])
    means = {attack: _mean([_ours(line) for line in found.values()]) for attack, found in attacks.items()}
    blocks = ([found[model] for found in attacks.values() if model in found] for model in group.models)
    compare = all(map(comparable, blocks))
    whole = {attack for attack, found in attacks.items() if _everywhere(group, found.values())}
    medians = [means[attack].median for attack in whole] if compare and len(whole) > 1 else []
    # a median of 0 says how many samples are adversarial from the start, nothing of attacks
    least = min((median for median in medians if 0 < median < math.inf), default=math.inf)
    best = number(least / 10**group.exponent, places).text if least < math.inf else ""
    begun = {entry.cell.attack for entry in group.entries if not lines[entry.number].complete}
    rows = [
        _row(group, list(found.values()), means[attack], theirs.get(attack), places, best, beside, attack in begun)
        for attack, found in attacks.items()
    ]
    notes = ["Geometric means over models; – where a median is ∞. Optimality: the mean of the models' values."]
    if not all(line.minimal for found in attacks.values() for line in found.values()):
        notes.append(NOTE_RADIUS)
    if any(math.isnan(line.forwards) for found in attacks.values() for line in found.values()):
        notes.append("A model whose samples are all adversarial from the start has no propagations to average.")
    if beside:
        notes.append("Paper: means of its tables over the same models, as in its tables 1 and 2.")
    if any(any(rows) and not all(rows) for rows in printed.values()):
        notes.append("The paper has not all of these models: where one is missing, its means are left out.")
    if not compare:
        notes.append(NOTE_DIFFERENT)
    if any(row[1].text != str(len(group.models)) for row in rows):
        notes.append("Means over different models do not compare.")
    if begun & attacks.keys():
        notes.append(f"{INCOMPLETE} Not all samples of all models are done.")
    return Table(
        f"{group.title}: over all models",
        f"{group.slug}-overall",
        _columns(group, beside),
        (Block("", tuple(rows)),),
        tuple(notes),
    )


def _everywhere(group: Group, lines: Collection[Line]) -> bool:
    """Whether an attack is complete on every model."""
    return len(lines) == len(group.models) and all(line.complete for line in lines)


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
    lines: Sequence[Line],
    mean: Mean,
    theirs: Mean | None,
    places: int,
    best: str,
    beside: bool,
    begun: bool,
) -> tuple[Value, ...]:
    scale = 10**group.exponent
    median = number(mean.median / scale, places)
    median = Value(median.text, median.order, best=median.text == best and _everywhere(group, lines))
    asr, counts = number(mean.asr, 1), pair(mean.forwards, mean.backwards)
    numbers = [asr, median, counts]
    if beside and theirs is None:
        absent = Value("", math.nan, quiet=True)
        numbers = [asr, absent, median, absent, absent, counts, absent]
    elif theirs is not None:
        numbers = [
            asr,
            number(theirs.asr, 1, quiet=True),
            median,
            number(theirs.median / scale, 2, quiet=True),
            number(ratio(mean.median, theirs.median), 2),
            counts,
            pair(theirs.forwards, theirs.backwards, quiet=True),
        ]
    return (
        Value(f"{mean.attack} {INCOMPLETE}" if begun else mean.attack, mean.attack),
        Value(str(len(lines)), len(lines)),
        *numbers,
        number(metrics.global_optimality([line.optimality for line in lines]), 3),
    )


def _ours(line: Line) -> Ours:
    cell = line.entry.cell
    return Ours(
        cell.data,
        cell.minimises,
        cell.attack,
        cell.model,
        100 * line.asr,
        line.median,
        line.forwards,
        line.backwards,
    )


def _mean(rows: Sequence[Measured]) -> Mean:
    """Average rows of one attack, a row per model."""
    (mean,) = geometric_means(rows)
    return mean

"""Tables 4 to 15 of the paper: attacks on the models of one data set, under one distance."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from minadv import metrics, paper
from minadv.bench.suite import radius
from minadv.report.bench import names
from minadv.report.bench.groups import Group
from minadv.report.bench.lines import Line
from minadv.report.bench.tables import INCOMPLETE, Block, Column, Table, Value, decimals, grouped, number, pair

ABOUT = {
    "asr": "attack success rate: samples with an adversarial, those adversarial from the start included",
    "median": "lower median of the smallest distance found; failures are infinite, – is a median of ∞",
    "robust": "robust accuracy: samples without an adversarial within ε; – but at the only ε that was searched",
    "counts": "propagations through the model, the mean over attacked samples",
    "optimality": "1: the best known distance on every sample, 0: nothing better than the worst of these",
    "mean": "mean distance over samples that were attacked and found",
    "bits": "found adversarials that stay adversarial when rounded to 8 bits, in per cent",
    "samples": "samples that the statistics are over, or done of asked for where some are missing",
}
NOTE_INCOMPLETE = f"{INCOMPLETE} Not all samples are done: the numbers are of those that are, and will change."
NOTE_RADIUS = (
    "An attack within one radius has a success rate alone, 100 % less the robust accuracy there: "
    "its distances are not the smallest."
)
NOTE_DIFFERENT = "No median is bold among attacks with different samples of a model: those do not compare."


@dataclass(frozen=True)
class Layout:
    """How numbers of one table are printed.

    Attributes:
        scale: medians are divided by it.
        places, rates: decimals of medians, and of the paper's success rates.
        beside: whether the paper's numbers have columns.
        radii: at which robust accuracy has columns.
    """

    scale: float
    places: int
    rates: int
    beside: bool
    radii: tuple[float, ...]


def table(group: Group, lines: Mapping[int, Line]) -> Table:
    """Return the table of a group."""
    ours = [lines[entry.number] for entry in group.entries]
    printed = {line.entry.number: published(line) for line in ours}
    rows = [row for row in printed.values() if row]
    rates = max((len(f"{row.asr:g}".partition(".")[2]) for row in rows), default=0)
    radii = tuple(map(radius, group.radii))
    layout = Layout(10**group.exponent, digits(group, ours), rates, bool(rows), radii)
    parts = {model: of_model(ours, model) for model in group.models}
    blocks = [Block(model, _rows(part, printed, layout)) for model, part in parts.items()]
    notes = [] if all(line.complete for line in ours) else [NOTE_INCOMPLETE]
    if not all(line.minimal for line in ours):
        notes.append(NOTE_RADIUS)
    if not all(map(comparable, parts.values())):
        notes.append(NOTE_DIFFERENT)
    if rows:
        which = " and ".join(str(number) for number in sorted({row.table for row in rows}))
        notes.insert(0, f"Paper: as printed in table {which} of Rony et al., ICCV 2021.")
        notes += dict.fromkeys(row.note for row in rows if row.note)
    return Table(group.title, group.slug, columns(group, layout.beside), tuple(blocks), tuple(notes))


def columns(group: Group, beside: bool) -> tuple[Column, ...]:
    """Return the heads; the paper's columns only where it has numbers."""
    median, counts = f"Median {group.unit}", "forwards / backwards"
    if not beside:
        first = (
            Column("", "ASR (%)", about=ABOUT["asr"]),
            Column("", median, about=ABOUT["median"]),
            Column("", counts, about=ABOUT["counts"]),
        )
    else:
        first = (
            Column("ASR (%)", "ours", about=ABOUT["asr"]),
            Column("ASR (%)", "paper", about=ABOUT["asr"]),
            Column(median, "ours", about=ABOUT["median"]),
            Column(median, "paper", about=ABOUT["median"]),
            Column(median, "ratio", about="our median divided by the paper's"),
            Column(counts, "ours", about=ABOUT["counts"]),
            Column(counts, "paper", about=ABOUT["counts"]),
        )
    return (
        Column("", "Attack", number=False),
        *first,
        *(Column(f"Robust (%) at {group.symbol}", f"ε = {text}", about=ABOUT["robust"]) for text in group.radii),
        Column("", "Optimality", about=ABOUT["optimality"]),
        Column("", "Mean found", about=ABOUT["mean"]),
        Column("", "8-bit (%)", about=ABOUT["bits"]),
        Column("", "Samples", about=ABOUT["samples"]),
    )


def published(line: Line) -> paper.Row | None:
    """Return what the paper prints for the same attack on the same model under the same distance."""
    cell, by = line.entry.cell, names.compared_by(line.entry.cell)
    other_scale = names.family(by) in ("ciede2000", "lpips") and not by.endswith("_paper")
    if cell.paper is None or cell.goal != "untargeted" or other_scale:
        return None
    return paper.find(cell.paper, names.family(by), cell.model, cell.attack)


def comparable(lines: Sequence[Line]) -> bool:
    """Whether lines of one model, those that are not complete aside, are over the same samples."""
    return len({line.over for line in lines if line.complete and line.done}) <= 1


def compared(lines: Sequence[Line]) -> list[Line]:
    """Return the lines of one model whose medians compare: the complete ones; none where fewer than two do.

    An attack within one radius has none.
    """
    complete = [line for line in lines if line.complete and line.counted and line.minimal]
    return complete if len(complete) > 1 and comparable(lines) else []


def of_model(lines: Iterable[Line], model: str) -> list[Line]:
    """Return the lines of a model."""
    return [line for line in lines if line.entry.cell.model == model]


def digits(group: Group, lines: Sequence[Line]) -> int:
    """Return the decimals of the medians of a table; counts of entries need none."""
    if group.distance == "l0":
        return 0
    return decimals([line.median / 10**group.exponent for line in lines])


def _rows(
    lines: Sequence[Line], printed: Mapping[int, paper.Row | None], layout: Layout
) -> tuple[tuple[Value, ...], ...]:
    # a median of 0 says how many samples are adversarial from the start, nothing of attacks
    least = min((line.median for line in compared(lines) if line.median > 0), default=math.inf)
    best = number(least / layout.scale, layout.places).text if least < math.inf else ""
    return tuple(_row(line, printed[line.entry.number], layout, best) for line in lines)


def _row(line: Line, row: paper.Row | None, layout: Layout, best: str) -> tuple[Value, ...]:
    rates = 1 if line.counted <= 1000 else 2
    asr = number(100 * line.asr, rates)
    median = number(line.median / layout.scale, layout.places)
    if median.text == best and line.complete:
        median = Value(median.text, median.order, best=True)
    counts = pair(line.forwards, line.backwards)
    numbers = [asr, median, counts]
    if layout.beside:
        absent = Value("", math.nan, quiet=True)
        theirs = (absent,) * 4 if row is None else _theirs(line, row, layout)
        numbers = [asr, theirs[0], median, theirs[1], theirs[2], counts, theirs[3]]
    attack = line.entry.cell.attack
    return (
        Value(attack if line.complete else f"{attack} {INCOMPLETE}", attack),
        *numbers,
        *(number(100 * share, rates) for share in robust(line, layout.radii)),
        number(line.optimality, 3),
        number(line.mean / layout.scale, layout.places),
        number(100 * line.survives, 1),
        samples(line),
    )


def _theirs(line: Line, row: paper.Row, layout: Layout) -> tuple[Value, Value, Value, Value]:
    """Return the paper's success rate, median, the ratio of ours to it, and propagations."""
    median = number(row.median / layout.scale, 2, quiet=True)
    if math.isclose(row.unit, layout.scale):
        median = Value(row.printed, row.median, quiet=True)
    return (
        number(row.asr, layout.rates, quiet=True),
        median,
        number(ratio(line.median, row.median), 2),
        pair(row.forwards, row.backwards, quiet=True),
    )


def robust(line: Line, radii: Sequence[float]) -> list[float]:
    """Return the robust accuracy at radii; nan but at the only one that an attack searched, if there is one."""
    shares = metrics.robust_accuracy_at(line.distances, radii).tolist()
    known = [line.minimal or math.isclose(at, line.searched, rel_tol=1e-4) for at in radii]
    return [share if there else math.nan for share, there in zip(shares, known, strict=True)]


def ratio(ours: float, theirs: float) -> float:
    """Return the quotient of two medians; nan unless both are numbers."""
    return ours / theirs if math.isfinite(ours) and 0 < theirs < math.inf else math.nan


def samples(line: Line) -> Value:
    """Return how many samples the statistics are over, and what is missing."""
    text = grouped(str(line.counted))
    if not line.complete:
        failed = f", {line.errors} failed" if line.errors else ""
        text = f"{grouped(str(line.done))} of {grouped(str(line.entry.samples))} done{failed}"
    return Value(text, line.counted)

"""Tables out of what is stored: every attack's line, optimality over targets, and Auto beside the rest."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from benchmarks.frontier.suites import DISTANCES, ON_DEMAND
from benchmarks.tables import Table
from minadv import distances, metrics
from minadv.bench import choosing, reading
from minadv.bench.rows import column
from minadv.bench.store import Store
from minadv.report.bench import names, report
from minadv.report.bench.lines import Line
from minadv.report.summary import number

OURS = ("auto", "alma")
UNFINISHED = "†"
NOTE = (
    "Medians are lower medians, failures infinite. Optimality: against the best of everything that is stored. "
    f"{UNFINISHED}: unfinished, or over other samples than the others."
)


@dataclass(frozen=True)
class Row:
    """An attack on a target: `line` has the numbers.

    Attributes:
        distance: label of what was minimised, as of `minadv.report.bench.names.compared_by`.
        attack: without the distance.
        family: its name in the registry.
    """

    target: str
    distance: str
    attack: str
    family: str
    line: Line

    @property
    def where(self) -> tuple[str, str]:
        return self.target, self.distance

    def within(self, budget: float) -> bool:
        """Whether it spends at most so many forwards and so many backwards, on average."""
        return self.line.forwards <= budget and self.line.backwards <= budget


def stored(out: Path, words: Sequence[str] = ()) -> list[Row]:
    """Read the rows of every folder below `out`, ordered by distance.

    Args:
        out: of `run`.
        words: rows whose target and attack have all words of one of these; none means all.

    Raises:
        FileNotFoundError: when nothing is there.
    """
    folders = [path for path in sorted(out.glob("*")) if Store(path).exists()]
    if not folders:
        raise FileNotFoundError(f"{out} has no results: python -m benchmarks.frontier run makes some")
    found: list[Row] = []
    for folder in folders:
        shown = report.of(reading.read(folder))
        for group in shown.groups:
            for entry in group.entries:
                cell, line = entry.cell, shown.lines[entry.number]
                attack = cell.attack.rpartition(", ")[0] or cell.attack
                if line.counted and choosing.matches(cell.model, cell.attack, words):
                    found.append(Row(cell.model, group.distance, attack, cell.family, line))
    order = [_compared_by(name) for name in (*DISTANCES, *ON_DEMAND)]
    return sorted(found, key=lambda row: order.index(row.distance) if row.distance in order else len(order))


def _compared_by(distance: str) -> str:
    """Return the label by which attacks on a distance are compared."""
    label = distances.resolve(distance).name
    return label if column(label) == "distance" else column(label)


def every(rows: Sequence[Row]) -> Iterator[Table]:
    """Yield a table for each target and distance: a line per attack, the smallest median first."""
    for (target, distance), part in groupby(sorted(rows, key=_place(rows)), key=lambda row: row.where):
        ordered = sorted(part, key=lambda row: row.line.median)
        columns = ("attack", "median", "ASR", "forwards / backwards", "optimality", "samples")
        yield Table(f"{target}, {names.symbol(distance)}", columns, tuple(map(_cells, ordered)))


def _place(rows: Sequence[Row]) -> Callable[[Row], int]:
    seen = list(dict.fromkeys(row.where for row in rows))
    return lambda row: seen.index(row.where)


def _cells(row: Row) -> tuple[str, ...]:
    line = row.line
    counts = f"{line.forwards:.0f} / {line.backwards:.0f}"
    samples = str(line.counted) + ("" if line.complete else f" {UNFINISHED}")
    return row.attack, number(line.median), _rate(line.asr), counts, _share(line.optimality), samples


def _rate(value: float) -> str:
    return f"{100 * value:.0f} %"


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def overall(rows: Sequence[Row]) -> Iterator[Table]:
    """Yield a table for each distance: every attack's optimality over targets, the best first."""
    for distance, part in groupby(rows, key=lambda row: row.distance):
        ordered = sorted(_by_attack(part).items(), key=lambda item: -_optimality(item[1])[0])
        lines = tuple(
            (
                attack,
                str(len(some)),
                *map(_share, _optimality(some)),
                _rate(min(row.line.asr for row in some)),
            )
            for attack, some in ordered
        )
        columns = ("attack", "targets", "global optimality", "least local", "least ASR")
        yield Table(f"{names.symbol(distance)}: over all targets", columns, lines)


def _by_attack(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.attack, []).append(row)
    return found


def _optimality(rows: Iterable[Row]) -> tuple[float, float]:
    """Return mean and least local optimality over targets, without those where it is undefined."""
    values = [row.line.optimality for row in rows if not math.isnan(row.line.optimality)]
    return metrics.global_optimality(values), min(values, default=math.nan)


def summary(rows: Sequence[Row], budgets: Sequence[int]) -> Iterator[Table]:
    """Yield two tables: Auto at each budget beside ALMA, ours and the paper's, and a peer; then by distance.

    A peer is any attack but Auto and ALMA that spends at most the largest budget, on the samples that Auto has.
    """
    most = max(budgets)
    ours, alma, paper = ([f"{name} {budget}" for budget in budgets] for name in ("Auto", "ALMA", "ALMA.paper"))
    heads = ("target", "distance", *ours, *(f"optimality {budget}" for budget in budgets))
    lines: list[tuple[str, ...]] = []
    for (target, distance), part in groupby(sorted(rows, key=_place(rows)), key=lambda row: row.where):
        some = list(part)
        line = {row.attack: row.line for row in some}
        over = {line[name].over for name in ours if name in line}
        if not over:
            continue
        # what has other samples does not compare, and has a mark where it has a column of its own
        peers = [row for row in some if row.family not in OURS and row.within(most) and {row.line.over} == over]
        best = min(peers, key=lambda row: row.line.median, default=None)

        def medians(attacks: list[str], line: dict[str, Line] = line, over: set[str] = over) -> list[str]:
            return [_median(line[name], over) if name in line else "" for name in attacks]

        lines.append(
            (
                target,
                names.symbol(distance),
                *medians(ours),
                *(_share(line[name].optimality) if name in line else "" for name in ours),
                "" if best is None else f"{_median(best.line, over)} ({best.attack})",
                *medians(alma),
                *medians(paper),
            )
        )
    yield Table("Smallest perturbations", (*heads, f"best peer ≤ {most}", *alma, *paper), tuple(lines), NOTE)
    yield _by_distance(rows, budgets)


def _median(line: Line, over: set[str]) -> str:
    return number(line.median) + ("" if line.complete and {line.over} == over else f" {UNFINISHED}")


def _by_distance(rows: Sequence[Row], budgets: Sequence[int]) -> Table:
    """Mean (global) and least local optimality of Auto and of the best other attack within each budget."""
    lines: list[tuple[str, ...]] = []
    for distance, part in groupby(rows, key=lambda row: row.distance):
        of_attack = _by_attack(part)
        for budget in budgets:
            auto = of_attack.get(f"Auto {budget}", [])
            if not auto:
                continue
            places = {row.target for row in auto}
            others = {
                attack: [row for row in some if row.target in places]
                for attack, some in of_attack.items()
                if some[0].family != "auto" and all(row.within(budget) for row in some)
            }
            # an attack that was not run everywhere, on the same samples, has no mean to compare
            same = {(row.target, row.line.over) for row in auto}
            whole = {
                attack: some
                for attack, some in others.items()
                if {(row.target, row.line.over) for row in some} == same
            }
            means = {attack: _optimality(some)[0] for attack, some in whole.items()}
            best = max(means, key=lambda attack: means[attack], default=None)
            mean, least = map(_share, _optimality(auto))
            other = "" if best is None else f"{_share(means[best])} ({best})"
            lines.append((names.symbol(distance), str(budget), str(len(places)), mean, least, other))
    columns = ("distance", "budget", "targets", "Auto: global optimality", "least local", "best other")
    return Table("Optimality over targets", columns, tuple(lines), NOTE)

"""What attacks spent, against what they were given and what they found for it."""

import math
from collections.abc import Mapping

from minadv.report.bench import panels
from minadv.report.bench.groups import Group
from minadv.report.bench.lines import Line
from minadv.report.bench.palette import Style
from minadv.report.bench.panels import Figure, Panel, Trace
from minadv.report.bench.tables import UNDEFINED, Block, Column, Table, Value, number


def table(group: Group, lines: Mapping[int, Line]) -> Table:
    """Return propagations of each attack, over all models, beside its budget."""
    attacks: dict[str, list[Line]] = {}
    for entry in group.entries:
        if lines[entry.number].counted:
            attacks.setdefault(entry.cell.attack, []).append(lines[entry.number])
    rows = tuple(_row(attack, found) for attack, found in attacks.items())
    columns = (
        Column("", "Attack", number=False),
        Column("", "Steps"),
        Column("", "Mean", about="forwards plus backwards of an attacked sample, mean over samples and models"),
        Column("", "Most", about="of any sample on any model"),
        Column("", "Budget", about="most propagations that the attack was allowed for a sample"),
        Column("", "Used (%)", about="mean, of the budget"),
    )
    if all(_number(line, "budget") == math.inf for found in attacks.values() for line in found):
        columns, rows = columns[:-2], tuple(row[:-2] for row in rows)  # nothing was limited
    return Table(f"{group.title}: propagations", f"{group.slug}-budget", columns, (Block("", rows),))


def _row(attack: str, lines: list[Line]) -> tuple[Value, ...]:
    mean = _mean([line.propagations for line in lines])
    budgets = {_allowed(line) for line in lines}
    budget = budgets.pop() if len(budgets) == 1 else math.nan
    steps = {_number(line, "steps") for line in lines}
    return (
        Value(attack, attack),
        number(steps.pop() if len(steps) == 1 else math.nan, 0),
        number(mean, 0),
        number(max((line.spent for line in lines if math.isfinite(line.spent)), default=math.nan), 0),
        Value("none", math.inf) if budget == math.inf else number(budget, 0),
        number(100 * mean / budget, 0) if budget < math.inf else Value(UNDEFINED, math.nan),
    )


def _mean(values: list[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return math.fsum(known) / len(known) if known else math.nan


def _allowed(line: Line) -> float:
    """Return the most propagations; Auto's budget is that of forwards, and that of backwards."""
    return _number(line, "budget") * (2 if line.entry.cell.family == "auto" else 1)


def _number(line: Line, setting: str) -> float:
    """Return a setting; inf where there is none."""
    value = line.entry.cell.settings.get(setting)
    return float(value) if isinstance(value, int | float) else math.inf


def panel(group: Group, lines: Mapping[int, Line], styles: Mapping[int, Style]) -> Panel | None:
    """Return median distance against propagations, a point per attack; None without two to compare."""
    labels = panels.legend(group.entries, styles)
    figures: list[Figure] = []
    for model in group.models:
        shown = [lines[entry.number] for entry in group.entries if entry.cell.model == model]
        shown = [line for line in shown if 0 < line.median < math.inf and line.propagations > 0]
        traces = tuple(
            Trace(
                panels.key(labels, line.entry),
                (float(f"{line.propagations:.5g}"),),
                (float(f"{line.median / 10**group.exponent:.5g}"),),
            )
            for line in shown
        )
        if traces:
            figures.append(Figure(model, traces))
    if all(len(figure.traces) < 2 for figure in figures):
        return None
    return panels.of_medians(group, "spending", "points", "{x} propagations: {y}", labels, figures)

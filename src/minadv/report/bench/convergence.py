"""How fast attacks get there: median of the best distance so far against propagations."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from minadv.bench.stored import Stored
from minadv.hyper_parameters import fixed_radius
from minadv.report import curves
from minadv.report.bench import names, panels
from minadv.report.bench.groups import Entry, Group
from minadv.report.bench.palette import Style
from minadv.report.bench.panels import Figure, Panel, Trace

STEPS = 400


def of(
    stored: Stored, groups: Sequence[Group], styles: Mapping[int, Style], rows: pl.DataFrame
) -> tuple[Panel, ...]:
    """Return a panel for each group with traces, of the samples that count in the tables' `rows`.

    Attacks that minimised another distance, or searched one radius alone, are left out.
    """
    counted = dict(rows.filter("counted").group_by("entry").agg("sample").iter_rows())
    found = (_panel(stored, group, styles, counted) for group in groups)
    return tuple(panel for panel in found if panel is not None)


def _panel(
    stored: Stored, group: Group, styles: Mapping[int, Style], counted: Mapping[int, Sequence[int]]
) -> Panel | None:
    # a trace is of what was minimised, which need not be the distance that the table compares
    entries = [
        entry
        for entry in group.entries
        if same(entry.cell.minimises, group.distance) and fixed_radius(entry.cell.settings) is None
    ]
    medians = {entry.number: _median(stored, entry, counted.get(entry.number, ())) for entry in entries}
    entries = [entry for entry in entries if medians[entry.number] is not None]
    if not entries:
        return None
    labels = panels.legend(entries, styles)
    figures: list[Figure] = []
    for model in dict.fromkeys(entry.cell.model for entry in entries):
        traces: list[Trace] = []
        for entry in entries:
            curve = medians[entry.number]
            if entry.cell.model == model and curve is not None:
                spent, median = curve
                key = panels.key(labels, entry)
                traces.append(Trace(key, panels.rounded(spent), panels.rounded(median / 10**group.exponent)))
        figures.append(Figure(model, tuple(traces)))
    return panels.of_medians(group, "convergence", "steps", "after {x}: {y}", labels, figures)


def same(minimised: str, distance: str) -> bool:
    """Whether an attack minimised what its table compares; options of LPIPS, e.g. its trunk, may differ."""
    return names.symbol(minimised) == names.symbol(distance) or (
        names.family(minimised) == names.family(distance) == "lpips" and not distance.endswith("_paper")
    )


def _median(stored: Stored, entry: Entry, samples: Sequence[int]) -> tuple[panels.Numbers, panels.Numbers] | None:
    """Return propagations and medians where they change; None without a trace, or when no median is finite."""
    trace = stored.traces(entry.cell.id, samples)
    if trace is None:
        return None
    spent, median = curves.progress(trace)
    kept = np.isfinite(median) & (median > 0)
    if not kept.any():
        return None
    spent, median = spent[kept], median[kept]
    steps = np.flatnonzero(np.diff(median, prepend=np.inf))
    if len(steps) > STEPS:
        steps = np.unique(steps[np.linspace(0, len(steps) - 1, STEPS).round().astype(int)])
    steps = np.unique(np.append(steps, len(median) - 1))
    return spent[steps], median[steps]

"""Figures 6 to 15 of the paper: robust accuracy against distance, attack by attack."""

from collections.abc import Mapping, Sequence

import numpy as np

from minadv import metrics
from minadv.report.bench import panels
from minadv.report.bench.groups import Group
from minadv.report.bench.lines import Line
from minadv.report.bench.palette import Style
from minadv.report.bench.panels import Figure, Numbers, Panel, Trace

STEPS, POINTS = 1000, 300_000  # of one curve, and of all curves on a page
QUANTILE, BEYOND = 0.98, 1.08


def resolution(curves: int) -> int:
    """Return how many steps a curve may keep, so that a page with many curves stays light."""
    return max(100, min(STEPS, POINTS // max(1, curves)))


def panel(group: Group, lines: Mapping[int, Line], styles: Mapping[int, Style], most: int) -> Panel:
    """Return one figure per model. Curves keep at most `most` steps; the error is below 1/most.

    Attacks within one radius have none: of other radii they say nothing.
    """
    entries = [entry for entry in group.entries if lines[entry.number].counted and lines[entry.number].minimal]
    labels = panels.legend(entries, styles)
    figures: list[Figure] = []
    for model in dict.fromkeys(entry.cell.model for entry in entries):
        shown = [lines[entry.number] for entry in entries if entry.cell.model == model]
        finite = [line.distances[np.isfinite(line.distances)] / 10**group.exponent for line in shown]
        limit = visible(finite)
        end = max([limit, *(float(values[-1]) for values in finite if values.size)])
        traces = tuple(
            _trace(
                panels.key(labels, line.entry),
                line.distances / 10**group.exponent,
                end,
                most,
            )
            for line in shown
        )
        figures.append(Figure(model, traces, (0.0, limit), (0.0, 101.0)))
    return Panel(
        slug=group.slug,
        title=group.title,
        kind="steps",
        x_title=f"{group.unit} distance ε",
        y_title="robust accuracy (%)",
        hover="ε = {x}: {y} % robust",
        legend=labels,
        figures=tuple(figures),
    )


def visible(finite: Sequence[Numbers]) -> float:
    """Return where the axis ends: a little beyond the end of the curves of the better half of the attacks."""
    ends = sorted(
        float(np.quantile(values, QUANTILE, method="higher"))
        for values in finite
        if values.size and values[-1] > 0
    )
    return BEYOND * ends[(len(ends) - 1) // 2] if ends else 1.0


def thinned(at: Numbers, robust: Numbers, most: int) -> tuple[Numbers, Numbers]:
    """Leave steps out of a curve until `most` are left: it then differs from the whole by less than 1/most."""
    if len(at) <= most:
        return at, robust
    fallen = robust[0] - robust
    levels = float(fallen[-1]) * np.linspace(0, 1, most, dtype=np.float64)
    kept = np.unique(np.minimum(np.searchsorted(fallen, levels), len(at) - 1))
    return at[kept], robust[kept]


def _trace(place: int, distances: Numbers, end: float, most: int) -> Trace:
    at, robust = thinned(*metrics.robust_accuracy(distances), most)
    if at[-1] < end:  # the level after the last step is seen to the end
        at, robust = np.append(at, end), np.append(robust, robust[-1])
    return Trace(place, panels.rounded(at), panels.rounded(100 * robust))

"""The page: one HTML file that opens without a network, with plotly.js inside."""

import json
from collections.abc import Sequence

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from minadv import errors
from minadv.bench.records import FORMAT, Diagnosis, Failure
from minadv.bench.stored import Stored
from minadv.report import pages
from minadv.report.bench import (
    convergence,
    drawn,
    findings,
    headline,
    names,
    palette,
    showcase,
    spending,
)
from minadv.report.bench.panels import Panel
from minadv.report.bench.report import Report

PACKAGE = "minadv.report.bench"


def render(report: Report, curves: Sequence[Panel]) -> str:
    """Return the page. Every name in it is escaped; markup is let through only where it is our own."""
    stored, lines = report.stored, report.lines
    progress = convergence.of(stored, report.groups, report.styles, report.rows)
    points = {group.slug: spending.panel(group, lines, report.styles) for group in report.groups}
    galleries = showcase.of(stored, report.rows, report.cells, report.groups)
    panels = [*curves, *progress, *(panel for panel in points.values() if panel is not None)]
    return pages.template("page.html", PACKAGE).render(
        style=pages.asset("page.css") + pages.asset("page.css", PACKAGE),
        colours={"light": palette.LIGHT, "dark": palette.DARK},
        plotly=Markup(get_plotlyjs()),  # noqa: S704 (has no closing tag, see the tests)
        script=pages.asset("page.js", PACKAGE),
        data=embedded(panels),
        title=stored.title,
        lead=headline.lead(report.groups, lines),
        winners=headline.winners(report.groups, lines),
        population=headline.population(report.groups, report.population),
        completeness=headline.completeness(stored, lines),
        findings=findings.of(stored, report.rows, report.groups),
        notes=(*stored.notes, *stored.damaged()),  # pictures and traces have been read by now
        failures=_failures(stored),
        checked=_checked(stored),
        absent=_absent(stored),
        sections=[(*tables, curve) for tables, curve in zip(report.sections, curves, strict=True)],
        galleries=galleries,
        convergence=progress,
        spending=[(group, spending.table(group, lines), points[group.slug]) for group in report.groups],
        steps=report.steps,
        printed_models=drawn.MOST,
        cells=[(entry.cell, lines[entry.number], group) for group in report.groups for entry in group.entries],
        environments=stored.environments,
        format=FORMAT,
        symbol=names.symbol,
    )


def _checked(stored: Stored) -> list[tuple[str, Diagnosis | None]]:
    """Return the suite's models in order, each with the diagnosis of its weights on most samples, if any."""
    most: dict[str, Diagnosis] = {}
    for diagnosis in sorted(stored.diagnoses, key=lambda each: each.samples):
        most[diagnosis.model_hash] = diagnosis
    models = dict.fromkeys((cell.model, cell.model_hash) for cell in stored.cells)
    return [(model, most.get(digest)) for model, digest in models]


def _failures(stored: Stored) -> list[tuple[Failure, list[str], list[int], int]]:
    """Return failures that differ by samples or attacks alone once: the first, whose they are, samples, shards."""
    alike: dict[tuple[str, str], list[Failure]] = {}
    order = {cell.id: place for place, cell in enumerate(stored.cells)}
    for failure in sorted(stored.failures, key=lambda each: (order[each.cell.id], each.samples)):
        alike.setdefault((failure.cell.model, errors.kind(failure.error)), []).append(failure)
    return [
        (
            found[0],
            list(dict.fromkeys(f"{failure.cell.attack} on {failure.cell.model}" for failure in found)),
            sorted({number for failure in found for number in failure.samples}),
            len(found),
        )
        for found in alike.values()
    ]


def _absent(stored: Stored) -> dict[tuple[str, bool], list[str]]:
    """Return why cells could not be computed, and whether that matters not, each with the cells' names."""
    reasons: dict[tuple[str, bool], list[str]] = {}
    for planned in stored.planned:
        if planned.cell is None:
            reason = (planned.unavailable or "", planned.optional)
            reasons.setdefault(reason, []).append(f"{planned.attack} on {planned.model}")
    return reasons


def embedded(panels: Sequence[Panel]) -> Markup:
    """Return JSON that can stand inside a script element, whatever names it holds."""
    text = json.dumps(panels, default=vars, separators=(",", ":"), allow_nan=False)  # ASCII: U+2028 is escaped
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))  # noqa: S704 (escaped)

"""A run folder as one self-contained web page: a pure function of the files in it."""

import shlex
from pathlib import Path

from markupsafe import Markup

from minadv import files, run_folder
from minadv.report import curves, gallery, pages, pictures, summary
from minadv.verification import ROUNDING_SLACK

PAGE = "report.html"


def write(folder: Path) -> Path:
    """Write `report.html` into a run folder and return its path.

    Raises:
        FileNotFoundError, ValueError: for a folder that is not a finished run, or damaged files.
    """
    page = render(run_folder.read(folder))
    with files.in_place(folder / PAGE) as path:
        path.write_text(page, encoding="utf-8")
    return folder / PAGE


def render(run: run_folder.Run) -> str:
    """Return the page. Every name in it is escaped; the only markup let through is our own drawings."""
    template = pages.template("template.html")
    asked, facts = run.configuration, summary.of(run)
    drawings = {
        "curve": curves.robust_accuracy_svg(summary.to_a_change(run), facts.distance, facts.radius),
        "progress": None if run.trace is None else curves.progress_svg(run.trace, facts.distance),
    }
    return template.render(
        style=pages.asset("page.css"),
        asked=asked,
        goal="any other class" if asked.target is None else summary.class_name(asked.classes, asked.target),
        command=shlex.join(asked.command),
        facts=facts,
        notes=(*asked.warnings, *filter(None, (facts.doubt,))),
        others=summary.other_distances(run.results, asked.distance),
        groups=gallery.groups(run),
        pixelated=not pictures.large(run.originals),
        slack=ROUNDING_SLACK,
        **{name: None if svg is None else Markup(svg) for name, svg in drawings.items()},  # noqa: S704 (ours)
    )

"""The figures for print: SVG, PDF and PNG of robust accuracy curves, in the colours of the page."""

import math
import warnings
from collections.abc import Iterable
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.style import context
from matplotlib.ticker import MultipleLocator

from minadv.report.bench import palette, panels
from minadv.report.penalties import STYLE
from minadv.runs import in_place

COLUMNS, WIDTH, TALL = 4, 7.2, 2.05
DASHES = {"solid": "solid", "dot": (0, (1, 1.2)), "dash": (0, (5, 2)), "dashdot": (0, (6, 1.5, 1, 1.5))}
# names in any script fall back on fonts that have their letters
FONTS = {"font.family": ["STIXGeneral", "DejaVu Sans"], "font.size": 8, "svg.fonttype": "path"}
UNDATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


def save(panel: panels.Panel, stem: Path, formats: Iterable[str]) -> None:
    """Write STEM.svg, STEM.pdf, STEM.png: the same bytes every time."""
    with context([STYLE, FONTS]), warnings.catch_warnings():
        # a name with a letter that no font here has is drawn with a box; the page shows it
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = draw(panel)
        for kind in formats:
            with in_place(stem.with_name(f"{stem.name}.{kind}")) as path:
                figure.savefig(path, format=kind, dpi=250, metadata=UNDATED.get(kind))


def draw(panel: panels.Panel) -> Figure:
    """Return a row of plots, one per model (more rows for more than four), with one legend below."""
    across = min(COLUMNS, len(panel.figures))
    down = math.ceil(len(panel.figures) / across)
    width = WIDTH if across > 2 else (3.6, 5.4)[across - 1]
    names = [label.name for label in panel.legend]
    each = 0.42 + 0.062 * max(map(len, names))  # inches that a name takes
    beside = max(1, min(len(names), int(width / each)))
    below = 0.17 * math.ceil(len(names) / beside)
    figure = Figure(figsize=(width, TALL * down + below + 0.1), layout="constrained")
    grid = figure.subplots(down, across, sharey=True, squeeze=False).flat
    for axes, shown in zip(grid, panel.figures, strict=False):
        _plot(axes, panel, shown)
    for axes in list(grid)[len(panel.figures) :]:
        axes.set_visible(False)
    figure.supxlabel(panel.x_title, parse_math=False, fontsize="medium")
    for axes in figure.axes[::across]:
        axes.set_ylabel("Robust accuracy (%)")
    handles = [Line2D([], [], label=label.name, **_look(label)) for label in panel.legend]
    drawn = figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=beside,
        frameon=False,
        handlelength=2.2,
        columnspacing=1.4,
    )
    for text in drawn.get_texts():
        text.set_parse_math(False)
    return figure


def _plot(axes: Axes, panel: panels.Panel, shown: panels.Figure) -> None:
    for trace in shown.traces:
        axes.step(trace.x, trace.y, where="post", **_look(panel.legend[trace.key]))
    axes.set_title(_short(shown.model), parse_math=False, fontsize="medium")
    axes.set_xlim(shown.x_range)
    axes.set_ylim(shown.y_range)
    axes.yaxis.set_major_locator(MultipleLocator(25))
    axes.grid(color="#000", alpha=0.1, linewidth=0.5)


def _look(label: panels.Label) -> dict[str, object]:
    return {"color": palette.LIGHT[label.colour], "linestyle": DASHES[label.dash], "linewidth": 1.1}


def _short(name: str, most: int = 32) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"

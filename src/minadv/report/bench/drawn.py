"""The figures for print: SVG, PDF and PNG of robust accuracy curves, in the colours of the page."""

import math
import re
import warnings
from collections.abc import Iterable
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.style import context
from matplotlib.ticker import MultipleLocator

from minadv.files import in_place
from minadv.report.bench import names, palette, panels
from minadv.report.penalties import STYLE

COLUMNS, WIDTHS = 4, (3.5, 5.6, 7.2, 7.2)
TALL, LEFT, RIGHT, OVER, UNDER, APART, BETWEEN, LEGEND = 1.45, 0.5, 0.14, 0.25, 0.48, 0.26, 0.5, 0.165  # inches
MOST = 12  # models of a figure
LONGEST = 48  # letters of a name in the legend
DASHES = {"solid": "solid", "dot": (0, (1, 1.2)), "dash": (0, (5, 2)), "dashdot": (0, (6, 1.5, 1, 1.5))}
# names in any script fall back on fonts that have their letters
FONTS = {"font.family": ["STIXGeneral", "DejaVu Sans"], "font.size": 8, "svg.fonttype": "path"}
UNDATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


def save(panel: panels.Panel, stem: Path, formats: Iterable[str]) -> None:
    """Write STEM.svg, STEM.pdf, STEM.png: the same bytes every time; nothing for a panel without curves."""
    if not panel.figures:
        return
    with context([STYLE, FONTS]), warnings.catch_warnings():
        # a name with a letter that no font here has is drawn with a box; the page shows it
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = draw(panel)
        for kind in formats:
            with in_place(stem.with_name(f"{stem.name}.{kind}")) as path:
                figure.savefig(path, format=kind, dpi=250, metadata=UNDATED.get(kind))


def draw(panel: panels.Panel) -> Figure:
    """Return a row of plots, one per model (more rows for more than four), with one legend below.

    More than `MOST` models would fill no page: the first ones are drawn.
    """
    shown = panel.figures[:MOST]
    across = min(COLUMNS, len(shown))
    down = math.ceil(len(shown) / across)
    width = WIDTHS[across - 1]
    lengths = [min(LONGEST, len(label.name)) for label in panel.legend]
    beside = max(1, min(len(lengths), int(width / (0.5 + 0.062 * max(lengths)))))
    below = UNDER + LEGEND * math.ceil(len(lengths) / beside)
    height = OVER + down * TALL + (down - 1) * BETWEEN + below
    figure = Figure(figsize=(width, height))
    # in inches, since working out the layout of fifty plots takes longer than drawing them
    across_gap = APART / ((width - LEFT - RIGHT - (across - 1) * APART) / across)
    figure.subplots_adjust(
        LEFT / width, below / height, 1 - RIGHT / width, 1 - OVER / height, across_gap, BETWEEN / TALL
    )
    grid = list(figure.subplots(down, across, squeeze=False).flat)
    for place, axes in enumerate(grid):
        if place >= len(shown):
            axes.set_visible(False)
            continue
        _plot(axes, panel, shown[place])
        if place + across >= len(shown):
            axes.set_xlabel(mathtext(panel.x_title), labelpad=2)
        if place % across:
            axes.tick_params(labelleft=False)
        else:
            axes.set_ylabel(panel.y_title.capitalize())
    handles = [_styled(Line2D([], [], label=_short(label.name, LONGEST)), label) for label in panel.legend]
    handles = [handle for column in range(beside) for handle in handles[column::beside]]  # read row by row
    figure.legend(
        handles=handles,
        loc="lower center",
        ncols=beside,
        frameon=False,
        handlelength=2.2,
        columnspacing=1.4,
        borderaxespad=0.2,
    )
    return figure


def _plot(axes: Axes, panel: panels.Panel, shown: panels.Figure) -> None:
    for trace in shown.traces:
        for line in axes.step(trace.x, trace.y, where="post"):
            _styled(line, panel.legend[trace.key])
    axes.set_title(_short(shown.model), fontsize="medium")
    axes.set_xlim(shown.x_range)
    axes.set_ylim(shown.y_range)
    axes.yaxis.set_major_locator(MultipleLocator(25))
    axes.grid(color="#000", alpha=0.1, linewidth=0.5)


def _styled(line: Line2D, label: panels.Label) -> Line2D:
    line.set(color=palette.LIGHT[label.colour], linestyle=DASHES[label.dash], linewidth=1.1)
    return line


def _short(name: str, most: int = 32) -> str:
    name = " ".join(name.split())
    return mathtext(name if len(name) <= most else f"{name[: most - 1]}…")


def mathtext(text: str) -> str:
    """Return text that matplotlib prints as it is, but for ℓ2 and 10⁻⁴, which it prints as formulas."""
    text = re.sub(r"ℓ(\d|∞)", r"$\\ell_{\1}$", text.replace("$", r"\$"))
    return re.sub(f"10([{names.POWERS}]+)", lambda match: f"$10^{{{names.plain(match[1])}}}$", text)

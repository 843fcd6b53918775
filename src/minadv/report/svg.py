"""Drawings that take their colours and font from the page around them."""

import io
import re
from collections.abc import Generator
from contextlib import contextmanager

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context

INK, ACCENT = "#010203", "#010204"  # stand for the page's colours, which differ between light and dark


@contextmanager
def quiet_style() -> Generator[None]:
    """Text as text, the same bytes every time, no frame."""
    style = {
        "svg.fonttype": "none",
        "svg.hashsalt": "minadv",
        "font.size": 9,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "text.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.7,
    }
    with context(style):
        yield


def axes(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    """Return an empty drawing that is legible at the width of a phone."""
    figure = Figure(figsize=(5, 2.9), layout="constrained")
    drawn = figure.add_subplot()
    drawn.set_xlabel(x_label, parse_math=False)
    drawn.set_ylabel(y_label, parse_math=False)
    drawn.grid(alpha=0.15, color=INK, linewidth=0.6)
    return figure, drawn


def inline(figure: Figure, name: str) -> str:
    """Return a drawing as SVG to be put into a page; `name` keeps its ids apart from other drawings'."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", svg)  # the page's font
    return svg.replace(INK, "currentColor").replace(ACCENT, "var(--accent)")

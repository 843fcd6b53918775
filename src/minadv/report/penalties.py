"""Figure 1 of the ALMA paper: the four penalty functions of a constraint y."""

from pathlib import Path

import torch
from matplotlib.figure import Figure
from matplotlib.style import context

from minadv import penalties
from minadv.files import in_place

FORMATS = (".svg", ".pdf", ".png")
PARAMETERS = ((1.0, 1.0), (4.0, 1.0), (1.0, 2.0))  # (ρ, μ)
COLOURS = {
    "PHR": "#555555",
    "P1": "#d55e00",
    "P2": "#0a5fb4",
    "P3": "#009e73",
}  # told apart by the colour-blind too
DASHES = {"PHR": (4, 2), "P1": (1, 1.2), "P2": (), "P3": (6, 1.5, 1, 1.5)}
WIDTHS = {
    "PHR": 1.3,
    "P1": 1.3,
    "P2": 2.2,
    "P3": 1.3,
}  # P2 and P3 are the same below 0: one shows under the other
STYLE = {
    "font.size": 9,
    "mathtext.fontset": "stix",
    "font.family": "STIXGeneral",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "svg.hashsalt": "minadv",
}


def draw() -> Figure:
    """Return the four penalties for several (ρ, μ), side by side."""
    figure = Figure(figsize=(7.2, 2.5), layout="constrained")
    y = torch.linspace(-3, 1.5, 901, dtype=torch.float64)
    for axes, (rho, mu) in zip(figure.subplots(1, len(PARAMETERS), sharey=True), PARAMETERS, strict=True):
        axes.axhline(0, color="#000", linewidth=0.5, alpha=0.4)
        axes.axvline(0, color="#000", linewidth=0.5, alpha=0.4)
        for name, penalty in penalties.ALL.items():
            label = "PHR" if name == "PHR" else f"$P_{name[1:]}$"
            axes.plot(
                y,
                penalty(y, rho, mu),
                color=COLOURS[name],
                dashes=DASHES[name],
                linewidth=WIDTHS[name],
                label=label,
            )
        axes.set(title=rf"$\rho = {rho:g},\ \mu = {mu:g}$", xlabel="$y$", xlim=(-3, 1.5), ylim=(-2.5, 6))
    figure.axes[0].set_ylabel(r"$P(y, \rho, \mu)$")
    figure.axes[0].legend(frameon=False, loc="upper left", handlelength=2.6)
    return figure


def save(path: Path) -> None:
    """Write the figure; the ending of the path chooses the format.

    Raises:
        ValueError: for an ending that is not SVG, PDF or PNG.
    """
    kind = path.suffix.lower()
    if kind not in FORMATS:
        raise ValueError(f"--out {path} ends in {kind or 'nothing'}: choose one of {', '.join(FORMATS)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    dated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    with context(STYLE), in_place(path) as temporary:
        draw().savefig(temporary, format=kind[1:], dpi=300, metadata=dated.get(kind))

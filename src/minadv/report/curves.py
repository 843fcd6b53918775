"""Robust accuracy against distance, and best distance against propagations."""

import math

import numpy as np
import torch
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from minadv.metrics import Numbers, robust_accuracy
from minadv.report import svg
from minadv.result import Trace

NARROW = 10  # of a smaller range, 1, 2 and 5 times powers of ten are too few to read


def drawn(distances: Numbers, radius: float | None = None) -> tuple[Numbers, Numbers]:
    """Return the corners of the robust accuracy curve, up to the radius of the only ball searched, if one was."""
    at, robust = robust_accuracy(distances)
    # a little beyond the last step, so that its level is seen
    end = at[-1] * 1.05 or 1.0 if radius is None else max(at[-1], radius)
    return np.append(at, end), np.append(robust, robust[-1])


def robust_accuracy_svg(distances: Numbers, name: str, radius: float | None = None) -> str:
    """Draw the robust accuracy curve: see `drawn`."""
    at, robust = drawn(distances, radius)
    with svg.quiet_style():
        figure, axes = svg.axes(f"{name} distance ε", "robust accuracy (%)")
        axes.fill_between(at, 100 * robust, step="post", color=svg.ACCENT, alpha=0.12, linewidth=0)
        axes.step(at, 100 * robust, where="post", color=svg.ACCENT, linewidth=1.5)
        axes.set_xlim(0, at[-1])
        axes.set_ylim(0, 102)
        return svg.inline(figure, "curve")


def progress(trace: Trace) -> tuple[Numbers, Numbers]:
    """Return propagations, and the median of what each sample's best distance was after as many of its own.

    It is inf before half of the samples are found. Samples that leave the batch spend less than others in a row.
    """
    spent, best = trace.propagations.T.contiguous(), trace.distances.double().T
    at = np.unique(spent.numpy())
    row = torch.searchsorted(spent, torch.from_numpy(at).expand(len(spent), -1).contiguous(), right=True) - 1
    so_far = torch.where(row < 0, torch.inf, best.gather(1, row.clamp_min(0)))
    return at.astype(np.float64), so_far.median(dim=0).values.numpy()


def progress_svg(trace: Trace, name: str) -> str | None:
    """Draw the median best distance against propagations; None when half of the samples were never found."""
    spent, median = progress(trace)
    if not math.isfinite(median[-1]) or median[-1] <= 0:
        return None
    with svg.quiet_style():
        figure, axes = svg.axes("propagations per sample", f"median {name} so far")
        axes.step(spent, median, where="post", color=svg.ACCENT, linewidth=1.5)
        axes.set_yscale("log")
        seen = median[np.isfinite(median)]
        narrow = seen.max() < NARROW * seen.min()
        axes.yaxis.set_major_locator(MaxNLocator(5) if narrow else LogLocator(subs=(1, 2, 5)))
        # ticks close to each other have the digits that tell them apart
        axes.yaxis.set_major_formatter(ScalarFormatter(useOffset=False) if narrow else FormatStrFormatter("%g"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(0, spent[-1])
        return svg.inline(figure, "progress")

"""CIEDE2000 image distance: the ℓ2 norm over pixels of the colour difference ΔE₀₀."""

from dataclasses import dataclass

import torch
from torch import Tensor

from minadv.distances.base import differentiable
from minadv.distances.checks import check_pair, need_images
from minadv.distances.colour import D65, PAPER, LabSpace, Map, lab, lab_and_pullback
from minadv.distances.delta_e import Reference, squared_ciede2000
from minadv.distances.portions import Rows, by_parts, few
from minadv.shapes import Batch, PerSample, per_sample

# Some thirty maps are alive while a part is differentiated. Twice as many pixels at a time are a tenth faster, but
# Auto, which holds more than others meanwhile, would take 18 batches' memory. Threads share the pixels of a part.
ENTRIES_PER_THREAD = 3 * 2**15


@dataclass(frozen=True)
class CIEDE2000:
    """√(Σ_pixels ΔE₀₀²) of sRGB images (batch, 3, height, width) in [0, 1].

    Args:
        scale: "correct" agrees with skimage; "paper" is the mis-scaled Lab (white point × 100) of the ALMA
            paper, needed to compare with its tables. No constant factor relates the two.

    Raises:
        ValueError: for another scale.
    """

    scale: str = "correct"

    def __post_init__(self) -> None:
        if self.scale not in ("correct", "paper"):
            raise ValueError(f"scale must be 'correct' or 'paper', got {self.scale!r}")

    @property
    def name(self) -> str:
        """Return ciede2000, marked when it is on the paper's scale."""
        return "ciede2000" if self.scale == "correct" else "ciede2000[paper]"

    def __call__(self, x: Batch, x0: Batch) -> PerSample:
        """√(Σ ΔE₀₀²) for each row."""
        check_pair(self.name, x, x0, unit=True, anchored=True)
        return self.anchored(x0)(x)

    def anchored(self, x0: Batch) -> "AnchoredCIEDE2000":
        """Return the distance to `x0`, whose Lab values are computed once.

        Raises:
            ValueError: unless `x0` has three channels.
        """
        need_images(self.name, x0, channels=3)
        return AnchoredCIEDE2000(self._space, Reference.of(lab(x0, self._space)))

    def map(self, x: Batch, x0: Batch) -> Map:
        """ΔE₀₀ of each pixel, (batch, height, width), without a graph."""
        need_images(self.name, x0, channels=3)
        with torch.no_grad():
            return squared_ciede2000(Reference.of(lab(x0, self._space)), lab(x, self._space))[0].sqrt_()

    @property
    def _space(self) -> LabSpace:
        return D65 if self.scale == "correct" else PAPER


@dataclass(frozen=True, eq=False)
class AnchoredCIEDE2000:
    """√(Σ ΔE₀₀²) to fixed originals."""

    space: LabSpace
    reference: Reference

    def __call__(self, x: Batch) -> PerSample:
        """Distance of each row of `x` to its original."""
        return differentiable(self, x)

    def value(self, x: Batch) -> PerSample:
        """Distances, without a graph."""

        def measure(x: Batch, rows: Rows) -> tuple[PerSample, Batch]:
            squared, nothing = squared_ciede2000(self.reference.select(rows), lab(x, self.space), gradient=False)
            return squared.flatten(1).sum(dim=1).sqrt(), nothing

        with torch.no_grad():
            return by_parts(measure, x, few(x, ENTRIES_PER_THREAD * torch.get_num_threads()))[0]

    def value_and_gradient(self, x: Batch) -> tuple[PerSample, Batch]:
        """Return the distances and their gradients in closed form, 0 where there is none."""
        return by_parts(self._differentiate, x.detach(), few(x, ENTRIES_PER_THREAD * torch.get_num_threads()))

    def select(self, rows: Tensor) -> "AnchoredCIEDE2000":
        """Return the distance to the originals of the given rows."""
        return AnchoredCIEDE2000(self.space, self.reference.select(rows))

    def _differentiate(self, x: Batch, rows: Rows) -> tuple[PerSample, Batch]:
        colours, pullback = lab_and_pullback(x, self.space)
        squared, slope = squared_ciede2000(self.reference.select(rows), colours)
        value = squared.flatten(1).sum(dim=1).sqrt()
        per_value = torch.where(value > 0, 1 / value, 0.0)
        return value, pullback(slope).mul_(per_sample(per_value, x))

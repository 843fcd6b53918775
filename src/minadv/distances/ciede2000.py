"""CIEDE2000 image distance: the ℓ2 norm over pixels of the colour difference ΔE₀₀."""

from dataclasses import dataclass

from minadv.distances.base import Batch, ByAutograd, PerSample, Rows, check_pair, few, need_images, safe_sqrt
from minadv.distances.colour import D65, PAPER, Map, lab, squared_ciede2000

# Some eighty maps are alive while one batch of pixels is differentiated.
PIXELS_AT_A_TIME = 2**15


@dataclass(frozen=True)
class CIEDE2000:
    """√(Σ_pixels ΔE₀₀²) of sRGB images (batch, 3, height, width) in [0, 1].

    Args:
        scale: "correct" agrees with skimage; "paper" is the mis-scaled Lab (white point × 100) of the ALMA
            paper, needed to compare with its tables. No constant factor relates the two.
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
        check_pair(self.name, x, x0)
        return self.anchored(x0)(x)

    def anchored(self, x0: Batch) -> ByAutograd:
        """Return the distance to `x0`, whose Lab values are computed once.

        Raises:
            ValueError: unless `x0` has three channels.
        """
        need_images(self.name, x0, channels=3)
        space = D65 if self.scale == "correct" else PAPER
        original = lab(x0, space)

        def value(x: Batch, rows: Rows) -> PerSample:
            return safe_sqrt(squared_ciede2000(original[rows], lab(x, space)).flatten(1).sum(dim=1))

        return ByAutograd(value, at_a_time=few(x0, PIXELS_AT_A_TIME))

    def map(self, x: Batch, x0: Batch) -> Map:
        """ΔE₀₀ of each pixel, (batch, height, width)."""
        need_images(self.name, x0, channels=3)
        space = D65 if self.scale == "correct" else PAPER
        return safe_sqrt(squared_ciede2000(lab(x0, space), lab(x, space)))

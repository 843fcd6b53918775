"""1 − SSIM with an 11×11 Gaussian window (Wang et al. 2004), mean over positions and channels.

Agrees with `skimage.metrics.structural_similarity(gaussian_weights=True, sigma=1.5,
use_sample_covariance=False, data_range=1)`, which crops the same border of 5 pixels.

SSIM is computed as 1 − SSIM from the difference d = x − x0, never by subtraction from 1. With the local
means a = g∗x0 and e = g∗d, the local variances A of x0 and V of d, and the covariance C of x0 and d:

    luminance  l = p/(p + e²),  p = 2a(a + e) + c₁        (p + e² = a² + b² + c₁, b = a + e)
    contrast   k = q/(q + V),   q = 2(A + C) + c₂         (q + V  = A + B + c₂)
    1 − SSIM = 1 − l·k = (pV + e²q + e²V) / ((p + e²)(q + V))

so that values of 1e-8 keep their digits in float32.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from minadv.distances.base import Batch, PerSample, check_pair, need_images

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2


@dataclass(frozen=True)
class SSIM:
    """1 − SSIM of images (batch, channels, height, width) in [0, 1]; grey or colour."""

    @property
    def name(self) -> str:
        """Return ssim (the reported value is 1 − SSIM)."""
        return "ssim"

    def __call__(self, x: Batch, x0: Batch) -> PerSample:
        """1 − SSIM for each row."""
        check_pair(self.name, x, x0)
        return self.anchored(x0)(x)

    def anchored(self, x0: Batch) -> "AnchoredSSIM":
        """Return the distance to `x0`, whose local means and variances are computed once.

        Raises:
            ValueError: for images with a side below 11 pixels, the window's size.
        """
        need_images(self.name, x0)
        height, width = x0.shape[-2:]
        if min(height, width) < WINDOW:
            raise ValueError(
                f"ssim needs images of at least {WINDOW}×{WINDOW} pixels (its Gaussian window), "
                f"got {height}×{width}: enlarge the images or use another distance"
            )
        rows, columns = (gaussian_band(side, like=x0) for side in (height, width))
        blur = Blur(rows, columns)
        mean = blur(x0)
        return AnchoredSSIM(x0, blur, mean, blur(x0.square()) - mean.square())


@dataclass(frozen=True, eq=False)
class Blur:
    """Separable Gaussian filter over the valid region, as two small matrix products."""

    rows: Tensor
    columns: Tensor

    def __call__(self, image: Tensor) -> Tensor:
        """(…, H, W) → (…, H − 10, W − 10)."""
        return self.rows @ image @ self.columns.mT

    def adjoint(self, image: Tensor) -> Tensor:
        """(…, H − 10, W − 10) → (…, H, W), the transpose."""
        return self.rows.mT @ image @ self.columns


@dataclass(frozen=True, eq=False)
class AnchoredSSIM:
    """1 − SSIM to fixed originals with local means `a` and variances `A`."""

    x0: Tensor
    blur: Blur
    a: Tensor
    A: Tensor

    def __call__(self, x: Batch) -> PerSample:
        """1 − SSIM for each row."""
        e, V, p, q = self._moments(x - self.x0)
        return self._loss(e, V, p, q)

    def value_and_gradient(self, x: Batch) -> tuple[PerSample, Batch]:
        """Return 1 − SSIM and its gradient in closed form."""
        d = x.detach() - self.x0
        e, V, p, q = self._moments(d)
        luminance, contrast = p + e.square(), q + V
        by_luminance = (q / contrast) / luminance.square()  # −∂(1 − lk)/∂l, over (p + e²)²
        by_contrast = (p / luminance) / contrast.square()
        # derivatives by the blurred d, d² and x0·d, then back through the blur's adjoint
        to_e = 2 * by_luminance * e * (p - self.a * e) + 2 * by_contrast * (self.a * V - e * q)
        gradient = self.blur.adjoint(to_e)
        gradient.addcmul_(d, self.blur.adjoint(by_contrast * q), value=2)
        gradient.addcmul_(self.x0, self.blur.adjoint(by_contrast * V), value=-2)
        positions = math.prod(e.shape[1:])
        return self._loss(e, V, p, q), gradient.div_(positions)

    def select(self, rows: Tensor) -> "AnchoredSSIM":
        """Return the distance to the originals of the given rows."""
        return AnchoredSSIM(self.x0[rows], self.blur, self.a[rows], self.A[rows])

    def _moments(self, d: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        e = self.blur(d)
        V = self.blur(d.square()) - e.square()
        C = self.blur(self.x0 * d) - self.a * e
        return e, V, 2 * self.a * (self.a + e) + C1, 2 * (self.A + C) + C2

    @staticmethod
    def _loss(e: Tensor, V: Tensor, p: Tensor, q: Tensor) -> Tensor:
        u = e.square()
        return ((p * V + u * (q + V)) / ((p + u) * (q + V))).flatten(1).mean(dim=1)


def gaussian_band(side: int, like: Tensor) -> Tensor:
    """(side − 10, side) matrix whose rows are the normalised window at each valid position."""
    offsets = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    window = torch.exp(-offsets.square() / (2 * SIGMA**2))
    window = window / window.sum()
    band = torch.zeros(side - WINDOW + 1, side, dtype=torch.float64)
    for row in range(band.shape[0]):
        band[row, row : row + WINDOW] = window
    return band.to(device=like.device, dtype=like.dtype)

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
from torch.nn.functional import pad

from minadv.distances.checks import check_pair, need_images
from minadv.shapes import Batch, PerSample

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2
# Sides above this are filtered by shifted sums.
LARGEST_BAND = 64


@dataclass(frozen=True)
class SSIM:
    """1 − SSIM of images (batch, channels, height, width) in [0, 1]; grey or colour."""

    @property
    def name(self) -> str:
        """Return ssim (the reported value is 1 − SSIM)."""
        return "ssim"

    def __call__(self, x: Batch, x0: Batch) -> PerSample:
        """1 − SSIM for each row."""
        check_pair(self.name, x, x0, unit=True)
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
        blur = Blur.of(x0)
        mean = blur(x0)
        variance = blur(x0.square()).addcmul_(mean, mean, value=-1)
        return AnchoredSSIM(x0, blur, mean, 2 * mean.square() + C1, 2 * variance + C2)


@dataclass(frozen=True, eq=False)
class Blur:
    """Separable Gaussian filter over the valid region, along columns and rows.

    Small images: a product with a band matrix from either side. On large ones most of such a matrix is 0, and a
    sum of shifted images is faster.
    """

    window: tuple[float, ...]
    bands: tuple[Tensor, Tensor] | None

    @classmethod
    def of(cls, x0: Batch) -> "Blur":
        """Return the filter for images like `x0`."""
        window = gaussian_window()
        small = max(x0.shape[-2:]) <= LARGEST_BAND
        rows, columns = (band(window, side).to(x0) for side in x0.shape[-2:]) if small else (None, None)
        weights = tuple(float(weight) for weight in window)
        return cls(weights, None if rows is None or columns is None else (rows, columns))

    def __call__(self, image: Tensor) -> Tensor:
        """(…, H, W) → (…, H − 10, W − 10)."""
        if self.bands is not None:
            rows, columns = self.bands
            return rows @ image @ columns.mT
        return self._shifted(self._shifted(image, axis=-1), axis=-2)

    def adjoint(self, image: Tensor) -> Tensor:
        """(…, H − 10, W − 10) → (…, H, W), the transpose."""
        if self.bands is not None:
            rows, columns = self.bands
            return rows.mT @ image @ columns
        return self(pad(image, [WINDOW - 1] * 4))  # the window is symmetric

    def squared(self) -> "Blur":
        """Return the filter whose weights are the squares of this one's."""
        bands = None if self.bands is None else (self.bands[0].square(), self.bands[1].square())
        return Blur(tuple(weight**2 for weight in self.window), bands)

    def _shifted(self, image: Tensor, axis: int) -> Tensor:
        valid = image.shape[axis] - WINDOW + 1
        blurred = image.narrow(axis, 0, valid) * self.window[0]
        for shift, weight in enumerate(self.window[1:], start=1):
            blurred.add_(image.narrow(axis, shift, valid), alpha=weight)
        return blurred


@dataclass(frozen=True, eq=False)
class AnchoredSSIM:
    """1 − SSIM to fixed originals, of which are known the local means `a`, 2a² + c₁ and 2A + c₂."""

    x0: Tensor
    blur: Blur
    a: Tensor
    p0: Tensor
    q0: Tensor

    def __call__(self, x: Batch) -> PerSample:
        """1 − SSIM for each row."""
        e, V, p, q = self._moments(x - self.x0)
        u = e.square()
        return ((p * V + u * (q + V)) / ((p + u) * (q + V))).flatten(1).mean(dim=1)

    def value_and_gradient(self, x: Batch) -> tuple[PerSample, Batch]:
        """Return 1 − SSIM and its gradient in closed form."""
        d = x.detach() - self.x0
        e, V, p, q = self._moments(d)
        u = e.square()
        luminance, contrast = p + u, q + V
        per_both = (luminance * contrast).reciprocal_()
        value = (p * V).addcmul_(u, contrast).mul_(per_both).flatten(1).mean(dim=1)
        # −∂(1 − lk)/∂l, over (p + e²)², and likewise by contrast; twice, and a share of the mean
        scale = per_both.square_().mul_(2 / math.prod(e.shape[1:]))
        by_luminance, by_contrast = contrast.mul_(q).mul_(scale), luminance.mul_(p).mul_(scale)
        # derivatives by the blurred d, d² and x0·d, then back through the blur's adjoint
        to_e = p.addcmul_(self.a, e, value=-1).mul_(e).mul_(by_luminance)
        to_e.addcmul_((self.a * V).addcmul_(e, q, value=-1), by_contrast)
        gradient = self.blur.adjoint(to_e)
        gradient.addcmul_(d, self.blur.adjoint(q.mul_(by_contrast)))
        gradient.addcmul_(self.x0, self.blur.adjoint(V.mul_(by_contrast)), value=-1)
        return value, gradient

    def curvature(self) -> Batch:
        """Diagonal of the Hessian at the originals, where 1 − SSIM is V/q + e²/p, or (g∗d² − e²)/q + e²/p."""
        scale = 2 / math.prod(self.a.shape[1:])
        by_square, squared = self.q0.reciprocal(), self.blur.squared()
        return (self.blur.adjoint(by_square) + squared.adjoint(self.p0.reciprocal() - by_square)).mul_(scale)

    def select(self, rows: Tensor) -> "AnchoredSSIM":
        """Return the distance to the originals of the given rows."""
        return AnchoredSSIM(self.x0[rows], self.blur, self.a[rows], self.p0[rows], self.q0[rows])

    def _moments(self, d: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        e = self.blur(d)
        V = torch.addcmul(self.blur(d.square()), e, e, value=-1)
        p = torch.addcmul(self.p0, self.a, e, value=2)
        q = torch.add(self.q0, self.blur(self.x0 * d), alpha=2).addcmul(self.a, e, value=-2)
        return e, V, p, q


def gaussian_window() -> Tensor:
    """(11,) weights of the window, float64, with sum 1."""
    offsets = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    window = torch.exp(-offsets.square() / (2 * SIGMA**2))
    return window / window.sum()


def band(window: Tensor, side: int) -> Tensor:
    """(side − 10, side) matrix whose rows are the window at each valid position."""
    rows = torch.zeros(side - WINDOW + 1, side, dtype=window.dtype)
    for row in range(len(rows)):
        rows[row, row : row + WINDOW] = window
    return rows

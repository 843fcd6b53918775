import numpy as np
import pytest
import torch
from skimage import color
from torch import Tensor

from minadv import distances
from minadv.distances import colour, delta_e
from tests.networks import images
from tests.shared import SHARED, needs_shared

# Sharma, Wu, Dalal, "The CIEDE2000 Color-Difference Formula" (2005), table 1: L1 a1 b1 L2 a2 b2 ΔE00
SHARMA = """
50 2.6772 -79.7751 50 0 -82.7485 2.0425
50 3.1571 -77.2803 50 0 -82.7485 2.8615
50 2.8361 -74.02 50 0 -82.7485 3.4412
50 -1.3802 -84.2814 50 0 -82.7485 1
50 -1.1848 -84.8006 50 0 -82.7485 1
50 -0.9009 -85.5211 50 0 -82.7485 1
50 0 0 50 -1 2 2.3669
50 -1 2 50 0 0 2.3669
50 2.49 -0.001 50 -2.49 0.0009 7.1792
50 2.49 -0.001 50 -2.49 0.001 7.1792
50 2.49 -0.001 50 -2.49 0.0011 7.2195
50 2.49 -0.001 50 -2.49 0.0012 7.2195
50 -0.001 2.49 50 0.0009 -2.49 4.8045
50 -0.001 2.49 50 0.001 -2.49 4.8045
50 -0.001 2.49 50 0.0011 -2.49 4.7461
50 2.5 0 50 0 -2.5 4.3065
50 2.5 0 73 25 -18 27.1492
50 2.5 0 61 -5 29 22.8977
50 2.5 0 56 -27 -3 31.903
50 2.5 0 58 24 15 19.4535
50 2.5 0 50 3.1736 0.5854 1
50 2.5 0 50 3.2972 0 1
50 2.5 0 50 1.8634 0.5757 1
50 2.5 0 50 3.2592 0.335 1
60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.263
61.2901 3.7196 -5.3901 61.4292 2.248 -4.962 1.8731
35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
22.7233 20.0904 -46.694 23.0331 14.973 -42.5619 2.0373
36.4612 47.858 18.3852 36.2715 50.5065 21.2231 1.4146
90.8027 -2.0831 1.441 91.1528 -1.6435 0.0447 1.4441
90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377
2.0776 0.0795 -1.135 0.9033 -0.0636 -0.5514 0.9082
"""


def by_skimage(x: Tensor, x0: Tensor) -> np.ndarray:
    labs = [color.rgb2lab(image.permute(0, 2, 3, 1).double().numpy()) for image in (x0, x)]
    return color.deltaE_ciede2000(*labs)


def check_against_skimage(x: Tensor, x0: Tensor) -> None:
    ciede2000 = distances.CIEDE2000()
    expected = by_skimage(x, x0)
    np.testing.assert_allclose(ciede2000.map(x.double(), x0.double()).numpy(), expected, atol=1e-9)
    np.testing.assert_allclose(ciede2000.map(x.float(), x0.float()).numpy(), expected, atol=1e-3)
    whole = np.sqrt((expected**2).sum(axis=(1, 2)))
    np.testing.assert_allclose(ciede2000(x.double(), x0.double()).numpy(), whole, rtol=1e-9)
    np.testing.assert_allclose(ciede2000(x.float(), x0.float()).numpy(), whole, rtol=1e-4, atol=1e-3)


def test_sharmas_table() -> None:
    rows = torch.tensor(
        [[float(n) for n in line.split()] for line in SHARMA.split("\n") if line], dtype=torch.float64
    )
    assert rows.shape == (34, 7)
    first, second = rows[:, :3, None, None], rows[:, 3:6, None, None]
    for a, b in ((first, second), (second, first)):
        squared, _ = delta_e.squared_ciede2000(delta_e.Reference.of(a), b)
        np.testing.assert_allclose(squared.sqrt().flatten(), rows[:, 6], atol=5e-5)


def test_agrees_with_skimage_on_random_pixels() -> None:
    x0 = images(4, side=64, dtype=torch.float64)
    check_against_skimage(images(4, side=64, seed=9, dtype=torch.float64), x0)
    check_against_skimage((x0 + 0.02 * (images(4, side=64, seed=9, dtype=torch.float64) - 0.5)).clamp(0, 1), x0)


def test_agrees_with_skimage_at_grey_black_and_white() -> None:
    levels = torch.linspace(0, 1, 16, dtype=torch.float64)[None, None, None, :].expand(1, 3, 16, 16)
    for x, x0 in ((levels, levels.flip(3)), (images(1, dtype=torch.float64), levels), (levels, levels)):
        np.testing.assert_allclose(distances.CIEDE2000().map(x, x0).numpy(), by_skimage(x, x0), atol=1e-9)


@needs_shared
def test_agrees_with_skimage_on_photographs() -> None:
    photographs = np.load(SHARED / "imagenet_like_16.npz")["images"][:4]
    x0 = torch.from_numpy(photographs).permute(0, 3, 1, 2).double() / 255
    check_against_skimage(x0.flip(0), x0)
    noise = torch.randn(x0.shape, dtype=x0.dtype, generator=torch.Generator().manual_seed(0))
    check_against_skimage((x0 + 0.01 * noise).clamp(0, 1), x0)


def test_lab_agrees_with_skimage() -> None:
    x = images(2, dtype=torch.float64)
    expected = color.rgb2lab(x.permute(0, 2, 3, 1).numpy())
    np.testing.assert_allclose(colour.lab(x).permute(0, 2, 3, 1).numpy(), expected, atol=1e-9)


def test_the_papers_scale() -> None:
    """White is L* = 8.99 and mid-grey 1.93 there (attacks.md, 19.3); distances are several times smaller."""
    level = torch.tensor([1.0, 0.5], dtype=torch.float64)[:, None, None, None].expand(2, 3, 1, 1)
    lightness = colour.lab(level, colour.PAPER)[:, 0].flatten()
    assert lightness.tolist() == pytest.approx([8.99, 1.93], abs=0.01)
    x0 = images(8, side=32, dtype=torch.float64)
    x = (x0 + 0.01 * (images(8, side=32, seed=5, dtype=torch.float64) - 0.5)).clamp(0, 1)
    ratio = distances.get("ciede2000")(x, x0) / distances.get("ciede2000", scale="paper")(x, x0)
    assert ((ratio > 4) & (ratio < 5)).all()
    assert distances.get("ciede2000", scale="paper").name == "ciede2000[paper]"


def with_angles(x: Tensor, x0: Tensor, scale: str) -> Tensor:
    """√Σ ΔE₀₀² with hues as angles, as the formula is usually written; for colours that are not grey."""
    space = colour.D65 if scale == "correct" else colour.PAPER

    def lab(rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
        matrix = torch.tensor(space.xyz_from_rgb, dtype=rgb.dtype)
        t = (
            torch.einsum("ij,bjhw->bihw", matrix, linear)
            / torch.tensor(space.white, dtype=rgb.dtype)[:, None, None]
        )
        f = torch.where(t > space.threshold, t ** (1 / 3), space.slope * t + 16 / 116)
        return 116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])

    def seventh(chroma: Tensor) -> Tensor:
        return (chroma**7 / (chroma**7 + 25.0**7)).sqrt()

    (L1, a1, b1), (L2, a2, b2) = lab(x0), lab(x)
    stretch = 1 + 0.5 * (1 - seventh((torch.hypot(a1, b1) + torch.hypot(a2, b2)) / 2))
    C1, C2 = torch.hypot(stretch * a1, b1), torch.hypot(stretch * a2, b2)
    h1, h2 = (torch.atan2(b, stretch * a).rad2deg() % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = torch.where((h2 - h1).abs() <= 180, 0.0, torch.where(h2 > h1, -360.0, 360.0))
    dH = 2 * (C1 * C2).sqrt() * torch.sin(torch.deg2rad(h2 - h1 + turn) / 2)
    around = torch.where(h1 + h2 < 360, 360.0, -360.0)
    hue = (h1 + h2 + torch.where((h2 - h1).abs() <= 180, 0.0, around)) / 2
    T = 1 - 0.17 * torch.cos(torch.deg2rad(hue - 30)) + 0.24 * torch.cos(torch.deg2rad(2 * hue))
    T = T + 0.32 * torch.cos(torch.deg2rad(3 * hue + 6)) - 0.2 * torch.cos(torch.deg2rad(4 * hue - 63))
    L, C = (L1 + L2) / 2, (C1 + C2) / 2
    lightness = (L2 - L1) / (1 + 0.015 * (L - 50) ** 2 / (20 + (L - 50) ** 2).sqrt())
    chroma, tone = (C2 - C1) / (1 + 0.045 * C), dH / (1 + 0.015 * C * T)
    rotation = -2 * seventh(C) * torch.sin(torch.deg2rad(60 * torch.exp(-(((hue - 275) / 25) ** 2))))
    squared = lightness**2 + chroma**2 + tone**2 + rotation * chroma * tone
    return squared.flatten(1).sum(dim=1).sqrt()


@pytest.mark.parametrize("scale", ["correct", "paper"])
@pytest.mark.parametrize("change", [1.0, 0.1, 1e-3])
def test_closed_form_gradient_is_that_of_the_formula_in_angles(scale: str, change: float) -> None:
    x0 = images(4, side=48, dtype=torch.float64)
    x = (
        (x0 + change * (images(4, side=48, seed=3, dtype=torch.float64) - 0.5))
        .clamp(0.001, 0.999)
        .requires_grad_()
    )
    expected = with_angles(x, x0, scale)
    (slope,) = torch.autograd.grad(expected.sum(), x)
    value, gradient = distances.anchor(distances.get("ciede2000", scale=scale), x0).value_and_gradient(x)
    torch.testing.assert_close(value, expected.detach(), rtol=1e-9, atol=0)
    assert (gradient - slope).norm() <= 1e-8 * slope.norm()

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from minadv import distances
from minadv.distances import ssim
from minadv.distances.base import Curved
from tests.networks import images
from tests.shared import SHARED, needs_shared


def by_skimage(x: Tensor, x0: Tensor) -> np.ndarray:
    return np.array(
        [
            1
            - structural_similarity(
                a.double().numpy(),
                b.double().numpy(),
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
                data_range=1,
                channel_axis=0,
            )
            for a, b in zip(x, x0, strict=True)
        ]
    )


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 11, 40), (3, 224, 160)])
@pytest.mark.parametrize("size", [1.0, 0.05, 1e-3])
def test_agrees_with_skimage(shape: tuple[int, int, int], size: float) -> None:
    x0 = torch.rand(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = (x0 + size * torch.randn(x0.shape, dtype=x0.dtype, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    distance = distances.get("ssim")
    np.testing.assert_allclose(distance(x, x0).numpy(), by_skimage(x, x0), rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(distance(x.float(), x0.float()).numpy(), by_skimage(x, x0), rtol=2e-4, atol=1e-7)


@needs_shared
def test_agrees_with_skimage_on_photographs() -> None:
    photographs = np.load(SHARED / "imagenet_like_16.npz")["images"][:4]
    x0 = torch.from_numpy(photographs).permute(0, 3, 1, 2).double() / 255
    x = (x0 + 0.02 * torch.randn(x0.shape, dtype=x0.dtype, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    np.testing.assert_allclose(distances.get("ssim")(x, x0).numpy(), by_skimage(x, x0), rtol=1e-8)


def test_tiny_distances_keep_their_digits_in_float32() -> None:
    x0 = images(2, side=32)
    noise = images(2, side=32, seed=3) - 0.5
    distance = distances.get("ssim")
    for size in (1e-2, 1e-3, 1e-4):
        x = (x0 * 0.8 + 0.1) + size * noise
        exact = distance(x.double(), (x0 * 0.8 + 0.1).double())
        torch.testing.assert_close(distance(x, x0 * 0.8 + 0.1).double(), exact, rtol=1e-3, atol=0)


@pytest.mark.parametrize("band", [ssim.LARGEST_BAND, 8])
def test_its_curvature_is_the_diagonal_of_autograds_hessian(monkeypatch: pytest.MonkeyPatch, band: int) -> None:
    """In windows of all kinds, the last of them flat."""
    monkeypatch.setattr(ssim, "LARGEST_BAND", band)
    x0 = torch.rand(1, 2, 13, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    x0[:, :, :, 2:] = 0.3
    anchored = distances.get("ssim").anchored(x0)
    hessian = torch.autograd.functional.hessian(lambda x: anchored(x).sum(), x0)
    assert isinstance(anchored, Curved)
    size = x0.numel()
    diagonal = torch.as_tensor(hessian).reshape(size, size).diagonal().reshape(x0.shape)
    torch.testing.assert_close(anchored.curvature(), diagonal, rtol=1e-8, atol=1e-15)


def test_images_smaller_than_the_window_are_an_error() -> None:
    small = images(1, side=10)
    with pytest.raises(ValueError, match=r"at least 11×11 pixels.*got 10×10"):
        distances.get("ssim")(small, small)


def test_both_ways_to_blur_agree_and_their_adjoints_are_transposes(monkeypatch: pytest.MonkeyPatch) -> None:
    x0 = torch.rand(2, 3, 40, 23, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = torch.rand(2, 3, 30, 13, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    bands = ssim.Blur.of(x0)
    monkeypatch.setattr(ssim, "LARGEST_BAND", 0)
    shifts = ssim.Blur.of(x0)
    assert bands.bands is not None
    assert shifts.bands is None
    torch.testing.assert_close(bands(x0), shifts(x0))
    torch.testing.assert_close(bands.adjoint(y), shifts.adjoint(y))
    torch.testing.assert_close((shifts(x0) * y).sum(), (x0 * shifts.adjoint(y)).sum())

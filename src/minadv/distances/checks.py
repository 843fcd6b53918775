"""What a distance is given: images that can be compared, or an error that says what they are."""

import torch
from torch import Tensor

# Images that are meant to be in [0, 1] may be a bit outside on the way, but not in 0 to 255.
BRIGHTEST = 2.0


def check_pair(distance: str, x: Tensor, x0: Tensor, *, unit: bool = False, anchored: bool = False) -> None:
    """Check that two batches can be compared.

    Args:
        distance: its name.
        x: images.
        x0: others.
        unit: whether a distance is of images in [0, 1] alone.
        anchored: whether it has a gradient to `x` alone.

    Raises:
        TypeError: for images that are no tensors, not floating point, or of different dtypes.
        ValueError: for different shapes: broadcasting would compare the wrong ones; and where `unit` or `anchored`
            does not hold.
    """
    if not (isinstance(x, Tensor) and isinstance(x0, Tensor)):  # pyright: ignore[reportUnnecessaryIsInstance]
        kinds = f"{type(x).__name__} and {type(x0).__name__}"
        raise TypeError(f"{distance} compares tensors, got {kinds}: use torch.as_tensor")
    if not (x.is_floating_point() and x0.is_floating_point()):
        raise TypeError(
            f"{distance} compares floating-point images in [0, 1], got {x.dtype} and {x0.dtype}: 8-bit images "
            "become such with images.float() / 255"
        )
    if x.dtype != x0.dtype:
        raise TypeError(
            f"{distance} compares images of one dtype, got {x.dtype} and {x0.dtype}: convert one of them, "
            f"e.g. by .to({torch.promote_types(x.dtype, x0.dtype)})"
        )
    if x.shape != x0.shape:
        raise ValueError(f"{distance} compares images of one shape, got {tuple(x.shape)} and {tuple(x0.shape)}")
    if unit and x.numel() and (largest := max(x.detach().amax().item(), x0.detach().amax().item())) > BRIGHTEST:
        raise ValueError(f"{distance} compares images in [0, 1], got values up to {largest:g}: divide by 255")
    if anchored and x0.requires_grad and torch.is_grad_enabled():
        raise ValueError(f"{distance} has a gradient to its first argument alone: detach the second, or swap them")


def need_images(distance: str, x0: Tensor, channels: int | None = None) -> None:
    """Raise unless `x0` is (batch, channels, height, width)."""
    if x0.ndim != 4:
        shape = ", ".join(map(str, x0.shape[1:]))
        raise ValueError(
            f"{distance} compares images (batch, channels, height, width), got shape (batch, {shape}): "
            "reshape the inputs, or use an lp distance, which takes any shape"
        )
    if channels is not None and x0.shape[1] != channels:
        raise ValueError(
            f"{distance} compares colours and needs {channels} channels, got {x0.shape[1]}: for grey images use "
            "l0, l1, l2, linf or ssim, or repeat the channel if grey levels are meant as sRGB colours"
        )

"""Images in [0, 1] as PNGs: for the eye, for files, and the magnified difference of two."""

import base64
import io
from pathlib import Path

import numpy as np
import torch
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from minadv.files import in_place
from minadv.run_folder import Run

GREY, COLOUR = 1, 3
LARGE = 128  # sides from here on are shown smoothly


def can_show(images: Tensor) -> bool:
    """Whether these are (batch, 1 or 3, height, width)."""
    return images.ndim == 4 and images.shape[1] in (GREY, COLOUR)


def check(images: Tensor) -> None:
    """Raise unless the images can be written as PNGs."""
    if not can_show(images):
        raise ValueError(
            f"--png needs images (batch, 1 or 3 channels, height, width), got shape {tuple(images.shape)}: "
            "leave --png out; the adversarials are in adversarials.safetensors"
        )


def pixels(image: Tensor) -> NDArray[np.uint8]:
    """(channels, height, width) in [0, 1] → (height, width[, 3]) rounded to 8 bits."""
    array = (image.double().numpy() * 255).round().astype(np.uint8).transpose(1, 2, 0)
    return array[:, :, 0] if array.shape[2] == GREY else array


def png(image: Tensor) -> bytes:
    """Return an image as the bytes of a lossless PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels(image)).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def data_uri(image: Tensor) -> str:
    """Return an image as an address that contains it."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()


def large(image: Tensor) -> bool:
    """Whether an image is shown smoothly; smaller ones are shown pixel by pixel."""
    return min(image.shape[-2:]) >= LARGE


def compact_uri(image: Tensor) -> str:
    """Return an image as an address that contains it; large ones are compressed as photographs are."""
    if not large(image):
        return data_uri(image)
    buffer = io.BytesIO()
    Image.fromarray(pixels(image)).save(buffer, format="WEBP", quality=85)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def heat(values: Tensor) -> Tensor:
    """(height, width) numbers ≥ 0 → (3, height, width) colours, from black for 0 to bright for the largest."""
    largest = values.max().item()
    shares = (values / largest if largest else values).double().numpy()
    return torch.from_numpy(colormaps["inferno"](shares)[..., :COLOUR].transpose(2, 0, 1).copy())


def difference(adversarial: Tensor, original: Tensor) -> tuple[Tensor, float | None]:
    """Return the change, magnified until its largest entry just fits, and the factor.

    Mid-grey is no change; the factor is None where nothing changed at all.
    """
    delta = (adversarial - original).double()
    largest = delta.abs().max().item()
    if largest == 0:
        return delta + 0.5, None
    return (0.5 + delta * (0.5 / largest)).clamp(0, 1), 0.5 / largest


def remove_all(folder: Path) -> None:
    """Remove what `write_all` wrote into a folder, and the folder if nothing else is in it."""
    for stale in folder.glob("[0-9]*.png"):
        stale.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def write_all(folder: Path, run: Run) -> int:
    """Write every adversarial image as NUMBER.png into a folder, and return how many.

    Failures have no adversarial image and get no file; images of an earlier run are removed.
    """
    remove_all(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row for row, success in enumerate(run.results["success"].to_list()) if success]
    numbers = run.results["sample"].to_list()
    for row in rows:
        with in_place(folder / f"{numbers[row]:06d}.png") as path:
            path.write_bytes(png(run.adversarials[row]))
    return len(rows)

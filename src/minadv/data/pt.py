"""Data sets in files that torch saved: a dictionary of `images` and `labels`. Nothing in them is run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from minadv.data.dataset import Data, numbered
from minadv.data.images import InMemory
from minadv.models.weights import undense, unpickled
from minadv.validation import check_values

SAVE_AGAIN = (
    "if you trust it, load it elsewhere, and save its images and labels alone: as tensors, for pt:, or for npz:"
)
NEEDED = "a dictionary of images (n, channels, height, width) uint8 or float in [0, 1] and labels (n,) integer"
CHANNELS = (1, 3)
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32)


def load(path: Path) -> Data:
    """Load a file with `images`, channels first or last, and `labels`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it does not hold what is needed, or holds code; the message says what is wrong.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; pt: needs the path of {NEEDED}")
    if path.suffix == ".npz":
        raise ValueError(f"{path} is a NumPy archive: its data spec is npz:{path}; pt: needs {NEEDED}")
    images, labels = _parts(path, unpickled(path, SAVE_AGAIN))
    pixels = _channels_first(path, images)
    if labels.ndim != 1 or labels.dtype not in INTEGERS or len(labels) != len(pixels):
        shape = f"{labels.dtype} {tuple(labels.shape)}"
        raise ValueError(f"{path}: labels are {shape}, needed are {len(pixels)} integers, one per image")
    labels = labels.long()
    return Data(f"pt:{path}", numbered(path, labels), InMemory(pixels), labels)


def _parts(path: Path, content: Any) -> tuple[Tensor, Tensor]:
    empty: Mapping[str, Any] = {}
    parts = cast("Mapping[str, Any]", content) if isinstance(content, Mapping) else empty
    images, labels = parts.get("images"), parts.get("labels")
    if isinstance(images, Tensor) and isinstance(labels, Tensor):
        for name, tensor in (("images", images), ("labels", labels)):
            if kind := undense(tensor):
                raise ValueError(f"{path}: {name} are a tensor {kind}, and not a dense one; pt: needs {NEEDED}")
        return images.detach(), labels.detach()
    kind = type(cast("object", content)).__name__
    what = f"has {sorted(map(str, parts))}" if parts else f"holds a {kind}"
    raise ValueError(f"{path} {what}; pt: needs {NEEDED}")


def _channels_first(path: Path, images: Tensor) -> Tensor:
    if images.ndim == 4 and images.shape[1] not in CHANNELS and images.shape[3] in CHANNELS:
        images = images.permute(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] not in CHANNELS or 0 in images.shape[2:]:
        raise ValueError(f"{path}: images have the shape {tuple(images.shape)}; pt: needs {NEEDED}")
    if images.dtype == torch.uint8:
        return images.contiguous()
    if not images.is_floating_point():
        raise ValueError(f"{path}: images are {images.dtype}, and not uint8 or finite floats in [0, 1]")
    pixels = images.float().contiguous()
    check_values(f"{path}: float images", pixels)
    return pixels

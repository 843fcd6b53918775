"""Data sets in NumPy archives: `images` and `labels`, nothing pickled."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from minadv.data.dataset import Data, numbered
from minadv.data.images import InMemory
from minadv.validation import check_values

NEEDED = "images (n, height, width[, channels]) uint8 or float in [0, 1], labels (n,) integer"


def load(path: Path) -> Data:
    """Load an archive with `images`, `labels` and, if it likes, the names of the `classes`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not an archive that holds what is needed; the message says what is wrong.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; npz: needs the path of an archive with {NEEDED}")
    arrays = _read(path)
    missing = [name for name in ("images", "labels") if name not in arrays]
    if missing:
        raise ValueError(f"{path} has no array {missing[0]!r}, only {sorted(arrays)}; npz: needs {NEEDED}")
    labels = _labels(path, arrays["labels"])
    pixels = _pixels(path, arrays["images"])
    if len(pixels) != len(labels):
        raise ValueError(f"{path}: {len(pixels)} images but {len(labels)} labels")
    classes = _classes(path, arrays.get("classes"), labels)
    return Data(f"npz:{path}", classes, InMemory(pixels), torch.from_numpy(labels))


def _read(path: Path) -> dict[str, NDArray[Any]]:
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is no NumPy archive (.npz) or is damaged; npz: needs {NEEDED}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            wanted = [name for name in ("images", "labels", "classes") if name in archive.files]
            others = [name for name in archive.files if name not in wanted]
            # arrays nobody asked for are named, not read
            arrays: dict[str, Any] = {name: archive[name] for name in wanted}
    except MemoryError:
        raise
    except ValueError as error:  # arrays of Python objects are pickles, which are not opened
        raise ValueError(f"{path} cannot be read as plain numbers ({error}); npz: needs {NEEDED}") from error
    except Exception as error:  # there is no telling what a damaged file provokes
        raise ValueError(f"{path} is damaged or no NumPy archive ({error}); npz: needs {NEEDED}") from error
    if strange := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
        raise ValueError(f"{path} is damaged: {strange[0]} is no array; npz: needs {NEEDED}")
    return arrays | dict.fromkeys(others, np.empty(0))


def _labels(path: Path, labels: NDArray[Any]) -> NDArray[np.int64]:
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(f"{path}: labels are {labels.dtype} {labels.shape}, needed is a vector of integers")
    return labels.astype(np.int64)


def _pixels(path: Path, images: NDArray[Any]) -> torch.Tensor:
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[-1] not in (1, 3)) or 0 in images.shape[1:]:
        raise ValueError(
            f"{path}: images have the shape {images.shape}, needed is (n, height, width) or "
            "(n, height, width, channels) with 1 or 3 channels, which come last"
        )
    channels_first = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    if images.dtype == np.uint8:
        return torch.from_numpy(np.ascontiguousarray(channels_first))
    if images.dtype.kind != "f":
        raise ValueError(f"{path}: images are {images.dtype}, needed is uint8 in 0–255 or float in [0, 1]")
    with np.errstate(over="ignore"):  # what is too large is told of below
        pixels = torch.from_numpy(np.ascontiguousarray(channels_first, dtype=np.float32))
    check_values(f"{path}: float images", pixels)
    return pixels


def _classes(path: Path, classes: NDArray[Any] | None, labels: NDArray[np.int64]) -> tuple[str, ...]:
    numbers = numbered(path, torch.from_numpy(labels))
    if classes is None:
        return numbers
    if classes.ndim != 1 or classes.dtype.kind != "U" or len(classes) < len(numbers):
        raise ValueError(
            f"{path}: classes are {classes.dtype} {classes.shape}, needed are {len(numbers)} or more strings"
        )
    return tuple(str(name) for name in classes)

"""From a data spec to a data set."""

import warnings
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl

import torch

from minadv import errors
from minadv.data import demo, downloads, folder, npz, pt
from minadv.data.catalogue import TORCHVISION
from minadv.data.dataset import Data
from minadv.data.images import InMemory

GRAMMAR = "demo, demo:train, npz:PATH, pt:PATH, folder:PATH[?size=224&mode=L] or torchvision:NAME"
LARGEST = 10_000  # pixels of a side: more is a mistake, and would fill the memory
DARKEST = 16  # of 255: a data set without a brighter value has another range, as scikit-learn's digits have
SUFFIXES = {".npz": "npz", ".pt": "pt", ".pth": "pt"}
KINDS = ("demo", "folder", "npz", "pt", "torchvision")


def load(spec: str) -> Data:
    """Load a data set: a map-style data set of float32 images in [0, 1] and integer labels.

    Args:
        spec: `demo` (test patches) or `demo:train`; `npz:PATH`, an archive with `images` and `labels`;
            `pt:PATH`, the same as a dictionary of tensors that torch saved;
            `folder:PATH`, a sub-folder per class, where `?size=224` resizes the shorter side and crops the
            centre and `?mode=L` reads grey images (default: colour);
            `torchvision:mnist|fashionmnist|cifar10|cifar100|svhn`, test sets kept in `$MINADV_DATA` (default
            `~/.cache/minadv/data`).

    Warns:
        UserWarning: when the images of an archive are bytes, and all nearly black.

    Raises:
        ValueError: the spec is malformed or unknown, or the data is not what it should be.
        FileNotFoundError: there is no such file or folder.
        RuntimeError: a download failed.
        ImportError: an optional library is missing.
    """
    kind, colon, rest = spec.partition(":")
    if kind not in KINDS:
        meant = _meant(spec)
        raise errors.unknown("data spec", spec if meant else kind, KINDS, meant)
    if kind == "demo":
        return _demo(spec, rest if colon else "test")
    if not rest:
        raise ValueError(f"the data spec {spec!r} is incomplete; specs are {GRAMMAR}")
    if kind == "torchvision":
        return downloads.load(rest)
    files = {"npz": npz.load, "pt": pt.load}
    loaded = files[kind](Path(rest).expanduser()) if kind in files else _folder(spec, rest)
    _warn_of_small_values(spec, loaded)
    return replace(loaded, name=spec)


def _meant(text: str) -> str | None:
    """Return the data spec of what is written without its kind: a file, a folder or a set of torchvision."""
    path = Path(text).expanduser()
    if text in TORCHVISION:
        return f"torchvision:{text}"
    kind = "folder" if text and path.is_dir() else SUFFIXES.get(path.suffix)
    return kind and f"{kind}:{text}"


def _warn_of_small_values(spec: str, data: Data) -> None:
    """Warn of bytes that are another range than 0 to 255, as scikit-learn's digits are 0 to 16."""
    pixels = data.images.pixels if isinstance(data.images, InMemory) else None
    if pixels is None or pixels.dtype != torch.uint8 or not pixels.numel():
        return
    largest = int(pixels.max())
    if 0 < largest <= DARKEST:
        warnings.warn(
            f"the images of {spec} are uint8 and none of their values is above {largest}: they are divided by "
            "255, and nearly black; save them as floats in [0, 1] if that is not what the model was trained on",
            UserWarning,
            stacklevel=3,
        )


def _demo(spec: str, split: str) -> Data:
    if split != "test" and split != "train":
        raise ValueError(f"the data spec {spec!r} names no split of the embedded data: demo (test) or demo:train")
    images, labels = demo.load(split)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    return Data(spec, demo.CLASSES, InMemory(pixels), torch.from_numpy(labels))


def _folder(spec: str, rest: str) -> Data:
    path, mark, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    strange = set(options) - {"size", "mode"}
    if strange or (mark and not options):
        raise ValueError(f"the data spec {spec!r} has options other than size and mode; specs are {GRAMMAR}")
    size, mode = options.get("size"), options.get("mode", "RGB")
    if size is not None and not (size.isascii() and size.isdigit() and 0 < int(size) <= LARGEST):
        raise ValueError(
            f"size in {spec!r} must be a positive whole number of pixels, got {size!r}: at most {LARGEST}"
        )
    if mode not in ("RGB", "L"):
        raise ValueError(f"mode in {spec!r} must be RGB (colour) or L (grey), got {mode!r}")
    return folder.load(Path(path).expanduser(), None if size is None else int(size), mode)

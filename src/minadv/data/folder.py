"""Data sets in folders: a sub-folder per class, read file by file when asked for."""

import warnings
from collections import Counter
from pathlib import Path

import torch
from PIL import Image

from minadv.data.dataset import Data
from minadv.data.images import InFiles, Mode

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
REMEDY = "add ?size=224 (or another size) to resize the shorter side and crop the centre"


def load(path: Path, size: int | None = None, mode: Mode = "RGB") -> Data:
    """List the images below `path`, one class per sub-folder, sorted by name as text; pixels are read later.

    Args:
        path: the folder.
        size: resize the shorter side to this and crop the centre; without it all images must have one size.
        mode: "RGB" for three channels, "L" for one.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: no classes, a class without images, a file that is no image, or sizes that differ.

    Warns:
        UserWarning: when the folders' names are numbers, and their order as text is another than by value.
    """
    if not path.is_dir():
        raise FileNotFoundError(f"there is no folder {path}; folder: needs a folder with one sub-folder per class")
    folders = sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))
    if not folders:
        raise ValueError(f"{path} has no sub-folders; folder: needs one per class, with its images inside")
    _warn_of_numbers(path, [folder.name for folder in folders])
    found = [(label, file) for label, folder in enumerate(folders) for file in _images(folder)]
    files = tuple(file for _, file in found)
    if size is None:
        _check_sizes(path, files)
    return Data(
        f"folder:{path}",
        tuple(folder.name for folder in folders),
        InFiles(files, mode, size),
        torch.tensor([label for label, _ in found], dtype=torch.int64),
    )


def _warn_of_numbers(path: Path, names: list[str]) -> None:
    numbers = [int(name) for name in names if name.isascii() and name.isdigit()]
    if len(numbers) == len(names) and numbers != sorted(numbers):
        moved = next(label for label, number in enumerate(numbers) if number != sorted(numbers)[label])
        warnings.warn(
            f"{path}: classes are numbered in the order of their folders' names as text, as torchvision does: "
            f"folder {names[moved]} is label {moved}; if names are meant as labels, pad them (00, 01, …, 10)",
            UserWarning,
            stacklevel=4,
        )


def _images(folder: Path) -> list[Path]:
    # names that begin with a dot are a system's own: ._1.jpg is what macOS keeps beside 1.jpg
    named = (file for file in folder.rglob("*") if file.suffix.lower() in ENDINGS and file.name[0] != ".")
    files = sorted(file for file in named if file.is_file())
    if not files:
        raise ValueError(f"{folder} has no images; known endings: {', '.join(ENDINGS)}")
    return files


def _check_sizes(path: Path, files: tuple[Path, ...]) -> None:
    # a header is enough to know a size, so this is cheap even for many files
    sizes = {file: _size(file) for file in files}
    counts = Counter(sizes.values())
    if len(counts) == 1:
        return
    usual = counts.most_common(1)[0][0]
    odd = [file for file, size in sizes.items() if size != usual]
    examples = ", ".join(f"{file.relative_to(path)} {sizes[file][0]}×{sizes[file][1]}" for file in odd[:3])
    raise ValueError(
        f"{path}: images must have one size; most are {usual[0]}×{usual[1]} (width × height), but {len(odd)} "
        f"differ: {examples}; {REMEDY}"
    )


def _size(file: Path) -> tuple[int, int]:
    try:
        with Image.open(file) as image:
            # tag 0x0112: orientations from 5 on are lying on their side
            width, height = image.size
            return (height, width) if image.getexif().get(0x0112, 1) >= 5 else (width, height)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{file} cannot be read as an image ({error}); remove it or save it again") from error

"""The embedded data set: patches of the ten colour photographs that scikit-image and scikit-learn carry.

Each photograph is a class. It is cut into a grid of square cells, a third of them for testing, the rest for
training, and every patch is made from the pixels of one cell only: no pixel serves both splits. Nothing here
is random and nothing is downloaded.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from math import isqrt
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from minadv import errors

Split = Literal["train", "test"]
Box = tuple[int, int, int, int]  # left, upper, right, lower, in pixels of the photograph

SIZE = 32  # a patch, in pixels
CELL = 64  # a cell after resizing: four patches side by side
CELLS = 56  # about how many cells a photograph is cut into
STRIDE: dict[Split, int] = {"train": 8, "test": 32}  # test patches do not overlap one another
CONTRAST = 3.0  # less (standard deviation) is black sky or border and shows nothing of its photograph


@dataclass(frozen=True)
class Photograph:
    """A photograph inside an installed package: class name, package and path within it."""

    name: str
    package: str
    path: str


PHOTOGRAPHS = (
    Photograph("astronaut", "skimage", "data/astronaut.png"),
    Photograph("motorcycle", "skimage", "data/motorcycle_left.png"),
    Photograph("hubble_deep_field", "skimage", "data/hubble_deep_field.jpg"),
    Photograph("ihc", "skimage", "data/ihc.png"),
    Photograph("coffee", "skimage", "data/coffee.png"),
    Photograph("retina", "skimage", "data/retina.jpg"),
    Photograph("chelsea", "skimage", "data/chelsea.png"),
    Photograph("rocket", "skimage", "data/rocket.jpg"),
    Photograph("china", "sklearn", "datasets/images/china.jpg"),
    Photograph("flower", "sklearn", "datasets/images/flower.jpg"),
)
CLASSES = tuple(photograph.name for photograph in PHOTOGRAPHS)


def locate(photograph: Photograph) -> Path:
    """Find a photograph's file without importing the package that carries it.

    Raises:
        ImportError: the package is not installed.
        FileNotFoundError: the installed package does not carry the file.
    """
    spec = find_spec(photograph.package)
    if spec is None or not spec.submodule_search_locations:
        distribution = {"skimage": "scikit-image", "sklearn": "scikit-learn"}[photograph.package]
        raise errors.missing_extra("the data set 'demo'", distribution, "demo")
    path = Path(spec.submodule_search_locations[0]) / photograph.path
    if not path.is_file():
        raise FileNotFoundError(
            f"the data set 'demo' needs {path}, which this version of {photograph.package} lacks"
        )
    return path


def cells(width: int, height: int, split: Split) -> Iterator[Box]:
    """List the cells of a split in a photograph of this size; test cells are every third diagonal."""
    side = isqrt(width * height // CELLS)
    for row in range(height // side):
        for column in range(width // side):
            if ((row + column) % 3 == 0) == (split == "test"):
                yield column * side, row * side, (column + 1) * side, (row + 1) * side


def patches(photograph: Image.Image, split: Split) -> NDArray[np.uint8]:
    """Cut the patches (n, SIZE, SIZE, 3) of a split out of a photograph, one from each cell per turn."""
    offsets = range(0, CELL - SIZE + 1, STRIDE[split])
    found = [
        # cropped before it is resized, so that the resampling filter cannot reach into a neighbouring cell
        np.asarray(photograph.crop(box).resize((CELL, CELL), Image.Resampling.LANCZOS))
        for box in cells(*photograph.size, split)
    ]
    cut = [cell[top : top + SIZE, left : left + SIZE] for top in offsets for left in offsets for cell in found]
    return np.stack([patch for patch in cut if patch.std(axis=(0, 1)).max() >= CONTRAST])


def load(split: Split) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Make the images (n, SIZE, SIZE, 3) and labels (n,) of a split; the classes take turns."""
    by_class: list[NDArray[np.uint8]] = []
    for photograph in PHOTOGRAPHS:
        with Image.open(locate(photograph)) as image:
            by_class.append(patches(image.convert("RGB"), split))
    turns = sorted((turn, label) for label, images in enumerate(by_class) for turn in range(len(images)))
    images = np.stack([by_class[label][turn] for turn, label in turns])
    return images, np.array([label for _, label in turns], dtype=np.int64)

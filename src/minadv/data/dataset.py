"""The one shape that every data set has here."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from minadv import errors
from minadv.data.images import Images

CHANCE = 1e-3  # that samples are of one class in mixed data: below, they are sorted
MOST = 10**6  # classes: a label beyond is a mistake, and names up to it would fill the memory


def numbered(path: Path, labels: Int64[Tensor, " n"]) -> tuple[str, ...]:
    """Name the classes of labels in a file by their numbers, from 0 to the largest one.

    Raises:
        ValueError: for a label below 0, or of more than a million classes.
    """
    low, high = (int(bound) for bound in labels.aminmax()) if len(labels) else (0, -1)
    if low < 0:
        raise ValueError(f"{path}: labels go down to {low}, needed are class numbers from 0 on")
    if high >= MOST:
        raise ValueError(f"{path}: labels go up to {high}, needed are class numbers below {MOST}")
    return tuple(map(str, range(high + 1)))


def class_number(written: str, classes: tuple[str, ...]) -> int:
    """Return the class that is written as its name, or as its number.

    A number beyond the named classes may be one that the model knows.

    Raises:
        ValueError: for a name that no class has, with the nearest one, or a number below 0.
    """
    if written in classes:
        return classes.index(written)
    try:
        number = int(written)
    except ValueError:
        raise errors.unknown("class", written, classes) from None
    if number < 0:
        raise ValueError(
            f"a class must be a name, or a number from 0 on, got {written}: those of the data are 0 to "
            f"{len(classes) - 1}"
        )
    return number


def tell_of_one_class(data: "Data", numbers: Sequence[int]) -> None:
    """Warn when several samples are all of one class, and others are not, as the first ones of sorted data are."""
    labels = data.labels[list(numbers)]
    if not len(labels) or bool((labels != labels[0]).any()):
        return
    if (data.labels == labels[0]).double().mean().item() ** len(labels) < CHANCE:
        name = data.classes[int(labels[0])] if int(labels[0]) < len(data.classes) else int(labels[0])
        warnings.warn(
            f"the first {len(labels)} samples of {data.name} are all of class {name}, one of {len(data.classes)}: "
            "samples are taken in the order of the data; take more of them, or shuffle them",
            UserWarning,
            stacklevel=3,
        )


@dataclass(frozen=True, eq=False)
class Data:
    """A map-style data set: `data[i]` is a float32 image (channels, height, width) in [0, 1] and its label.

    Attributes:
        name: the spec it was loaded from.
        classes: a name per label.
        images: where the images are read from.
        labels: (n,) int64.
    """

    name: str
    classes: tuple[str, ...]
    images: Images
    labels: Int64[Tensor, " n"]

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise ValueError(f"{self.name}: {len(self.images)} images but {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"<Data {self.name}: {self.images}, {len(self.classes)} classes>"  # no pixels

    def __getitem__(self, index: int) -> tuple[Float[Tensor, "channels height width"], int]:
        if isinstance(index, slice):  # pyright: ignore[reportUnnecessaryIsInstance]
            rows = range(*index.indices(len(self)))
            raise TypeError(f"one sample is read at a time, got a slice: use .select({rows}) or .batch({rows})")
        inputs, labels = self.batch([index])
        return inputs[0], int(labels[0])

    def batch(
        self, indices: Sequence[int] | NDArray[np.generic] | Tensor
    ) -> tuple[Float[Tensor, "n channels height width"], Int64[Tensor, " n"]]:
        """Read these samples, by their numbers or a mask of all: inputs (n, channels, height, width), labels (n,).

        Raises:
            IndexError: an index is not in the data set, or not a whole number.
        """
        rows = self._rows(indices)
        return self.images.read(rows), self.labels[torch.tensor(rows, dtype=torch.int64)]

    def tensors(
        self, limit: int | None = None
    ) -> tuple[Float[Tensor, "n channels height width"], Int64[Tensor, " n"]]:
        """Read the first `limit` samples (all of them by default, or when there are fewer).

        Raises:
            ValueError: for a negative limit.
        """
        if limit is not None and limit < 0:
            raise ValueError(f"limit must not be negative, got {limit}")
        return self.batch(range(len(self) if limit is None else min(limit, len(self))))

    def select(self, indices: Sequence[int] | NDArray[np.generic] | Tensor) -> "Data":
        """Keep these samples only, in this order; `indices` are numbers, or a mask of all samples.

        Raises:
            IndexError: an index is not in the data set, or not a whole number.
        """
        rows = self._rows(indices)
        return replace(
            self, images=self.images.select(rows), labels=self.labels[torch.tensor(rows, dtype=torch.int64)]
        )

    def _rows(self, indices: Sequence[int] | NDArray[np.generic] | Tensor) -> list[int]:
        found = torch.as_tensor(indices if isinstance(indices, Tensor | np.ndarray) else list(indices))
        if found.dtype == torch.bool:
            if found.shape != (len(self),):
                raise IndexError(
                    f"a mask must have shape ({len(self)},) for {self.name!r}, got {tuple(found.shape)}"
                )
            found = torch.nonzero(found).flatten()
        if found.is_floating_point() and len(found):
            raise IndexError(f"indices must be whole numbers or a mask, got {found.dtype}")
        # IndexError, not ValueError: it is also what ends `for image, label in data`
        rows = cast("list[int]", found.tolist())
        outside = next((row for row in rows if not -len(self) <= row < len(self)), None)
        if outside is not None:
            raise IndexError(f"index {outside} is not in {self.name!r}, which has {len(self)} samples")
        return [row % len(self) for row in rows]

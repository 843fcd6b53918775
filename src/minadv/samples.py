"""The samples of an evaluation: read by their numbers, and checked before the first of them is attacked."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, Protocol, cast, final, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minadv.attacks.base import whole
from minadv.data import Data
from minadv.validation import check_classes, check_inputs, check_targets


@runtime_checkable
class Dataset(Protocol):
    """Samples by number: `data[i]` is (image tensor in [0, 1], label)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Tensor, Any]: ...


@final
@dataclass(frozen=True)
class Pair:
    """All samples at hand: inputs (n, ...) and labels (n, ...) that are not checked yet."""

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


Samples = Dataset | tuple[Tensor, Tensor] | list[Tensor]


def paired(data: object) -> Dataset | Pair:
    """Return data as a pair (inputs, labels), which may be given as a list, or else as the data set it is.

    Raises:
        TypeError: for neither.
        ValueError: for inputs and labels that are not as many.
    """
    if isinstance(data, str | PathLike):
        given = str(cast("object", data))
        raise TypeError(f"data must be loaded, got {given!r}: give minadv.data.load({given!r})")
    needed = "data must be a data set with len(data) and data[i] = (image, label), or a pair (inputs, labels), got"
    if not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        loader = ": give its .dataset, evaluate makes its own batches" if hasattr(data, "dataset") else ""
        raise TypeError(f"{needed} {type(data).__name__}{loader}")
    given = cast("Sequence[object]", data)
    # a list of samples, (image, label) each, is a data set, if only of two
    listed = isinstance(data, list) and len(given) == 2 and not isinstance(given[0], tuple | list)
    if not (listed or isinstance(data, tuple)):
        return cast("Dataset", data)
    if len(given) != 2:
        raise TypeError(f"{needed} a tuple of {len(given)}")
    inputs, labels = given
    if not (isinstance(inputs, Tensor) and isinstance(labels, Tensor)):
        kinds = f"{type(inputs).__name__} and {type(labels).__name__}"
        raise TypeError(f"inputs and labels must be tensors, got {kinds}: use torch.as_tensor")
    if len(inputs) != len(labels):
        raise ValueError(f"inputs and labels must be as many, got {len(inputs)} and {len(labels)}")
    return Pair(inputs, labels)


def classes_to_reach(targets: object, total: int, length: int) -> Tensor | None:
    """Return the class to reach of each of the first `total` of `length` samples, (total,); None untargeted.

    Raises:
        TypeError: for anything but a whole number, a tensor or None.
        ValueError: for another shape.
    """
    if targets is None:
        return None
    if whole(targets):
        return torch.full((total,), int(cast("int", targets)))
    if not isinstance(targets, Tensor):
        raise TypeError(
            "targets must be one class for all samples, an int, or a (samples,) int64 tensor, "
            f"got {type(targets).__name__}: use torch.as_tensor"
        )
    if targets.ndim != 1 or len(targets) not in (total, length):
        given = len(targets) if targets.ndim == 1 else f"shape {tuple(targets.shape)}"
        raise ValueError(f"targets must have one class for each of {total} samples, got {given}")
    return targets[:total]


def check_samples(data: Dataset | Pair, targets: Tensor | None, total: int) -> None:
    """Check the first `total` inputs, labels and targets, as far as they are at hand and that takes no model.

    Raises:
        TypeError, ValueError: as an attack does for its batch.
    """
    if isinstance(data, Pair):
        inputs = check_inputs(data.inputs[:total])
        labels = check_classes("labels", data.labels[:total].to(inputs.device), inputs)
    elif isinstance(data, Data):
        labels = data.labels[:total]
    else:
        return
    if targets is not None:
        check_targets(check_classes("targets", targets.to(labels.device), labels), labels)


def take(data: Dataset | Pair, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return inputs (n, ...) and labels (n,) of the given samples.

    Raises:
        TypeError: for a sample that is not (image tensor, label), or a label that is no whole number.
        ValueError: for images of different shapes.
    """
    if isinstance(data, Pair):
        return data.inputs[list(numbers)], data.labels[list(numbers)]
    samples = [_sample(data, number) for number in numbers]
    shapes = sorted({tuple(image.shape) for image, _ in samples})
    if len(shapes) > 1:
        raise ValueError(f"images of a batch must have one shape, got {' and '.join(map(str, shapes[:2]))}")
    return torch.stack([image for image, _ in samples]), torch.tensor([label for _, label in samples])


def _sample(data: Dataset, number: int) -> tuple[Tensor, int]:
    sample = cast("object", data[number])
    given = type(sample).__name__
    parts = cast("Sequence[object]", sample if isinstance(sample, tuple | list) else ())
    if len(parts) != 2 or not isinstance(parts[0], Tensor):
        given += f" ({', '.join(type(part).__name__ for part in parts)})" if parts else ""
        raise TypeError(f"data[{number}] must be (image, label) with a tensor as image, got {given}")
    return parts[0], _class(parts[1], number)


def _class(label: object, number: int) -> int:
    """Return a label as a number: a whole one, or a tensor or array of one."""
    if isinstance(label, np.ndarray):
        label = torch.from_numpy(cast("NDArray[np.generic]", label))
    if isinstance(label, Tensor) and label.numel() == 1:
        label = cast("object", label.item())
    if not whole(label):
        given = (
            f"{label!r} ({type(label).__name__})"
            if isinstance(label, float | bool | str)
            else type(label).__name__
        )
        raise TypeError(f"data[{number}] must have a whole number as label, the class, got {given}")
    return int(cast("int", label))

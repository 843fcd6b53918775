"""Test sets that torchvision knows how to download."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minadv import errors
from minadv.data.catalogue import TORCHVISION
from minadv.data.dataset import Data
from minadv.data.images import InMemory

# CIFAR's files are pickles; torchvision compares their MD5 sums with its own before it reads them.
SETS: dict[str, tuple[str, dict[str, Any]]] = {
    "mnist": ("MNIST", {"train": False}),
    "fashionmnist": ("FashionMNIST", {"train": False}),
    "cifar10": ("CIFAR10", {"train": False}),
    "cifar100": ("CIFAR100", {"train": False}),
    "svhn": ("SVHN", {"split": "test"}),
}
FILES = {
    "mnist": "MNIST/raw/t10k-images-idx3-ubyte and the three others of MNIST, unpacked",
    "fashionmnist": "FashionMNIST/raw/t10k-images-idx3-ubyte and the three others of Fashion-MNIST, unpacked",
    "cifar10": "cifar-10-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html, unpacked",
    "cifar100": "cifar-100-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html, unpacked",
    "svhn": "test_32x32.mat from http://ufldl.stanford.edu/housenumbers/",
}


def root() -> Path:
    """Say where downloaded data lives: $MINADV_DATA, or ~/.cache/minadv/data."""
    return Path(os.environ.get("MINADV_DATA") or Path.home() / ".cache" / "minadv" / "data").expanduser()


def load(name: str) -> Data:
    """Load the test set of this name, downloading it the first time.

    Raises:
        ValueError: the name is not known.
        RuntimeError: it is not there and cannot be downloaded; the message says which file to put where.
        ImportError: it needs a library that is not installed.
    """
    if name not in SETS:
        raise errors.unknown("torchvision data set", name, TORCHVISION)
    found = _open(name)
    pixels = torch.as_tensor(np.asarray(found.data))
    if pixels.ndim == 3:
        pixels = pixels.unsqueeze(1)
    elif name != "svhn":  # which comes with its channels first
        pixels = pixels.permute(0, 3, 1, 2)
    labels = torch.as_tensor(np.asarray(found.labels if name == "svhn" else found.targets), dtype=torch.int64)
    classes = getattr(found, "classes", None) or [str(digit) for digit in range(10)]
    return Data(f"torchvision:{name}", tuple(classes), InMemory(pixels.contiguous()), labels)


def _open(name: str) -> Any:
    from torchvision import datasets  # takes a second, which only these data sets are worth

    folder, (builder, options) = root(), SETS[name]
    build: Callable[..., Any] = partial(getattr(datasets, builder), folder, **options)
    try:
        return build(download=False)
    except ModuleNotFoundError as error:
        raise errors.missing_extra(f"the data set 'torchvision:{name}'", str(error.name), "demo") from error
    except RuntimeError:
        pass  # torchvision's way to say that it is not there yet
    except Exception as error:  # there is no telling what a damaged file provokes
        raise ValueError(
            f"torchvision:{name} in {folder} is damaged ({type(error).__name__} {error}): remove it and fetch it "
            f"again, or put there {FILES[name]}"
        ) from error
    try:
        return build(download=True)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())  # torchvision's has a line per mirror
        raise RuntimeError(
            f"torchvision:{name} is not in {folder} and downloading it failed ({reason}); put there "
            f"{FILES[name]}, or set MINADV_DATA to the folder that has it"
        ) from error

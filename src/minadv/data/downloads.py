"""Test sets that torchvision knows how to download."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision import datasets

from minadv import errors
from minadv.data.catalogue import TORCHVISION
from minadv.data.dataset import Data
from minadv.data.images import InMemory

# torchvision checks the MD5 sum of CIFAR's files before it reads them, which matters because they are pickles.
SETS: dict[str, Callable[..., Any]] = {
    "mnist": lambda root, **options: datasets.MNIST(root, train=False, **options),
    "fashionmnist": lambda root, **options: datasets.FashionMNIST(root, train=False, **options),
    "cifar10": lambda root, **options: datasets.CIFAR10(root, train=False, **options),
    "cifar100": lambda root, **options: datasets.CIFAR100(root, train=False, **options),
    "svhn": lambda root, **options: datasets.SVHN(root, split="test", **options),
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
    folder = root()
    try:
        return SETS[name](folder, download=False)
    except ModuleNotFoundError as error:
        raise errors.missing_extra(f"the data set 'torchvision:{name}'", str(error.name), "demo") from error
    except RuntimeError:
        pass  # torchvision's way to say that it is not there yet
    try:
        return SETS[name](folder, download=True)
    except (OSError, RuntimeError) as error:
        raise RuntimeError(
            f"torchvision:{name} is not in {folder} and downloading it failed ({error}); put {FILES[name]}, into "
            f"{folder}, or set MINADV_DATA to the folder that has it"
        ) from error

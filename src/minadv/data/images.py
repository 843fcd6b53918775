"""Where the images of a data set live: in memory, or in files that are read when they are asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor

from minadv.errors import counted

Mode = Literal["RGB", "L"]
Batch = Float[Tensor, "batch channels height width"]


@runtime_checkable
class Images(Protocol):
    """Images of one shape that can be read in any order."""

    def __len__(self) -> int:
        """Count the images."""
        ...

    def read(self, indices: Sequence[int]) -> Batch:
        """Read these images as float32 in [0, 1]."""
        ...

    def select(self, indices: Sequence[int]) -> "Images":
        """Keep these images only, in this order, without reading them."""
        ...


@dataclass(frozen=True, eq=False)
class InMemory:
    """Images in one tensor (n, channels, height, width): uint8, or float32 in [0, 1]."""

    pixels: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    def __str__(self) -> str:
        return f"{counted(len(self), 'image')} {'×'.join(map(str, self.pixels.shape[1:]))}"

    def __repr__(self) -> str:
        return f"<InMemory: {self}>"

    def read(self, indices: Sequence[int]) -> Batch:
        """Read these images as float32 in [0, 1]."""
        chosen = self.pixels[torch.as_tensor(indices, dtype=torch.int64)]
        return chosen.float() / 255 if chosen.dtype == torch.uint8 else chosen

    def select(self, indices: Sequence[int]) -> "InMemory":
        """Keep these images only, in this order."""
        return InMemory(self.pixels[torch.as_tensor(indices, dtype=torch.int64)])


@dataclass(frozen=True)
class InFiles:
    """Image files; with a `size` the shorter side is resized to it and the centre cropped to size × size."""

    paths: tuple[Path, ...]
    mode: Mode
    size: int | None

    def __len__(self) -> int:
        return len(self.paths)

    def __str__(self) -> str:
        size = "" if self.size is None else f" {self.size}×{self.size}"
        return f"{counted(len(self), 'image file')} {self.mode}{size}"

    def __repr__(self) -> str:
        return f"<InFiles: {self}>"

    def read(self, indices: Sequence[int]) -> Batch:
        """Read these images as float32 in [0, 1]; they must have one shape."""
        if not indices:
            return torch.empty(0, len(self.mode), self.size or 0, self.size or 0)
        arrays = [decode(self.paths[index], self.mode, self.size) for index in indices]
        pixels = torch.from_numpy(np.stack(arrays)).float() / 255
        return pixels.unsqueeze(1) if self.mode == "L" else pixels.permute(0, 3, 1, 2).contiguous()

    def select(self, indices: Sequence[int]) -> "InFiles":
        """Keep these images only, in this order, without reading them."""
        return InFiles(tuple(self.paths[index] for index in indices), self.mode, self.size)


def decode(path: Path, mode: Mode, size: int | None) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Read one image file: (height, width[, 3]) uint8.

    Raises:
        ValueError: the file is not an image that can be read.
    """
    try:
        with Image.open(path) as image:
            # phones store photographs on their side and say so in a tag
            upright = ImageOps.exif_transpose(_eight_bits(image)).convert(mode)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as an image ({error}); remove it or save it again") from error
    return np.asarray(upright if size is None else resized(upright, size))


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode[0] in "IF":
        raise ValueError(
            f"its pixels ({image.mode}) have more than 8 bits, which would be clipped to white: save it as 8 bits"
        )
    return image


def resized(image: Image.Image, size: int) -> Image.Image:
    """Resize the shorter side to `size`, then crop the centre to size × size."""
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    return image.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))

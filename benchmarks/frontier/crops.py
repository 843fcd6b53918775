"""Crops of 224×224 pixels out of the embedded photographs, each of which is a class: images of usual size."""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from minadv.data.demo import PHOTOGRAPHS, locate

SIZE = 224
# Of a photograph's width, this share is to train with and the rest to test: no pixel serves both.
BORDER = 0.6
# Sides of crops, least and most, relative to the photograph's shorter one.
SIDES = 0.3, 0.4


def crops(each: int, *, training: bool, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return so many crops of each photograph, (n, 224, 224, 3), and their classes; these take turns."""
    random = np.random.default_rng(seed + training)
    found = list[NDArray[np.uint8]]()
    for photograph in PHOTOGRAPHS:
        with Image.open(locate(photograph)) as image:
            whole = image.convert("RGB")
        found.append(np.stack([_crop(whole, training, random) for _ in range(each)]))
    labels = np.tile(np.arange(len(PHOTOGRAPHS)), each)
    return np.stack(found, axis=1).reshape(-1, SIZE, SIZE, 3), labels


def _crop(photograph: Image.Image, training: bool, random: np.random.Generator) -> NDArray[np.uint8]:
    width, height = photograph.size
    border = round(BORDER * width)
    first, last = (0, border) if training else (border, width)
    side = min(round(random.uniform(*SIDES) * min(width, height)), last - first)
    left = int(random.integers(first, last - side, endpoint=True))
    top = int(random.integers(height - side, endpoint=True))
    # cropped before it is resized, so that nothing of the other part is in it
    crop = photograph.crop((left, top, left + side, top + side)).resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    pixels = np.asarray(crop)
    return pixels[:, ::-1] if random.random() < 0.5 else pixels


def tensors(each: int, *, training: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return crops as (images in [0, 1], labels)."""
    images, labels = crops(each, training=training)
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(255).contiguous(), torch.from_numpy(labels)

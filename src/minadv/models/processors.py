"""What an image processor of transformers does to colours: a normalisation, and nothing else."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from minadv.errors import first_line
from minadv.models import weights
from minadv.models.specs import Spec
from minadv.models.wrap import normalised

Moments = tuple[Sequence[float] | None, Sequence[float] | None]  # mean and std, or none

# What processors do to an image's geometry, which the caller's data have behind them.
GEOMETRY = ("do_resize", "do_center_crop", "do_pad")
TOLERANCE = 1e-3  # of inputs after normalisation: more is no rounding


def moments(spec: Spec, library: Any, config: Any, options: Mapping[str, Any]) -> Moments:
    """Return mean and std of a model's image processor, loaded with `options`.

    Raises:
        ValueError: there is none, or it does more to colours than normalise.
    """
    try:
        processor = library.AutoImageProcessor.from_pretrained(spec.name, **options)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{spec.text} has no image processor ({first_line(error)}), so its normalisation is not known; save "
            f"one beside it (preprocessor_config.json), or build the model with {weights.FACTORY}"
        ) from error
    channels = getattr(config, "num_channels", 3)
    mean, std = None, None
    if getattr(processor, "do_normalize", False):
        mean, std = (_per_channel(getattr(processor, f"image_{name}", None), channels) for name in ("mean", "std"))
    name = type(processor).__name__
    try:
        difference = _difference(processor, (mean, std), (channels, *_size(config)))
    except Exception as error:  # processors differ in what they refuse, and how
        raise ValueError(
            f"{spec.text}: its {name} cannot be compared with (inputs - mean) / std ({first_line(error)}), so "
            f"what the model needs is not known: build it with {weights.FACTORY}"
        ) from error
    if not difference <= TOLERANCE:
        raise ValueError(
            f"{spec.text}: its {name} does more than (inputs - mean) / std, with mean {mean} and std {std}, of "
            f"inputs in [0, 1], by up to {difference:.2g}: build it with {weights.FACTORY}, and all of that inside"
        )
    return mean, std


def _per_channel(value: Any, channels: int) -> Any:
    """Repeat a number that stands for all channels."""
    if isinstance(value, int | float):
        return (value,) * channels
    return tuple(value) * channels if value is not None and len(value) == 1 else value


def _size(config: Any) -> Sequence[int]:
    size = getattr(config, "image_size", None) or 224
    return (size, size) if isinstance(size, int) else size


def _difference(processor: Any, moments: Moments, shape: tuple[int, ...]) -> float:
    """Return how far what a processor makes of an image, geometry aside, is from its normalisation alone."""
    image = torch.randint(256, shape, dtype=torch.uint8)
    options = {name: False for name in GEOMETRY if hasattr(processor, name)}
    options |= {"input_data_format": "channels_first", "return_tensors": "pt"}
    given = processor(images=image.numpy(), **options)["pixel_values"]
    wanted = normalised(nn.Identity(), *moments)(image[None] / 255)
    return (given - wanted).abs().max().item() if given.shape == wanted.shape else torch.inf

"""Searches in lower precision than verification: what the model is shown, and how its answers are trusted.

Rounding moves the boundary, and a minimal adversarial sits on it: float32 would undo much of what is found. So
such a search demands more, by about what it rounds, and at the end each answer is moved along the line from its
original to where float32 has the boundary.
"""

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor

from minadv.bisection import bisect
from minadv.goals import Goal, Targeted, Untargeted
from minadv.logit_scale import deciding
from minadv.shapes import per_sample
from minadv.verification import PRECISIONS, Settings, classify, quantise

# Margins are wrong by about the unit roundoff times the larger of their two logits. Measured on five networks with
# four attacks: 47 to 95 % of the answers pass in float32 as they are, with one roundoff as handicap 83 to 100 %,
# with two 99 % and more, up to a tenth farther away. After the landing they are as near as those of float32
# searches.
ROUNDINGS = 2.0
# forwards of the landing
LOOKS = 8
# how far it may go, in lengths of the perturbation that was found: the distance is right to REACH / 2^LOOKS of it
REACH = 2.0
# float16 ends at 2^16: layers may multiply gradients that start here by so much
LARGEST_GRADIENT = 2.0**8
# gradients are scaled by no more, up or down
LARGEST_SCALE = 2.0**100


def check_passes(precision: str | None, channels_last: bool, inputs: Tensor) -> None:
    """Raise ValueError unless a model of these inputs can be searched in that precision and memory layout."""
    if precision is not None and precision not in PRECISIONS:
        known = ", ".join(map(repr, PRECISIONS))
        raise ValueError(f"precision must be None or one of {known}, got {precision!r}")
    if precision is not None and inputs.dtype != torch.float32:
        raise ValueError(
            f"precision={precision!r} is for inputs and models of float32, got {inputs.dtype}: leave it out, "
            "or use inputs.float() and model.float()"
        )
    if channels_last and inputs.ndim != 4:
        raise ValueError(
            "channels_last is for inputs of shape (batch, channels, height, width), got "
            f"{tuple(inputs.shape)}: leave it out"
        )


def called(model: Callable[[Tensor], Tensor], settings: Settings) -> Callable[[Tensor], Tensor]:
    """Return the model as its caller would call it: in their autocast, unless another precision is asked for."""
    if settings.autocast is None or settings.precision is not None:
        return model

    def look(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, settings.autocast):
            return model(x)

    return look


def searched(model: Callable[[Tensor], Tensor], settings: Settings) -> Callable[[Tensor], Tensor]:
    """Return the model as a search sees it, in the precision and memory layout that are asked for.

    `model` returns logits of its inputs' dtype (`guard.alike`), and so are gradients. Without either option it is
    `model` itself.
    """
    dtype, channels_last = settings.lower, settings.channels_last
    if dtype is None and not channels_last:
        return model

    def look(x: Tensor) -> Tensor:
        scales = _Scales() if dtype is torch.float16 else None
        if x.requires_grad and channels_last:
            x.register_hook(Tensor.contiguous)
        if x.requires_grad and scales is not None:
            x.register_hook(scales.restore)
        image = x.contiguous(memory_format=torch.channels_last) if channels_last else x
        with nullcontext() if dtype is None else torch.autocast(x.device.type, dtype):
            logits = model(image)
        if logits.requires_grad and scales is not None:
            logits.register_hook(scales.normalise)
        return logits

    return look


class _Scales:
    """Factors, one per sample, that keep gradients in the range of float16 on their way through the model."""

    def __init__(self) -> None:
        self._factors: Tensor | None = None

    def normalise(self, gradient: Tensor) -> Tensor:
        """Scale the gradient of the logits to `LARGEST_GRADIENT`."""
        largest = gradient.abs().amax(dim=1, keepdim=True)
        self._factors = (LARGEST_GRADIENT / largest).clamp(1 / LARGEST_SCALE, LARGEST_SCALE)
        return gradient * self._factors

    def restore(self, gradient: Tensor) -> Tensor:
        """Undo that in the gradient of the inputs."""
        return gradient if self._factors is None else gradient / per_sample(self._factors, gradient)


def handicap(goal: Goal, logits: Tensor, settings: Settings) -> Tensor | None:
    """Return what is added to the logits of a search in lower precision, (batch, classes); None for nothing.

    The label's logit is raised, a target's lowered, by `ROUNDINGS` unit roundoffs of the larger of the two logits
    that decide the sample's margin.

    Args:
        goal: of the attacked rows.
        logits: (batch, classes) of the clean images, in float32.
        settings: of the search.
    """
    if settings.lower is None:
        return None
    if isinstance(goal, Targeted):
        classes, sign = goal.targets, -1
    elif isinstance(goal, Untargeted):
        classes, sign = goal.labels, 1
    else:
        raise TypeError(f"precision={settings.precision!r} needs an Untargeted or Targeted goal, got {goal!r}")
    roundoff = torch.finfo(settings.lower).eps / 2
    logits = logits.detach()
    slack = sign * ROUNDINGS * roundoff * deciding(logits, goal.margin(logits))
    return torch.zeros_like(logits).scatter(1, classes[:, None], slack[:, None])


def land(
    model: Callable[[Tensor], Tensor], originals: Tensor, answers: Tensor, goal: Goal, settings: Settings
) -> Tensor:
    """Return each answer moved along the line from its original to the boundary (`LOOKS` forwards).

    Args:
        model: from inputs to logits, in full precision.
        originals: (batch, ...) images.
        answers: (batch, ...) what the search found.
        goal: of these rows.
        settings: of the search.
    """

    def at(share: Tensor) -> Tensor:
        moved = torch.lerp(originals, answers, per_sample(share, answers)).clamp(0, 1)
        return quantise(moved, settings.levels)

    def short(share: Tensor) -> Tensor:
        return ~(goal.margin(classify(model, at(share), settings), settings.confidence) < 0)

    nothing = torch.zeros_like(answers.flatten(1)[:, 0])
    return at(bisect(short, nothing, nothing + REACH, LOOKS)[1])


def search_budget(settings: Settings) -> int | None:
    """Return the propagations that are left for the search, after those of the landing."""
    if settings.budget is None or settings.lower is None:
        return settings.budget
    return max(settings.budget - LOOKS, 0)

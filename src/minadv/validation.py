"""Checks at the door: every error names the argument, what it got and what to do."""

import math
import warnings
from numbers import Integral

import torch
from torch import Tensor

from minadv.distances.checks import BRIGHTEST
from minadv.errors import RowError

# What a distance may be from an image to itself, relative to what it is far off: of √(Σδ² + ε), say.
NEARLY = 0.01
# What resizing and a few operations in half precision may take images out of [0, 1].
ROUNDING = 0.01
HALVES = (torch.bfloat16, torch.float16)
FLOATS = (*HALVES, torch.float64, torch.float32)


def check_inputs(inputs: object) -> Tensor:
    """Return `inputs` as a detached tensor if it is a batch of finite floats in [0, 1].

    Raises:
        TypeError: for anything but a floating-point tensor.
        ValueError: for a wrong rank, an empty batch, the meta device, NaN or values outside [0, 1].
    """
    if not isinstance(inputs, Tensor):
        raise TypeError(f"inputs must be a torch.Tensor, got {type(inputs).__name__}: use torch.as_tensor")
    if inputs.layout != torch.strided:
        raise TypeError(f"inputs must be a dense tensor, got layout {inputs.layout}: use inputs.to_dense()")
    if not inputs.is_floating_point():
        raise TypeError(
            f"inputs must be floating point in [0, 1], got dtype {inputs.dtype}: 8-bit images become inputs "
            "with images.float() / 255"
        )
    if inputs.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"inputs must be float32 or float64, got {inputs.dtype}: minimal perturbations are smaller than what "
            "half precision can tell apart; use inputs.float(), and cast inside a model of half precision"
        )
    if inputs.ndim < 2 or inputs.numel() == 0:
        raise ValueError(
            f"inputs must have shape (batch, ...) with at least one sample, got {tuple(inputs.shape)}: "
            "a single sample becomes a batch with inputs.unsqueeze(0)"
        )
    if inputs.is_meta:
        raise ValueError(
            "inputs must hold values, got a tensor on the meta device: make or load it on the device of the model"
        )
    inputs = inputs.detach()
    check_values("inputs", inputs)
    return inputs


def check_values(what: str, images: Tensor) -> None:
    """Raise ValueError unless floats are finite and in [0, 1], saying what to do about the others."""
    low, high = (bound.item() for bound in images.aminmax()) if images.numel() else (0.0, 1.0)
    if low >= 0 and high <= 1:
        return
    # all digits: what rounding makes of 1 looks like 1 otherwise
    got = "NaN" if low != low else f"values from {low} to {high}"
    if not (math.isfinite(low) and math.isfinite(high)):
        remedy = "leave these images out, or find out what made such values"
    elif low >= -ROUNDING and high <= 1 + ROUNDING:
        remedy = "rounding is undone by clamp(0, 1)"
    elif low >= 0 and BRIGHTEST < high <= 255:
        remedy = "divide by 255"
    else:
        remedy = "rescale the images, and put normalisation (mean and std) inside the model"
    raise ValueError(f"{what} must be finite and in [0, 1], got {got}: {remedy}")


def check_classes(name: str, classes: object, inputs: Tensor) -> Tensor:
    """Return `classes` if it is a (batch,) int64 tensor on the device of `inputs`.

    Raises:
        TypeError: for anything but an int64 tensor.
        ValueError: for another shape, device or negative values.
    """
    if not isinstance(classes, Tensor):
        remedy = f"torch.full(({len(inputs)},), {classes})" if isinstance(classes, Integral) else "torch.as_tensor"
        raise TypeError(f"{name} must be a torch.Tensor, got {type(classes).__name__}: use {remedy}")
    if classes.dtype != torch.int64:
        raise TypeError(f"{name} must be int64 class indices, got dtype {classes.dtype}: use {name}.long()")
    if classes.shape != inputs.shape[:1]:
        single = classes.ndim == 0 and inputs.ndim == 3
        remedy = f"inputs.unsqueeze(0) and {name}.unsqueeze(0)"
        raise ValueError(
            f"{name} must have shape ({len(inputs)},), one class index per input, got {tuple(classes.shape)}"
            + (f": a single image becomes a batch with {remedy}" if single else "")
        )
    check_device(name, classes.device, inputs)
    return classes.detach()


def check_device(what: str, device: torch.device, inputs: Tensor) -> None:
    """Raise ValueError unless `device` is that of `inputs`."""
    if device != inputs.device:
        raise ValueError(
            f"inputs are on {inputs.device} but {what} on {device}: move them to one device with .to(device)"
        )


def usable_device(device: torch.device | str, argument: str) -> torch.device:
    """Return the device that was asked for, by an argument that is written like "device={!r}".

    Raises:
        ValueError: when torch does not know it or cannot use it here.
    """
    try:
        found = torch.device(device)
        torch.empty(1, device=found)
    # torch asserts, when it was built without that device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"{argument.format(device)} cannot be used here ({error}): try {argument.format('cpu')}"
        ) from error
    return found


def tell_inputs(error: Exception, inputs: Tensor, rows: int) -> None:
    """Add to what a model raised which inputs it was given, as `rows` rows with the copies that fill them up."""
    filled = f", filled up with copies to {rows}" if rows > len(inputs) else ""
    error.add_note(
        f"the model was given {inputs.dtype} inputs of shape {tuple(inputs.shape)}, a batch of "
        f"{len(inputs)}{filled}: images must have the channels and the size that it takes, and a single "
        "image becomes a batch with inputs.unsqueeze(0)"
    )


def unlike(dtypes: set[torch.dtype], inputs: Tensor, error: RuntimeError) -> TypeError | None:
    """Explain what a model of parameters of these dtypes raised; None where it is not that inputs have another."""
    model = next((dtype for dtype in FLOATS if dtype in dtypes and dtype != inputs.dtype), None)
    # layers say "… must have the same dtype", "Input type … and weight type … should be the same" and the like
    if model is None or "type" not in str(error):
        return None
    remedy = f"use inputs.to({model}), or model.to({inputs.dtype}), e.g. in a model's factory"
    if model in HALVES:
        name = str(model).removeprefix("torch.")
        remedy = (
            f"cast inside it, e.g. lambda x: model(x.to({model})), or use model.float() and precision={name!r}"
        )
    return TypeError(f"inputs are {inputs.dtype} but the model is {model}, and does not cast them: {remedy}")


def check_range(name: str, classes: Tensor, count: int) -> None:
    """Raise ValueError unless every class index is in [0, count)."""
    bad = (classes < 0) | (classes >= count)
    if bad.any():
        rows = [int(row) for row in bad.nonzero()]
        given = int(classes[rows[0]])
        raise RowError(
            f"{name} must be in [0, {count}) for a model with {count} logits, got {given} at row ",
            rows,
            f": {name} are indices of the model's classes, counted from 0; leave samples of other classes out, or "
            "take the model of these classes",
            most=1,
        )


def check_targets(targets: Tensor, labels: Tensor) -> None:
    """Raise ValueError where a target is the label."""
    same = targets == labels
    if same.any():
        rows = [int(row) for row in same.nonzero()]
        raise RowError(
            f"targets must differ from labels, got class {int(targets[rows[0]])} for both at row ",
            rows,
            f" ({len(rows)} such rows): choose another class, e.g. (labels + 1) % classes, or leave these "
            "samples out: those with labels != targets are fine",
            most=1,
        )


def check_distance(name: str, own: Tensor, far: Tensor) -> None:
    """Raise ValueError unless distances of originals to themselves are nearly 0, beside those to `far` images."""
    bad = ~(own.abs() <= NEARLY * far.abs().nan_to_num(torch.inf, torch.inf)) | own.isinf()
    if bad.any():
        row = int(bad.nonzero()[0])
        raise ValueError(
            f"distance {name} must be finite, and 0 from an image to itself, got {own[row].item():.6g} there and "
            f"{far[row].item():.6g} far off for {int(bad.sum())} of {len(own)} originals: return what grows with "
            "the change"
        )


def check_independence(name: str, distance: float, again: float) -> None:
    """Raise ValueError unless an image's distance is nearly the same in another batch."""
    if abs(again - distance) > NEARLY * abs(distance):
        raise ValueError(
            f"distance {name} must be a sample's own, got {distance:.6g} for an image in its batch and "
            f"{again:.6g} in another, so that it depends on the batch, or is random: reduce over every "
            "axis but the first, e.g. .flatten(1).mean(dim=1)"
        )


def _remedy(output: Tensor) -> str:
    if not output.is_floating_point():
        return "return the logits, not the class that is the largest"
    if output.ndim == 4:
        return (
            "logits of every pixel, as for segmentation, become those of an image by, e.g., "
            "lambda x: model(x).mean(dim=(2, 3))"
        )
    if output.ndim == 1 or output.shape[1:] == (1,):
        return "a single logit z per input, of shape (batch,), becomes torch.stack((-z, z), dim=1)"
    return "wrap the model, so that it returns one row of logits for each input"


def check_logits(logits: Tensor, inputs: Tensor) -> None:
    """Check the model's output for the clean inputs.

    Raises:
        ValueError: unless it is (batch, classes ≥ 2), floating point and finite.

    Warns:
        UserWarning: when the rows look like probabilities.
    """
    batch = len(inputs)
    if logits.ndim != 2 or logits.shape[1] < 2 or not logits.is_floating_point():
        raise ValueError(
            f"model must return floating-point logits of shape ({batch}, classes ≥ 2), got {logits.dtype} "
            f"{tuple(logits.shape)}: {_remedy(logits)}"
        )
    if len(logits) != batch:
        raise ValueError(
            f"model returned {len(logits)} rows of logits for a batch of {batch} inputs: return one row for each "
            "input, e.g. by x.flatten(1) in place of a reshape that mixes images"
        )
    broken = ~logits.isfinite().all(dim=1)
    if broken.any():
        rows = [int(row) for row in broken.nonzero()]
        raise RowError(
            f"model returned NaN or infinite logits for {len(rows)} of {batch} inputs (rows ",
            rows,
            "): check the model's weights and its normalisation, or leave these samples out",
        )
    if (logits >= 0).all() and (logits.sum(dim=1) - 1).abs().max() < 1e-3:
        warnings.warn(
            "the model's outputs look like probabilities (each row is ≥ 0 and sums to 1): attacks need logits, "
            "take the softmax out of the model or return log-probabilities",
            UserWarning,
            stacklevel=5,
        )

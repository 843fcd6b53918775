"""The attacked model, left as it was: evaluation mode and frozen parameters during an attack, then restored."""

import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn

from minadv.distances.base import per_sample
from minadv.validation import check_device, check_dtype

Model = Callable[[Tensor], Any]

Precision = Literal["float32", "bfloat16", "float16"]
PRECISIONS: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

# float16 ends at 2^16: what the layers multiply gradients by must fit above this power of two
LARGEST_GRADIENT = 8
# gradients are scaled by no more, as powers of two end at 2^127 in float32
LARGEST_SCALE = 100


@contextmanager
def guarded(model: Model, inputs: Tensor) -> Generator[Callable[[Tensor], Tensor]]:
    """Yield `model` as a function from inputs to logits.

    Inside, gradients are on (whatever mode the caller is in), every submodule is in evaluation mode and no
    parameter requires a gradient; afterwards every flag is what it was. `.grad` is never touched.

    Raises:
        TypeError: for a model that cannot be called.
        ValueError: when the model's parameters are on another device than `inputs`.

    Warns:
        UserWarning: when a part of the model is in training mode.
    """
    if not callable(model):
        raise TypeError(f"model must be callable, from inputs to logits, got {type(model).__name__}")
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    parameters = list(model.parameters()) if isinstance(model, nn.Module) else []
    if parameters:
        check_device("the model's parameters", parameters[0].device, inputs)
        check_dtype(parameters[0].dtype, inputs)
    training = [module for module in modules if module.training]
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    if training:
        warnings.warn(
            f"the model is in training mode ({type(training[0]).__name__} and {len(training) - 1} more modules): "
            "it is attacked in evaluation mode and restored afterwards; call model.eval() to silence this",
            UserWarning,
            stacklevel=4,
        )
    try:
        for module in training:
            module.training = False
        for parameter in trainable:
            parameter.requires_grad_(False)
        with torch.inference_mode(False), torch.enable_grad():
            yield lambda x: logits_of(model(x))
    finally:
        for module in training:
            module.training = True
        for parameter in trainable:
            parameter.requires_grad_(True)


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


def searched(
    model: Callable[[Tensor], Tensor], dtype: torch.dtype | None, channels_last: bool
) -> Callable[[Tensor], Tensor]:
    """Return the model as a search sees it: with passes in lower precision, on images in another memory layout.

    Logits and gradients come back in the inputs' precision and layout.

    Args:
        model: from inputs to logits.
        dtype: bfloat16 or float16, for PyTorch's automatic mixed precision; None leaves the model's own.
        channels_last: for inputs (batch, channels, height, width).
    """
    if dtype is None and not channels_last:
        return model

    def look(x: Tensor) -> Tensor:
        scales = _Scales() if dtype is torch.float16 else None
        if x.requires_grad and channels_last:
            x.register_hook(Tensor.contiguous)
        if x.requires_grad and scales is not None:
            x.register_hook(scales.restore)
        laid_out = x.contiguous(memory_format=torch.channels_last) if channels_last else x
        with nullcontext() if dtype is None else torch.autocast(x.device.type, dtype):
            logits = model(laid_out)
        logits = logits.to(x.dtype)
        if logits.requires_grad and scales is not None:
            logits.register_hook(scales.normalise)
        return logits

    return look


class _Scales:
    """Powers of two, per sample, that keep gradients in the range of float16 on their way through the model."""

    def __init__(self) -> None:
        self._exponents: Tensor | None = None

    def normalise(self, gradient: Tensor) -> Tensor:
        """Scale the gradient of the logits to about `LARGEST_GRADIENT`."""
        exponents = gradient.abs().amax(dim=1, keepdim=True).frexp().exponent
        self._exponents = (LARGEST_GRADIENT - exponents).clamp(-LARGEST_SCALE, LARGEST_SCALE)
        return gradient.ldexp(self._exponents)

    def restore(self, gradient: Tensor) -> Tensor:
        """Undo that in the gradient of the inputs."""
        if self._exponents is None:
            return gradient
        return gradient.ldexp(-per_sample(self._exponents.flatten(), gradient))


def logits_of(output: Any) -> Tensor:
    """Return the logits of a model's output: a tensor, or an object with `.logits` (Hugging Face)."""
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor):
        raise TypeError(
            f"model must return a tensor of logits or an object with .logits, got {type(output).__name__}: "
            "wrap it, e.g. lambda x: model(x)[0]"
        )
    return logits

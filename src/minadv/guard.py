"""The attacked model, left as it was: evaluation mode and frozen parameters during an attack, then restored."""

import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from minadv.networks import networks
from minadv.validation import check_device, unlike

Model = Callable[[Tensor], Any]
BATCH_NORMS = nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm


@contextmanager
def guarded(model: Model, inputs: Tensor) -> Generator[Callable[[Tensor], Tensor]]:
    """Yield `model` as a function from inputs to logits.

    Inside, gradients are on (whatever mode the caller is in), every submodule is in evaluation mode and no
    parameter requires a gradient; afterwards every flag is what it was. `.grad` is never touched. In a model that
    is a function or an object, that holds for the modules that `networks` finds in it.

    Raises:
        TypeError: for a model that cannot be called, and, by the function, for one of another precision that does
            not cast its inputs.
        ValueError: when the model's parameters are on another device than `inputs`.

    Warns:
        UserWarning: when a part of the model is in training mode, or normalises by its batch.
    """
    check_callable(model)
    modules = modules_of(model)
    parameters = list({id(p): p for module in modules for p in module.parameters(recurse=False)}.values())
    # a function may call a module without values of its own with those of others (torch.func.functional_call)
    devices = {one.device for one in parameters if isinstance(model, nn.Module) or not one.is_meta}
    if len(devices) == 1:
        check_device("the model's parameters", devices.pop(), inputs)
    if any(parameter.is_inference() for parameter in parameters):
        raise ValueError(
            "the model's parameters were made under torch.inference_mode(), so that it cannot be differentiated: "
            "build, load or copy the model outside of it"
        )
    # a module that torch.jit.freeze made has no mode any more
    training = [module for module in modules if getattr(module, "training", False)]
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    if training:
        more = len(training) - 1
        others = f" and {more} more module{'s' * (more > 1)}" if more else ""
        warnings.warn(
            f"the model is in training mode ({type(training[0]).__name__}{others}): it is attacked in evaluation "
            "mode and restored afterwards; call model.eval() to silence this",
            UserWarning,
            stacklevel=4,
        )
    if by_batch(model):
        warnings.warn(
            "the model normalises by its batch (BatchNorm without running statistics): results are those of this "
            "batch as it is, and no sample's own",
            UserWarning,
            stacklevel=4,
        )
    try:
        for module in training:
            module.training = False
        for parameter in trainable:
            parameter.requires_grad_(False)
        with torch.inference_mode(False), torch.enable_grad():
            yield partial(_logits, model, {parameter.dtype for parameter in parameters})
    finally:
        for module in training:
            module.training = True
        for parameter in trainable:
            parameter.requires_grad_(True)


def check_callable(model: object) -> None:
    """Raise TypeError unless a model can be called, and is no class of models."""
    if isinstance(model, type):
        raise TypeError(
            f"model must be one that is built, got the class {model.__name__}: build it, {model.__name__}(...)"
        )
    if not callable(model):
        raise TypeError(f"model must be callable, from inputs to logits, got {type(model).__name__}")


def _logits(model: Model, dtypes: set[torch.dtype], x: Tensor) -> Tensor:
    try:
        return logits_of(model(x))
    except RuntimeError as error:
        # a forward may cast its input itself, so that only what it raises tells that it does not
        explained = unlike(dtypes, x, error)
        if explained is None:
            raise
        raise explained from error


def by_batch(model: Model) -> bool:
    """Whether a model normalises by its batch in evaluation mode, too, so that answers are the batch's."""
    return any(isinstance(module, BATCH_NORMS) and module.running_mean is None for module in modules_of(model))


def modules_of(model: Model) -> list[nn.Module]:
    """Return every module of a model, each once."""
    return list({id(module): module for network in networks(model) for module in network.modules()}.values())


def alike(logits: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return a function to logits of its inputs' dtype, whatever floating-point dtype the model computes in."""

    def look(x: Tensor) -> Tensor:
        found = logits(x)
        return found.to(x.dtype) if found.is_floating_point() else found

    return look


def logits_of(output: Any) -> Tensor:
    """Return the logits of a model's output: a tensor, or an object with `.logits` (Hugging Face)."""
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor):
        kind = type(output).__name__
        keys = list(cast("Mapping[object, object]", output if isinstance(output, Mapping) else {}))
        among = f" of {', '.join(map(repr, keys))}" if keys else ""
        part = "logits" if "logits" in keys else keys[0] if keys else 0
        several = bool(keys) or isinstance(output, tuple | list)
        remedy = f"wrap it, e.g. lambda x: model(x)[{part!r}]" if several else "return its logits from its forward"
        raise TypeError(
            f"model must return a tensor of logits or an object with .logits, got {kind}{among}: {remedy}"
        )
    return logits

"""Models of the user's own code: `python:package.module:factory`."""

from collections.abc import Callable
from contextlib import suppress
from inspect import signature
from typing import Any, cast

from torch import Tensor, nn

from minadv import importing
from minadv.models.specs import Spec
from minadv.models.wrap import Function


def load(spec: Spec) -> nn.Module:
    """Import the module, with the working directory on the path, and call the factory without arguments.

    An nn.Module in place of a factory is the model itself.

    Errors that the user's own code raises pass through as they are.

    Raises:
        ValueError: no such module, or no such attribute in it.
        TypeError: the factory cannot be called without arguments, or returns neither an nn.Module nor a callable.
    """
    name = spec.name.partition(":")[2]
    with importing.attribute(spec.text) as factory:
        if isinstance(factory, nn.Module):
            return factory
        if not callable(factory):
            raise TypeError(
                f"{spec.text}: {name} is {importing.kind(factory)}; needed is a function that builds the model"
            )
        _check_signature(factory, spec)
        model: Any = factory()
    if isinstance(model, nn.Module):
        return model
    if callable(model):
        return Function(cast("Callable[[Tensor], Tensor]", model))
    raise TypeError(
        f"{spec.text}: {name}() returned {importing.kind(model)}; needed is an nn.Module or a callable"
    )


def _check_signature(factory: Callable[..., Any], spec: Spec) -> None:
    with suppress(ValueError):  # built-in functions may have none
        try:
            signature(factory).bind()
        except TypeError as error:
            raise TypeError(f"{spec.text} is called without arguments, to build the model: {error}") from error

"""What a distance is: a value per sample, and everything that depends on the original computed once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from minadv.distances.checks import check_pair
from minadv.distances.portions import Rows, by_parts, few
from minadv.masks import possibly_broken
from minadv.shapes import Batch, PerSample, per_sample

# A user's distance is differentiated for so many entries at a time on a CPU: autograd may keep many times as much.
ENTRIES = 2**18


@runtime_checkable
class Anchored(Protocol):
    """Distance to fixed originals."""

    def __call__(self, x: Batch) -> PerSample:
        """Distance of each row of `x` to its original."""
        ...

    def value_and_gradient(self, x: Batch) -> tuple[PerSample, Batch]:
        """Return the distances and their (finite) gradients with respect to `x`, without a graph."""
        ...


@runtime_checkable
class Selectable(Anchored, Protocol):
    """Anchored distance that can leave originals out."""

    def select(self, rows: Tensor) -> "Selectable":
        """Return the distance to the originals of the given rows (indices)."""
        ...


@runtime_checkable
class Curved(Anchored, Protocol):
    """Anchored distance that knows how steeply it rises from its originals in each entry."""

    def curvature(self) -> Batch:
        """Diagonal of the Hessian at the originals."""
        ...


@runtime_checkable
class Distance(Protocol):
    """A distance between images (batch, ...) in [0, 1]; `name` labels it in every output."""

    @property
    def name(self) -> str:
        """Short label, with the options that change its numbers."""
        ...

    def __call__(self, x: Batch, x0: Batch) -> PerSample:
        """Distance of each row of `x` to the same row of `x0`."""
        ...

    def anchored(self, x0: Batch) -> Anchored:
        """Return the distance to `x0` with everything that depends on `x0` alone computed once."""
        ...


@dataclass(frozen=True, eq=False)
class ByAutograd:
    """Anchored distance whose gradient comes from autograd.

    `value(x, rows)` is the distance of the given rows of originals to as many images `x`.
    """

    value: Callable[[Batch, Rows], PerSample]

    def __call__(self, x: Batch) -> PerSample:
        """Distance of each row of `x` to its original."""
        return self.value(x, slice(None))

    def value_and_gradient(self, x: Batch) -> tuple[PerSample, Batch]:
        """Return the distances and their gradients."""

        def measure(some: Batch, rows: Rows) -> tuple[PerSample, Batch]:
            return differentiated(some, lambda leaf: self.value(leaf, rows))

        return by_parts(measure, x, few(x, ENTRIES))

    def select(self, rows: Tensor) -> "ByAutograd":
        """Return the distance to the originals of the given rows (indices)."""
        return ByAutograd(lambda x, some: self.value(x, rows[some]))


@dataclass(frozen=True, eq=False)
class Reanchored:
    """A user's anchored distance, with what it lacks: a gradient by autograd, and anchoring again to select."""

    anchored: Callable[[Batch], PerSample]
    distance: Distance
    x0: Tensor

    def __call__(self, x: Batch) -> PerSample:
        """Distance of each row of `x` to its original."""
        return self.anchored(x)

    def value_and_gradient(self, x: Batch) -> tuple[PerSample, Batch]:
        """Return the distances and their gradients."""
        own = getattr(self.anchored, "value_and_gradient", None)
        if own is None:
            return differentiated(x, self.anchored)
        value, gradient = own(x)
        return value, finite(gradient)

    def select(self, rows: Tensor) -> "Reanchored":
        """Return the distance to the originals of the given rows."""
        return Reanchored(self.distance.anchored(self.x0[rows]), self.distance, self.x0[rows])


@dataclass(frozen=True)
class Custom:
    """A user's function `(x, x0) -> (batch,)` as a distance."""

    function: Callable[[Tensor, Tensor], Tensor]

    @property
    def name(self) -> str:
        """Name of the function or of its class."""
        return getattr(self.function, "__name__", None) or type(self.function).__name__

    def __call__(self, x: Batch, x0: Batch) -> PerSample:
        """Distance of each row of `x` to the same row of `x0`.

        Raises:
            TypeError: unless the function returns a tensor.
            ValueError: unless it is one value per sample, and the images are what they were.
        """
        check_pair(self.name, x, x0)
        before = versions(x, x0)
        value = cast("object", self.function(x, x0))
        if versions(x, x0) != before:
            raise ValueError(f"distance {self.name} changed its images in place: clone them first, or use x - x0")
        if not isinstance(value, Tensor):
            raise TypeError(
                f"distance {self.name} must return a tensor of shape ({len(x)},), got {type(value).__name__}"
            )
        if value.shape != x.shape[:1]:
            raise ValueError(
                f"distance {self.name} must return one value per sample, shape ({len(x)},), "
                f"got {tuple(value.shape)}: sum over every axis but the first"
            )
        if x.requires_grad and torch.is_grad_enabled() and not value.requires_grad:
            raise ValueError(f"distance {self.name} must be differentiable: its value has no gradient to x")
        return value.to(x.dtype)

    def anchored(self, x0: Batch) -> ByAutograd:
        """Return the distance to `x0`; nothing is known to depend on `x0` alone."""
        return ByAutograd(lambda x, rows: self(x, x0[rows]))


def differentiated(x: Batch, value: Callable[[Batch], PerSample]) -> tuple[PerSample, Batch]:
    """Return values and their gradients by autograd."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        found = value(leaf)
        (gradient,) = torch.autograd.grad(found.sum(), leaf)
    return found.detach(), finite(gradient)


def finite(gradient: Tensor) -> Tensor:
    """Return a gradient with 0 for what is NaN or infinite, as that of √Σδ² is at the original."""
    return gradient.nan_to_num(0, 0, 0) if possibly_broken(gradient) else gradient


def differentiable(anchored: "Closed", x: Batch) -> PerSample:
    """Distances of `x` as part of the caller's graph (once differentiable), where the caller keeps one."""
    if torch.is_grad_enabled() and x.requires_grad:
        return cast("Tensor", _ClosedForm.apply(x, anchored))
    return anchored.value(x)


class Closed(Anchored, Protocol):
    """Anchored distance with a gradient in closed form."""

    def value(self, x: Batch) -> PerSample:
        """Return the distances, without a graph."""
        ...


class _ClosedForm(torch.autograd.Function):
    """A distance's own gradient as a node of autograd's graph."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, anchored: Closed) -> Tensor:
        """Compute value and gradient together, and keep the gradient."""
        value, gradient = anchored.value_and_gradient(x)
        ctx.save_for_backward(gradient)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride] decorated
        """Scale the gradient of each sample."""
        (gradient,) = ctx.saved_tensors
        return per_sample(grad_outputs[0], gradient) * gradient, None


def safe_sqrt(u: Tensor) -> Tensor:
    """√u for u ≥ 0 with gradient 0 (instead of ∞) where u is 0; rounding below 0 counts as 0."""
    positive = u > 0
    return torch.where(positive, u, 1.0).sqrt() * positive


def versions(*tensors: Tensor) -> list[int]:
    """Return what rises when a tensor is changed in place; nobody counts that of inference tensors."""
    return [0 if tensor.is_inference() else tensor._version for tensor in tensors]

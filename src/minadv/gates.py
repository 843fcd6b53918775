"""Backward passes through soft gates: what ReLUs would let pass if they were nearly on, or nearly off.

A ReLU that is off passes no gradient, however near it is to being on. Networks that were trained so that small
changes change nothing have most of them off around an image: their gradients are masked, and tell little of what
happens a bit farther away. Inside `SoftGates`, forward passes are what they were, to the bit, and in backward
passes the step 1[x > 0] is replaced by one of a width w, relative to the layer's largest entry in that sample:

    ½ + ½ · x / (|x| + w · max |x|).

Substitutes for what a backward pass cannot see are known from attacks on gradients that a defence has broken
(BPDA; A. Athalye et al., *Obfuscated Gradients*, ICML 2018), and smooth ones of ReLU from attacks that are to
transfer.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch._C import _are_functorch_transforms_active  # pyright: ignore[reportPrivateUsage] there is no other way
from torch.compiler import is_compiling
from torch.nn.functional import relu
from torch.overrides import TorchFunctionMode

from minadv.masks import possibly_any, possibly_broken
from minadv.shapes import per_sample

PURE = {torch.relu, Tensor.relu}
IN_PLACE = {torch.relu_, Tensor.relu_}
DIFFERENTIATING: set[Callable[..., Any]] = {torch.autograd.grad, torch.autograd.backward, Tensor.backward}
# What a user is told then.
KEPT = (
    "some ReLUs of the model keep their own gates in backward passes, as their first axis is not the batch (it is "
    "taken in parts, or tokens come first) or they are inside torch.vmap or torch.func: answers may be farther "
    "than through soft gates, and differ between sizes of the batch"
)


class SoftGates(TorchFunctionMode):
    """A context in which the ReLUs of any model that is called have soft gates in its backward pass.

    That is `relu` of torch, its functional and module forms, in place or not. Layers whose first axis is not the
    batch, those inside `torch.vmap` and `torch.func`, and models that torch does not run call by call (scripted,
    traced) keep the gates that they have; so does a gradient that the model takes itself in its forward pass.

    Attributes:
        kept: whether a ReLU kept its gates for its first axis or a transformation.
    """

    def __init__(self, widths: Tensor) -> None:
        """`widths`: (batch,) of each sample's gates, relative to a layer's largest entry; 0 for hard ones."""
        super().__init__()
        self._widths, self._hard = widths, possibly_any(widths == 0)
        self._within = False
        self.kept = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call what the model calls, or our own where that is a ReLU."""
        named = dict(kwargs or {})
        if func in DIFFERENTIATING:
            return self._differentiate(func, args, named)
        if func not in PURE and func not in IN_PLACE and func is not relu:
            return func(*args, **named)
        x = args[0] if args else named["input"]
        transformed = _are_functorch_transforms_active()  # then even what requires a gradient may not say so
        if not (transformed or x.requires_grad) or not torch.is_grad_enabled() or not x.numel():
            return func(*args, **named)
        if transformed or x.ndim < 2 or len(x) != len(self._widths):
            self.kept |= transformed or (x.ndim > 0 and len(x) != len(self._widths))
            return func(*args, **named)
        sides = sides_of(x.detach(), self._widths, self._hard)
        if func in PURE or not (func in IN_PLACE or named.get("inplace", False) or args[1:2] == (True,)):
            return _Gated.apply(x, sides, self, False)
        # torch cannot differentiate a function of our own that works in place on a part of another tensor
        return x.copy_(_Gated.apply(x, sides, self, False)) if x._is_view() else _Gated.apply(x, sides, self, True)

    def gates(self, sides: Tensor) -> Tensor:
        """Return how far gates are open: hard ones while the model differentiates, as values depend on that."""
        return (sides > 0).to(sides.dtype) if self._within else opened(sides)

    def _differentiate(self, func: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        self._within = True
        try:
            return func(*args, **named)
        finally:
            self._within = False


def sides_of(x: Tensor, widths: Tensor, hard: bool = True) -> Tensor:
    """Return how far on, 1, or off, −1, ReLUs of `x` are, (batch, ...); `hard` where a width may be 0."""
    size = x.abs()
    largest = size.flatten(1).amax(dim=1)
    # as where a model leaves entries out by −∞; a compiler cannot ask
    unbounded = not is_compiling() and possibly_any(largest.isinf())
    if unbounded:
        largest = size.masked_fill(size.isinf(), 0).flatten(1).amax(dim=1)
    width = per_sample(widths.to(x.dtype) * largest, x).clamp_min(torch.finfo(x.dtype).tiny)
    soft = torch.div(x, size.add_(width), out=size)
    if unbounded:
        soft = torch.where(x.isinf(), x.sign(), soft)
    return torch.where(per_sample(widths > 0, x), soft, (x > 0).to(x.dtype).mul_(2).sub_(1)) if hard else soft


def opened(sides: Tensor) -> Tensor:
    """Return how far gates are open, in [0, 1]."""
    return sides.add(1).mul_(0.5)


class _Gated(torch.autograd.Function):
    """ReLU whose gradient is multiplied by its gates."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, sides: Tensor, within: SoftGates, in_place: bool) -> Tensor:
        """Return the ReLU of `x`, in its memory if that is asked for."""
        # two tensors, where a ReLU saves one: torch then notices where a backward pass makes this again as a ReLU
        # (`torch.utils.checkpoint`), and does not take its output for gates
        ctx.save_for_backward(sides, sides.new_empty(0))
        ctx.within = within
        if not in_place:
            return torch.relu(x)
        ctx.mark_dirty(x)
        return torch.relu_(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Multiply the gradient by the gates; one that is none ends where ReLUs are off, as it does in torch."""
        sides, _ = ctx.saved_tensors
        passed = grad_outputs[0] * ctx.within.gates(sides)
        if is_compiling() or possibly_broken(passed):
            passed = torch.where((sides > 0) | passed.isfinite(), passed, 0.0)
        return passed, None, None, None

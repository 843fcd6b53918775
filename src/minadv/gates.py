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
from torch.autograd.function import FunctionCtx
from torch.nn.functional import relu
from torch.overrides import TorchFunctionMode

from minadv.masks import possibly_any
from minadv.shapes import per_sample

PURE = {torch.relu, Tensor.relu}
IN_PLACE = {torch.relu_, Tensor.relu_}


class SoftGates(TorchFunctionMode):
    """A context in which the ReLUs of any model that is called have soft gates in its backward pass.

    That is `relu` of torch, its functional and module forms, in place or not. Models that torch does not run call
    by call (scripted, traced) and layers whose first axis is not the batch keep the gates that they have.
    """

    def __init__(self, widths: Tensor) -> None:
        """`widths`: (batch,) of each sample's gates, relative to a layer's largest entry; 0 for hard ones."""
        super().__init__()
        self._widths, self._hard = widths, possibly_any(widths == 0)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call what the model calls, or our own where that is a ReLU."""
        named = dict(kwargs or {})
        if func not in PURE and func not in IN_PLACE and func is not relu:
            return func(*args, **named)
        x = args[0] if args else named["input"]
        in_place = func in IN_PLACE or (func is relu and (named.get("inplace", False) or args[1:2] == (True,)))
        usual = not x.requires_grad or not torch.is_grad_enabled() or (in_place and x._is_view())
        if usual or x.ndim < 2 or len(x) != len(self._widths):
            return func(*args, **named)
        return _Gated.apply(x, gates(x.detach(), self._widths, self._hard), in_place)


def gates(x: Tensor, widths: Tensor, hard: bool = True) -> Tensor:
    """Return how far each gate is open, in [0, 1], like `x`, (batch, ...); `hard` where a width may be 0."""
    size = x.abs()
    width = per_sample(widths.to(x.dtype) * size.flatten(1).amax(dim=1), x).clamp_min(torch.finfo(x.dtype).tiny)
    soft = torch.div(x, size.add_(width), out=size).add_(1).mul_(0.5)
    return torch.where(per_sample(widths > 0, x), soft, (x > 0).to(x.dtype)) if hard else soft


class _Gated(torch.autograd.Function):
    """ReLU whose gradient is multiplied by given gates."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, gates: Tensor, in_place: bool) -> Tensor:
        """Return the ReLU of `x`, in its memory if that is asked for."""
        # two tensors, where a ReLU saves one: torch then notices where a backward pass makes this again as a ReLU
        # (`torch.utils.checkpoint`), and does not take its output for gates
        ctx.save_for_backward(gates, gates.new_empty(0))
        if not in_place:
            return torch.relu(x)
        ctx.mark_dirty(x)
        return torch.relu_(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Multiply the gradient by the gates."""
        opened, _ = ctx.saved_tensors
        return grad_outputs[0] * opened, None, None

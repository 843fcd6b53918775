"""Rows of a mask, without waiting for a device and without passes over memory that change nothing.

On a CPU the host has a mask's values as soon as they exist, and asking saves whole passes; on an accelerator
asking would wait for everything queued before, where a pass costs little.
"""

import math

import torch
from torch import Tensor

from minadv import host
from minadv.shapes import per_sample


def possibly_any(mask: Tensor) -> bool:
    """Whether the mask holds a True; always, where the answer is not to be had for free."""
    return not host.has(mask) or bool(mask.any())


def broken(values: Tensor) -> Tensor:
    """Which values are NaN or infinite (`isfinite` takes twice as many operations)."""
    return (values - values) != 0


def possibly_broken(values: Tensor) -> bool:
    """Whether a value is NaN or infinite; always, where the answer is not to be had for free."""
    return not host.has(values) or not math.isfinite(values.sum().item())


def clear(whole: Tensor, rows: Tensor) -> Tensor:
    """`whole` (batch, ...) with zeros in the masked rows (batch,), even where it is not finite."""
    return whole.masked_fill(per_sample(rows, whole), 0) if possibly_any(rows) else whole


def overwrite(whole: Tensor, rows: Tensor, others: Tensor) -> None:
    """Copy the masked rows of `others` into `whole`, in place."""
    if host.has(rows):
        index = torch.nonzero(rows).flatten()
        if not len(index):
            return
        whole.index_copy_(0, index, others.index_select(0, index))
    else:
        torch.where(per_sample(rows, whole), others, whole, out=whole)


def or_else(logits: Tensor, others: Tensor | None) -> Tensor:
    """Replace rows that hold NaN or +∞ by the rows of `others`, or by zeros (no class wins)."""
    unusable = ~(logits.detach().amax(dim=1, keepdim=True) < torch.inf)
    if not possibly_any(unusable):
        return logits
    return torch.where(unusable, torch.zeros_like(logits) if others is None else others, logits)

"""A part of the batch at a time, on a CPU: what a distance needs in between can take many times a batch's memory.

Parts are multiples of 4, for the sake of equal rounding. On an accelerator the batch stays whole.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Rows = slice | Tensor


def few(x: Tensor, entries: int) -> int:
    """How many images (a multiple of 4) have about so many entries together."""
    return max(entries // x[0].numel() // 4 * 4, 4) if len(x) else 4


def portions(x: Tensor, entries: int) -> list[Tensor]:
    """Row numbers in parts of about so many entries."""
    size = few(x, entries) if x.device.type == "cpu" else max(len(x), 1)
    return [torch.arange(len(x), device=x.device)[start : start + size] for start in range(0, len(x), size)]


def by_parts(
    measure: Callable[[Tensor, Rows], tuple[Tensor, Tensor]], x: Tensor, at_a_time: int
) -> tuple[Tensor, Tensor]:
    """Values and gradients `measure(x, rows)` of all rows, in parts of about equal size, at most `at_a_time`."""
    if len(x) <= at_a_time or x.device.type != "cpu":
        return measure(x, slice(None))
    size = 4 * math.ceil(len(x) / math.ceil(len(x) / at_a_time) / 4)
    rows = [slice(start, start + size) for start in range(0, len(x), size)]
    value, gradient = measure(x[rows[0]], rows[0])
    values, gradients = value.new_empty(len(x)), gradient.new_empty(len(x), *gradient.shape[1:])
    for some in rows:
        if some.start:
            value, gradient = measure(x[some], some)
        values[some], gradients[some] = value, gradient
    return values, gradients

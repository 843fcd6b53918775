"""Elementwise functions whose rounding does not depend on where in a batch a sample stands.

CPU kernels compute most of a tensor with vector instructions and its tail with others, which round
transcendental functions differently in the last bit. A search amplifies that.
"""

from collections.abc import Callable

from torch import Tensor

# entries of the widest vector registers, in float32
LANES = 16


def steady(function: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """Apply a function to (batch,) values, each of which fills a whole vector register."""
    return function(values[:, None].expand(-1, LANES).contiguous())[:, 0]

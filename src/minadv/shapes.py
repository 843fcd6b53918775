"""Shapes that batches and per-sample values share."""

from jaxtyping import Float
from torch import Tensor

Batch = Float[Tensor, "batch ..."]
PerSample = Float[Tensor, " batch"]


def per_sample(values: Tensor, like: Tensor) -> Tensor:
    """Give (batch,) values trailing singleton axes, to broadcast over tensors shaped like `like`."""
    return values.reshape(-1, *(1,) * (like.ndim - 1))

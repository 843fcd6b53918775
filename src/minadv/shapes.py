"""Shapes that batches and per-sample values share."""

from torch import Tensor


def per_sample(values: Tensor, like: Tensor) -> Tensor:
    """Give (batch,) values trailing singleton axes, to broadcast over tensors shaped like `like`."""
    return values.reshape(-1, *(1,) * (like.ndim - 1))

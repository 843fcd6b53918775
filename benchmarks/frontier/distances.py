"""Distances as a user might write them, by `python:benchmarks.frontier.distances:blurred`.

All take two batches of images (batch, channels, height, width) in [0, 1] and return one value per sample.
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d


def weighted(x: Tensor, x0: Tensor) -> Tensor:
    """ℓ2 whose entries count differently: a tenth in the first of them, twice in the last."""
    weights = torch.linspace(0.1, 2, x0[0].numel(), dtype=x.dtype, device=x.device)
    return _length((x - x0).flatten(1) * weights)


def power(x: Tensor, x0: Tensor) -> Tensor:
    """ℓ1.5, between ℓ1 and ℓ2."""
    return ((x - x0).flatten(1).abs() + 1e-12).pow(1.5).sum(dim=1).pow(2 / 3)


def differences(x: Tensor, x0: Tensor) -> Tensor:
    """ℓ2 of the change of neighbours' differences, a gradient-domain distance: smooth changes are nearly free."""
    delta = x - x0
    parts = (delta.diff(dim=-2).flatten(1), delta.diff(dim=-1).flatten(1), 0.1 * delta.flatten(1))
    return _length(torch.cat(parts, dim=1))


def blurred(x: Tensor, x0: Tensor) -> Tensor:
    """ℓ2 of the change as seen from afar, means of 3×3 entries, and a little of the change itself."""
    delta = x - x0
    parts = (avg_pool2d(delta, 3, stride=1, padding=1).flatten(1), 0.2 * delta.flatten(1))
    return _length(torch.cat(parts, dim=1))


def _length(x: Tensor) -> Tensor:
    return (x.square().sum(dim=1) + 1e-12).sqrt()

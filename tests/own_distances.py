"""Distances of a caller's own, and what a search knows of a point."""

import torch
from torch import Tensor

from minadv.probe import Probe


def weighted(x: Tensor, x0: Tensor) -> Tensor:
    """ℓ2 whose entries count differently."""
    return ((x - x0).flatten(1) * torch.linspace(0.2, 2, x[0].numel())).norm(dim=1)


def differences(x: Tensor, x0: Tensor) -> Tensor:
    """Change of neighbouring differences: smooth changes are nearly free."""
    d = x - x0
    rows, columns = d[..., 1:, :] - d[..., :-1, :], d[..., 1:] - d[..., :-1]
    squares = rows.square().flatten(1).sum(1) + columns.square().flatten(1).sum(1)
    return (squares + 1e-2 * d.square().flatten(1).sum(1) + 1e-12).sqrt()


def probe_at(x: Tensor, slope: Tensor, distance: Tensor) -> Probe:
    return Probe(x, torch.zeros(len(x), 3), torch.ones(len(x), dtype=torch.bool), distance, slope, x)

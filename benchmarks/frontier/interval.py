"""Interval bound propagation: what logits can be when every input entry is anywhere between two numbers."""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, cross_entropy, linear, one_hot


def bounds(network: nn.Module, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Return lower and upper bounds (batch, classes) of the logits over the box [low, high].

    Raises:
        TypeError: for a layer other than Conv2d, Linear, ReLU and Flatten.
    """
    for layer in network if isinstance(network, nn.Sequential) else (network,):
        if isinstance(layer, nn.ReLU | nn.Flatten):
            low, high = layer(low), layer(high)
        elif isinstance(layer, nn.Linear | nn.Conv2d):
            middle, radius = layer((low + high) / 2), (high - low) / 2
            if isinstance(layer, nn.Linear):
                radius = linear(radius, layer.weight.abs())
            else:
                radius = conv2d(radius, layer.weight.abs(), None, layer.stride, layer.padding)
            low, high = middle - radius, middle + radius
        else:
            raise TypeError(f"bounds are known of Conv2d, Linear, ReLU and Flatten, got {type(layer).__name__}")
    return low, high


def worst(network: nn.Module, x: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    """Return logits (batch, classes) at their worst within ℓ∞ `epsilon`: least of the label, most of others."""
    low, high = bounds(network, (x - epsilon).clamp(0, 1), (x + epsilon).clamp(0, 1))
    own = one_hot(labels, low.shape[1]).bool()
    return torch.where(own, low, high)


def loss(network: nn.Module, x: Tensor, labels: Tensor, epsilon: float, share: float) -> Tensor:
    """Return a blend of the ordinary loss and, by `share`, the loss of the worst logits."""
    ordinary = cross_entropy(network(x), labels)
    return (1 - share) * ordinary + share * cross_entropy(worst(network, x, labels, epsilon), labels)


@torch.no_grad()
def certified(network: nn.Module, x: Tensor, labels: Tensor, epsilon: float) -> float:
    """Return the share of images whose label no point within ℓ∞ `epsilon` can change."""
    return (worst(network, x, labels, epsilon).argmax(1) == labels).float().mean().item()

"""Small real models for tests: linear with a known answer, smooth with known gradients, convolutional."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from minadv.projections import hyperplane_box


class Linear(nn.Module):
    """z = W·x + b on flattened inputs: minimal perturbations are known in closed form."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.layer = nn.Linear(weight.shape[1], weight.shape[0]).to(weight.dtype)
        self.layer.load_state_dict({"weight": weight, "bias": bias})

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(entries: int, classes: int = 4, seed: int = 0, dtype: torch.dtype = torch.float32) -> Linear:
    g = generator(seed)
    weight = torch.randn(classes, entries, generator=g, dtype=torch.float64) / entries**0.5
    # centred, so that samples around 0.5 get every class
    bias = -0.5 * weight.sum(dim=1) + 0.05 * torch.randn(classes, generator=g, dtype=torch.float64)
    return Linear(weight.to(dtype), bias.to(dtype)).eval()


def convolutional(channels: int = 3, classes: int = 5, seed: int = 0) -> nn.Module:
    """Random weights, with logits centred and scaled so that images get different classes by clear margins."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [
            nn.Conv2d(channels, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * 16, classes),
        ]
    model, last = nn.Sequential(*layers).eval(), layers[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        logits = model(images(64, channels, seed=99))
        last.weight /= logits.std()
        last.bias.copy_((last.bias - logits.mean(dim=0)) / logits.std())
    return model


def images(
    count: int, channels: int = 3, side: int = 16, seed: int = 1, dtype: torch.dtype = torch.float32
) -> Tensor:
    return torch.rand(count, channels, side, side, generator=generator(seed), dtype=dtype)


def with_absent_classes(logits: Tensor) -> Tensor:
    """Add two classes that are masked, as models do with those that a task does not have."""
    return nn.functional.pad(logits, (0, 2), value=-1e9)


def predictions(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x).argmax(dim=1)


def exact(model: Linear, x: Tensor, labels: Tensor, distance: str) -> Tensor:
    """(batch, classes) distance to every boundary of a linear model inside the box; inf at the label."""
    weight, z = model.layer.weight.detach(), model(x).detach()
    found = torch.full_like(z, math.inf)
    for shift in range(1, z.shape[1]):
        k = (labels + shift) % z.shape[1]
        w = (weight[k] - weight[labels]).reshape(x.shape)
        gap = (z.gather(1, labels[:, None]) - z.gather(1, k[:, None])).squeeze(1)
        if distance == "l0":
            gains = (w * torch.where(w > 0, 1 - x, -x)).flatten(1).sort(dim=1, descending=True).values
            size = (gains.cumsum(dim=1) < gap[:, None]).sum(dim=1) + 1.0
        else:
            p = {"l1": 1.0, "l2": 2.0, "linf": math.inf}[distance]
            plane = (w * x).flatten(1).sum(dim=1) + gap
            size = hyperplane_box(x, w, plane, p).flatten(1).norm(p=p, dim=1)
        found.scatter_(1, k[:, None], size[:, None])
    return found


def smooth(entries: int, classes: int = 4, hidden: int = 12, seed: int = 0, lift: float = 0) -> nn.Sequential:
    """z = V·tanh(W·x + b) + c on flattened inputs, in float64: curved boundaries, and gradients in one line."""
    g = generator(seed)
    with torch.random.fork_rng():
        first, last = nn.Linear(entries, hidden).double(), nn.Linear(hidden, classes).double()
    for layer, scale in ((first, 2.0), (last, 1.0)):
        weight = scale * torch.randn(layer.weight.shape, generator=g, dtype=torch.float64)
        weight /= layer.in_features**0.5
        layer.load_state_dict({"weight": weight, "bias": -0.5 * weight.sum(dim=1)})
    model = nn.Sequential(nn.Flatten(), first, nn.Tanh(), last).eval()
    with torch.no_grad():  # centred, so that samples around 0.5 get every class
        last.bias.sub_(model(torch.rand(256, entries, generator=g, dtype=torch.float64)).mean(dim=0))
        last.bias[0].add_(lift)  # to where the first class is the only one
    return model


def logits_and_gradients(model: nn.Sequential, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """z and ∂z/∂x, (classes, entries), of a `smooth` model at one flat image, without torch."""
    (W, b), (V, c) = (tuple(p.detach().numpy() for p in model[layer].parameters()) for layer in (1, 3))
    a = np.tanh(W @ x + b)
    return V @ a + c, V @ ((1 - a**2)[:, None] * W)


class Masked(nn.Module):
    """A network whose first layer is off wherever an entry is between 0.37 and 0.63: its gradients are masked."""

    def __init__(self) -> None:
        super().__init__()
        g = generator(7)
        self.first, self.last = torch.randn(60, 49, generator=g) / 7, torch.randn(4, 60, generator=g)

    def forward(self, x: Tensor) -> Tensor:
        apart = nn.functional.relu(torch.cat((x - 0.63, 0.37 - x), dim=1).flatten(1))
        moved = apart[:, :49] - apart[:, 49:]
        hidden = nn.functional.relu(moved @ self.first.T)
        return hidden @ self.last.T + torch.tensor([0.4, 0.0, 0.0, 0.0])

"""Small models that `train` writes, as model specs: `python:benchmarks.frontier.models:digits_mlp`.

Weights are looked for in $MINADV_FRONTIER_MODELS, by default runs/frontier/models below the working directory.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from minadv.models import weights
from minadv.models.architectures.demo import DemoNet

VARIABLE, FOLDER = "MINADV_FRONTIER_MODELS", Path("runs/frontier/models")


def folder() -> Path:
    return Path(os.environ.get(VARIABLE) or FOLDER)


def mlp() -> nn.Sequential:
    """Build three linear layers for 8×8 grey images."""
    layers = (nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
    return nn.Sequential(nn.Flatten(), *layers)


def cnn() -> nn.Sequential:
    """Build two convolutions and two linear layers for 8×8 grey images."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 4 * 32, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def pooled() -> nn.Sequential:
    """Build four convolutions, two poolings and two linear layers for 28×28 grey images."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(4 * 4 * 32, 100), nn.ReLU(), nn.Linear(100, 10)),
    )


def strided() -> nn.Sequential:
    """Build two convolutions and two linear layers for 28×28 grey images."""
    return nn.Sequential(
        *(
            nn.Conv2d(1, 16, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 4, stride=2, padding=1),
            nn.ReLU(),
        ),
        *(nn.Flatten(), nn.Linear(7 * 7 * 32, 100), nn.ReLU(), nn.Linear(100, 10)),
    )


class Residual(nn.Module):
    """Two convolutions with batch normalisation and SiLU, beside a shortcut of one."""

    def __init__(self, entering: int, leaving: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(entering, leaving, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(leaving, leaving, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(leaving) for _ in range(2))
        self.shortcut = nn.Conv2d(entering, leaving, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        inner = silu(self.norms[0](self.first(x)))
        return silu(self.norms[1](self.second(inner)) + self.shortcut(x))


def residual() -> nn.Sequential:
    """Build a residual network of three blocks for 28×28 grey images: smooth, with batch normalisation."""
    blocks = Residual(16, 16, 2), Residual(16, 32, 2), Residual(32, 32, 2)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, 1, 1), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)
    )


def large() -> nn.Sequential:
    """Build a residual network of three blocks for 224×224 colour images, which it first makes 28×28."""
    blocks = Residual(24, 32, 1), Residual(32, 64, 2), Residual(64, 96, 2)
    first = nn.Conv2d(3, 24, 7, 4, 3, bias=False), nn.BatchNorm2d(24), nn.SiLU(), nn.AvgPool2d(2)
    return nn.Sequential(*first, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, 10))


class Attending(nn.Module):
    """A vision transformer: three layers of attention between the 16 patches of a 28×28 grey image."""

    def __init__(self, width: int = 48, layers: int = 3, heads: int = 4) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 7, 7)
        self.places = nn.Parameter(torch.randn(1, 17, width) * 0.02)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(layers)
        )
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 10))

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patches(x).flatten(2).transpose(1, 2)
        tokens = nn.functional.pad(patches, (0, 0, 1, 0)) + self.places
        for layer in self.layers:
            tokens = layer(tokens)
        return self.head(tokens[:, 0])


def _trained(name: str, build: Callable[[], nn.Module]) -> nn.Module:
    path = folder() / f"{name}.safetensors"
    if not path.is_file():
        raise FileNotFoundError(f"there is no weight file {path}: python -m benchmarks.frontier train writes it")
    network = build()
    weights.fit(network, weights.read(path), path)
    return network


# what `python:` specs name
digits_mlp = partial(_trained, "digits_mlp", mlp)
digits_l2_at = partial(_trained, "digits_l2_at", cnn)
digits_linf_at = partial(_trained, "digits_linf_at", cnn)
digits_ibp = partial(_trained, "digits_ibp", cnn)
unseen_l2_at = partial(_trained, "unseen_l2_at", pooled)
unseen_linf_at = partial(_trained, "unseen_linf_at", pooled)
unseen_ibp = partial(_trained, "unseen_ibp", strided)
unseen_trades = partial(_trained, "unseen_trades", residual)
unseen_vit = partial(_trained, "unseen_vit", Attending)
demo_linf_at = partial(_trained, "demo_linf_at", DemoNet)
large_std = partial(_trained, "large_std", large)
large_l2_at = partial(_trained, "large_l2_at", large)

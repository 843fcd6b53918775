"""Small models that `train` writes, as model specs: `python:benchmarks.frontier.models:digits_mlp`.

Weights are looked for in $MINADV_FRONTIER_MODELS, by default runs/frontier/models below the working directory.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import nn

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
demo_linf_at = partial(_trained, "demo_linf_at", DemoNet)

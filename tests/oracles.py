"""An oracle of a model whose logits, gradients and boundary are known, and that remembers what it was shown."""

from typing import Any

import torch
from torch import Tensor

from minadv.distances import get
from minadv.goals import Untargeted
from minadv.oracle import Oracle
from minadv.verification import Settings

WEIGHTS = torch.tensor([3.0, -1.0, 2.0, 0.5, -0.5, 1.0])
X = torch.linspace(0.1, 0.3, 48).reshape(8, 6)
FAR = (WEIGHTS > 0).float().expand(8, 6).contiguous()  # adversarial, as far away as the box goes


class Model:
    """Class 0 until ⟨w, x⟩ passes 2, and a memory of all images that were shown."""

    def __init__(self) -> None:
        self.shown = list[Tensor]()

    def __call__(self, x: Tensor) -> Tensor:
        self.shown.append(x.detach().clone())
        score = self.score(x)
        return torch.stack((torch.zeros_like(score), score, score - 1), dim=1)

    def score(self, x: Tensor) -> Tensor:
        return x @ WEIGHTS - 2

    @property
    def rows(self) -> list[int]:
        """How many images each call had."""
        return [len(x) for x in self.shown]


def oracle(model: Model, x: Tensor, labels: Tensor | None = None, **options: Any) -> Oracle:
    labels = torch.zeros(len(x), dtype=torch.int64) if labels is None else labels
    settings = Settings(**{"fill_up": False} | options)
    return Oracle(model, x, {"labels": labels}, Untargeted(labels), get("l2"), settings)


def mask(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.bool)


def toward(share: float) -> Tensor:
    """On the way to the far corner: adversarial from about a fifth of it."""
    return X.lerp(FAR, share)

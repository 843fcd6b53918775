"""Parts that the naive float64 transcriptions of attacks.md share."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from minadv import Attack
from tests.networks import images, predictions, smooth

# (network, flat image, label, target) → its points, the distance that they end with, and what else is to be seen
Book = Callable[[nn.Module, np.ndarray, int, int | None], tuple[Any, ...]]


class Adam:
    """Adam as in its paper, with β 0.9 and 0.999 and ε 1e-8, for one flat image."""

    def __init__(self, entries: int) -> None:
        self.first, self.second, self.count = np.zeros(entries), np.zeros(entries), 0

    def step(self, h: np.ndarray, rate: float) -> np.ndarray:
        self.count += 1
        self.first = 0.9 * self.first + 0.1 * h
        self.second = 0.999 * self.second + 0.001 * h**2
        return -rate * self.first / (1 - 0.9**self.count) / self.metric()

    def metric(self) -> np.ndarray:
        return np.sqrt(self.second / (1 - 0.999**self.count)) + 1e-8


def margin_and_gradient(z: np.ndarray, slopes: np.ndarray, y: int, target: int | None) -> tuple[float, np.ndarray]:
    """Section 0: negative exactly when the goal is met, and the gradient."""
    given = y if target is None else target
    other = int(np.argmax(np.where(np.arange(len(z)) == given, -np.inf, z)))
    sign = 1 if target is None else -1
    return sign * (z[given] - z[other]), sign * (slopes[given] - slopes[other])


def compare(attack: Attack, by_the_book: Book, targeted: bool, lift: float) -> list[Any]:
    """Hold every point that the model is shown, sample by sample, and the final distances to a transcription.

    `lift` puts the boundary out of reach. Returned is what else the transcription says of each sample.
    """
    network, x = smooth(48, seed=3, lift=lift), images(6, side=4, dtype=torch.float64)
    labels, shown = predictions(network, x), list[Tensor]()
    assert (len(labels.unique()) > 1) == (lift == 0)
    targets = (labels + 1) % 4 if targeted else None

    def model(inputs: Tensor) -> Tensor:
        shown.append(inputs.detach().clone())
        return network(inputs)

    result, said = attack(model, x, labels, targets=targets, fill_up=False), list[Any]()
    assert len(shown) == attack.steps + 1  # type: ignore[attr-defined]  # the last one verifies
    for row in range(len(x)):
        target = None if targets is None else int(targets[row])
        points, best, *more = by_the_book(network, x[row].flatten().numpy(), int(labels[row]), target)
        theirs = torch.stack(shown[:-1])[:, row].flatten(1).numpy()
        np.testing.assert_allclose(theirs, points, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(result.distances[row].item(), best, rtol=1e-9)
        said += more
    assert not result.success.any() if lift else result.success.sum() >= 5
    return said

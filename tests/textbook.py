"""Parts that the naive float64 transcriptions of attacks.md share."""

import numpy as np


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

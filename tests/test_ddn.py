"""DDN: against a naive float64 transcription of attacks.md, section 6."""

import math
from functools import partial

import numpy as np
import pytest
import torch

from minadv import DDN
from tests.networks import logits_and_gradients
from tests.textbook import compare


def by_the_book(
    attack: DDN, model: torch.nn.Sequential, x: np.ndarray, y: int, target: int | None
) -> tuple[np.ndarray, float]:
    """Points that one sample's run looks at, and the distance of the best."""
    N, delta, e = attack.steps, np.zeros_like(x), attack.radius
    e_max = np.linalg.norm(np.maximum(x, 1 - x))
    best, points = math.inf, []
    for i in range(N):
        points.append(x + delta)
        z, slopes = logits_and_gradients(model, x + delta)
        adversarial = np.argmax(z) != y if target is None else np.argmax(z) == target
        if adversarial:
            best = min(best, np.linalg.norm(delta))
        softmax = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        # the gradient of cross-entropy is that of Σ_k (softmax_k − [k = class])·z_k
        given = y if target is None else target
        h = (softmax - (np.arange(len(z)) == given)) @ slopes
        h = (h if target is None else -h) / np.linalg.norm(h)
        delta = delta + (0.01 + 0.99 * (1 + math.cos(math.pi * i / N)) / 2) * h
        e = min((1 - attack.gamma) * e if adversarial else (1 + attack.gamma) * e, e_max)
        moved = np.clip(x + e * delta / np.linalg.norm(delta), 0, 1)
        if attack.levels is not None:
            moved = np.round(moved * (attack.levels - 1)) / (attack.levels - 1)
        delta = moved - x
    return np.array(points), best


@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
@pytest.mark.parametrize("levels", [None, 256])
@pytest.mark.parametrize(("radius", "gamma", "lift"), [(1.0, 0.05, 0), (0.2, 0.2, 0), (1.0, 0.2, 9)])
def test_a_run_is_the_published_iteration(
    targeted: bool, levels: int | None, radius: float, gamma: float, lift: float
) -> None:
    """Every point that the model is shown, sample by sample."""
    attack = DDN(steps=40, levels=levels, radius=radius, gamma=gamma, confidence=0)
    compare(attack, partial(by_the_book, attack), targeted, lift)


def test_presets() -> None:
    attack, preset = DDN(), DDN.paper()
    assert isinstance(preset, DDN)
    assert (preset.steps, preset.gamma, preset.radius, preset.step, preset.final_step) == (100, 0.05, 1, 1, 0.01)
    assert (preset.levels, attack.levels) == (256, None)

"""DDN: against a naive float64 transcription of attacks.md, section 6."""

import math
from functools import partial

import numpy as np
import pytest
import torch

from minadv import DDN
from tests.networks import convolutional, images, logits_and_gradients, predictions
from tests.textbook import compare


def on_grid(x: np.ndarray, attack: DDN) -> np.ndarray:
    return x if attack.levels is None else np.round(x * (attack.levels - 1)) / (attack.levels - 1)


def by_the_book(
    attack: DDN, model: torch.nn.Sequential, x: np.ndarray, y: int, target: int | None
) -> tuple[np.ndarray, float]:
    """Points that one sample's run looks at, and the distance of the best."""
    N, delta, e = attack.steps, np.zeros_like(x), attack.radius
    e_max = np.linalg.norm(np.maximum(x, 1 - x))
    best, points = math.inf, []
    for i in range(N):
        seen = x + delta if i == 0 else on_grid(x + delta, attack)
        points.append(seen)
        z, slopes = logits_and_gradients(model, seen)
        adversarial = np.argmax(z) != y if target is None else np.argmax(z) == target
        if adversarial:
            best = min(best, np.linalg.norm(seen - x))
        softmax = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        # the gradient of cross-entropy is that of Σ_k (softmax_k − [k = class])·z_k
        given = y if target is None else target
        h = (softmax - (np.arange(len(z)) == given)) @ slopes
        h = (h if target is None else -h) / np.linalg.norm(h)
        delta = delta + (0.01 + 0.99 * (1 + math.cos(math.pi * i / N)) / 2) * h
        e = min((1 - attack.gamma) * e if adversarial else (1 + attack.gamma) * e, e_max)
        moved = np.clip(x + e * delta / np.linalg.norm(delta), 0, 1)
        delta = (on_grid(moved, attack) if attack.round_iterate else moved) - x
    return np.array(points), best


@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
@pytest.mark.parametrize(("levels", "rounds"), [(None, False), (256, True), (16, False)])
@pytest.mark.parametrize(("radius", "gamma", "lift"), [(1.0, 0.05, 0), (0.2, 0.2, 0), (1.0, 0.2, 9)])
def test_a_run_is_the_published_iteration(
    targeted: bool, levels: int | None, rounds: bool, radius: float, gamma: float, lift: float
) -> None:
    """Every point that the model is shown, sample by sample."""
    attack = DDN(steps=40, levels=levels, round_iterate=rounds, radius=radius, gamma=gamma, confidence=0)
    compare(attack, partial(by_the_book, attack), targeted, lift)


def test_presets() -> None:
    attack, preset = DDN(), DDN.paper()
    assert isinstance(preset, DDN)
    assert (preset.steps, preset.gamma, preset.radius, preset.step, preset.final_step) == (100, 0.05, 1, 1, 0.01)
    assert (preset.levels, attack.levels) == (256, None)
    assert (preset.round_iterate, attack.round_iterate) == (True, False)


def test_between_coarse_levels_the_search_goes_on() -> None:
    """A rounded iterate comes back to where it was, and is as far away as that is."""
    model, x = convolutional(), (3 * images(16)).round() / 3
    labels = predictions(model, x)
    rounded, between = (DDN(levels=4, round_iterate=value)(model, x, labels) for value in (True, False))
    assert between.success.all()
    assert (between.distances <= rounded.distances).all()
    assert between.distances.mean() < 0.9 * rounded.distances.mean()

"""DDN: against a naive float64 transcription of attacks.md, section 6."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from minadv import DDN
from tests.networks import images, logits_and_gradients, predictions, smooth


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
    network, x = smooth(48, seed=3, lift=lift), images(6, side=4, dtype=torch.float64)
    labels, shown = predictions(network, x), list[Tensor]()
    assert (len(labels.unique()) > 1) == (lift == 0)
    targets = (labels + 1) % 4 if targeted else None

    def model(inputs: Tensor) -> Tensor:
        shown.append(inputs.detach().clone())
        return network(inputs)

    attack = DDN(steps=40, levels=levels, radius=radius, gamma=gamma, confidence=0)
    result = attack(model, x, labels, targets=targets, fill_up=False)
    assert len(shown) == attack.steps + 1  # the last one verifies
    for row in range(len(x)):
        target = None if targets is None else int(targets[row])
        points, best = by_the_book(attack, network, x[row].flatten().numpy(), int(labels[row]), target)
        theirs = torch.stack(shown[:-1])[:, row].flatten(1).numpy()
        np.testing.assert_allclose(theirs, points, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(result.distances[row].item(), best, rtol=1e-9)
    assert not result.success.any() if lift else result.success.sum() >= 5


def test_presets() -> None:
    attack, preset = DDN(), DDN.paper()
    assert isinstance(preset, DDN)
    assert (preset.steps, preset.gamma, preset.radius, preset.step, preset.final_step) == (100, 0.05, 1, 1, 0.01)
    assert (preset.levels, attack.levels) == (256, None)

"""σ-zero: against a naive float64 transcription of attacks.md, section 17."""

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from minadv import SigmaZero
from tests.networks import images, logits_and_gradients, predictions, smooth
from tests.textbook import Adam, compare, margin_and_gradient


def by_the_book(
    attack: SigmaZero, model: torch.nn.Sequential, x: np.ndarray, y: int, target: int | None
) -> tuple[np.ndarray, float, set[str]]:
    """Points that one sample's run looks at, the entries of the best, and which rules were needed."""
    N, sigma = attack.steps, attack.sigma
    delta, adam, tau, best = np.zeros_like(x), Adam(x.size), attack.threshold, math.inf
    points, needed = [], set[str]()
    for i in range(N):
        points.append(x + delta)
        m, slope = margin_and_gradient(*logits_and_gradients(model, x + delta), y, target)
        adversarial = m < 0
        if adversarial:
            best = min(best, np.count_nonzero(delta))
        # δ²/(δ² + σ) by the rule for quotients
        surrogate = (2 * delta * (delta**2 + sigma) - delta**2 * 2 * delta) / (delta**2 + sigma) ** 2 / x.size
        h = surrogate + (slope if m > 0 else 0)
        h = h / max(np.abs(h).max(), 1e-12)
        eta, after = (
            attack.rate * (attack.final_rate + (1 - attack.final_rate) * (1 + math.cos(math.pi * j / N)) / 2)
            for j in (i, i + 1)
        )
        delta = np.clip(x + delta + adam.step(h, eta), 0, 1) - x
        moved = tau + attack.threshold_rate * after * (1 if adversarial else -1)
        if not 0 <= moved <= 1:
            needed.add("bound below" if moved < 0 else "bound above")
        tau = min(max(moved, 0), 1)
        delta = np.where(np.abs(delta) < tau, 0, delta)
    return np.array(points), best, needed


@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
@pytest.mark.parametrize(
    ("others", "lift", "rules"),
    [
        ({}, 0, set()),
        (
            {"rate": 0.3, "final_rate": 0.5, "sigma": 0.1, "threshold": 0.05, "threshold_rate": 0.2},
            0,
            {"bound below"},
        ),
        (
            {"final_rate": 1.0, "sigma": 0.1, "threshold": 0.0, "threshold_rate": 0.6},
            0,
            {"bound below", "bound above"},
        ),
        # near 0, the usual σ would amplify what the two round differently, by 1e10 in 40 steps
        ({"sigma": 0.3, "threshold_rate": 0.1}, 9, {"bound below"}),
    ],
)
def test_a_run_is_the_published_iteration(
    targeted: bool, others: dict[str, Any], lift: float, rules: set[str]
) -> None:
    """Every point that the model is shown, sample by sample (the section has no targets, section 0 does)."""
    attack = SigmaZero(steps=40, confidence=0, **others)
    assert set[str]().union(*compare(attack, partial(by_the_book, attack), targeted, lift)) == rules


def test_presets() -> None:
    preset = SigmaZero.paper()
    assert isinstance(preset, SigmaZero)
    assert (preset.steps, preset.rate, preset.final_rate, preset.sigma) == (1000, 1, 0.1, 1e-3)
    assert (preset.threshold, preset.threshold_rate) == (0.3, 0.01)


def test_a_count_too_sharp_to_square_is_refused() -> None:
    with pytest.raises(ValueError, match="sigma must be ≥ 1e-18, got 1e-20"):
        SigmaZero(sigma=1e-20)
    network, x = smooth(48, seed=3), images(4, side=4)
    labels, shown = predictions(network.float(), x), list[torch.Tensor]()

    def model(inputs: torch.Tensor) -> torch.Tensor:
        shown.append(inputs.detach().clone())
        return network(inputs)

    SigmaZero(sigma=1e-18, steps=20)(model, x, labels)
    assert all(image.isfinite().all() for image in shown)

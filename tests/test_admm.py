"""ADMM: counts, the iteration against a naive float64 transcription, and known minima of linear models."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from minadv.attacks.admm import ADMM
from tests.networks import Linear, convolutional, images, linear, predictions

DUAL = {"l1": float("inf"), "l2": 2, "linf": 1}
SMALL: dict[str, Any] = {"outer": 3, "searches": 2, "steps": 4}


def nearest(model: Linear, x: Tensor, labels: Tensor, norm: str) -> Tensor:
    """Distance to the nearest boundary, the box aside."""
    weight, z = model.layer.weight.detach(), model(x).detach()
    gaps = z.gather(1, labels[:, None]) - z
    slopes = (weight[labels][:, None] - weight[None]).norm(p=DUAL[norm], dim=2)
    return (gaps / slopes).scatter(1, labels[:, None], torch.inf).amin(dim=1)


def shrink(v: np.ndarray, norm: str, rho: float) -> np.ndarray:
    if norm == "l2":
        return rho / (rho + 2) * v
    if norm == "l1":
        return np.sign(v) * np.maximum(np.abs(v) - 1 / rho, 0)
    if norm == "l0":
        return np.where(v**2 >= 2 / rho, v, 0)
    if np.abs(v).sum() <= 1 / rho:
        return np.zeros_like(v)
    low, high = 0.0, float(np.abs(v).max())  # the level at which 1/ρ in all is clipped
    for _ in range(200):
        level = (low + high) / 2
        low, high = (level, high) if np.maximum(np.abs(v) - level, 0).sum() > 1 / rho else (low, level)
    return np.clip(v, -high, high)


def naive(attack: ADMM, model: Linear, x0: np.ndarray, label: int) -> float:
    """One sample, step by step, as section 13 of attacks.md reads."""
    norm = str(attack.distance)
    weight, bias = (p.detach().numpy() for p in (model.layer.weight, model.layer.bias))
    order = {"l0": 0, "l1": 1, "l2": 2, "linf": np.inf}[norm]
    best = np.inf

    def look(x: np.ndarray) -> tuple[float, int, bool]:
        nonlocal best
        logits = weight @ x + bias
        other = int(np.argmax(np.where(np.arange(len(bias)) == label, -np.inf, logits)))
        adversarial = bool(logits[label] < logits[other])
        if adversarial:
            best = min(best, float(np.linalg.norm(x - x0, order)))
        return logits[label] - logits[other], other, adversarial

    a = np.arctanh((2 * x0 - 1) * (1 - 1e-6))
    w, z, u = np.zeros((3, x0.size))
    assert attack.rho is not None
    assert attack.rate is not None
    for _ in range(attack.outer):
        delta = shrink(z - u, norm, attack.rho)
        near, c, low, high = delta + u, attack.c, 0.0, np.inf
        chosen, found = z, False
        for _ in range(attack.searches):
            w = w if attack.warm else np.zeros_like(w)
            m, s, smallest, success, last = np.zeros_like(w), np.zeros_like(w), np.inf, False, z
            for i in range(1, attack.steps + 1):
                x = x0 if (w == 0).all() else (np.tanh(a + w) + 1) / 2
                margin, other, _ = look(x)
                objective = c * max(margin, 0) + attack.rho / 2 * ((x - x0 - near) ** 2).sum()
                if objective < smallest:
                    smallest, last = objective, x - x0
                g = c * (margin > 0) * (weight[label] - weight[other]) + attack.rho * (x - x0 - near)
                g = g * (1 - np.tanh(a + w) ** 2) / 2
                m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g * g
                w = w - attack.rate * (m / (1 - 0.9**i)) / (np.sqrt(s / (1 - 0.999**i)) + 1e-8)
                moved = (np.tanh(a + w) + 1) / 2 - x0
                kept = np.where(shrink(moved, norm, attack.rho) == 0, 0, moved) if norm in ("l0", "l1") else moved
                success |= look(x0 + kept)[2]
            if success or not found:
                chosen = last
            found |= success
            low, high = (low, min(high, c)) if success else (max(low, c), high)
            c = (low + high) / 2 if high < np.inf else 10 * c
        z, u = chosen, u + delta - chosen
    return best


@pytest.mark.parametrize("norm", ["l0", "l1", "l2", "linf"])
@pytest.mark.parametrize("warm", [True, False])
def test_it_is_the_published_iteration(norm: str, warm: bool) -> None:
    model = linear(48, seed=3, dtype=torch.float64)
    x = images(4, side=4, dtype=torch.float64)
    labels = predictions(model, x)
    settings = {"warm": warm, "rho": 40.0 if norm == "l0" else 12.0, "c": 4.0, "rate": 0.15}
    attack = ADMM(distance=norm, outer=3, searches=3, steps=8, confidence=0, **settings)
    result = attack(model, x, labels)
    expected = [naive(attack, model, x[row].numpy().ravel(), int(labels[row])) for row in range(4)]
    np.testing.assert_allclose(result.distances.numpy(), expected, rtol=1e-6)
    assert result.success.all()


@pytest.mark.parametrize("norm", ["l0", "l1", "l2", "linf"])
def test_counts_are_the_published_budget(norm: str) -> None:
    model = convolutional()
    x = images(5)
    result = ADMM(distance=norm, **SMALL)(model, x, predictions(model, x))
    assert (result.forwards == 2 * 3 * 2 * 4).all()
    assert (result.backwards == 3 * 2 * 4).all()


def test_preset_is_the_driver_script() -> None:
    preset = ADMM.paper()
    assert 2 * preset.outer * preset.searches * preset.steps == 160_000
    assert (preset.rho, preset.c, preset.rate, preset.warm) == (20, 1e-3, 2e-2, False)
    assert (ADMM.paper("linf").c, ADMM.paper("linf").warm) == (0.1, True)
    assert ADMM.paper("l1", steps=7, rate=0.5).rate == 0.5


@pytest.mark.parametrize(("norm", "within"), [("l2", 1.05), ("l1", 1.4), ("linf", 1.6)])
def test_nearly_minimal_on_a_linear_model(norm: str, within: float) -> None:
    model = linear(48, seed=1)
    x = 0.25 + images(4, side=4) / 2  # far from the box
    labels = predictions(model, x)
    result = ADMM(distance=norm, outer=6, searches=3, steps=20)(model, x, labels)
    best = nearest(model, x, labels, norm)
    assert (result.distances >= 0.999 * best).all()
    assert (result.distances <= within * best).all()


def test_warm_starts_leave_the_flat_ends_of_tanh() -> None:
    model = convolutional()
    x = images(6).round()
    labels = predictions(model, x)
    warm = ADMM(outer=3, searches=3)(model, x, labels)
    cold = ADMM(outer=3, searches=3, warm=False)(model, x, labels)
    assert warm.success.all()
    assert warm.success.sum() > cold.success.sum()


def test_targets_are_reached() -> None:
    model = convolutional()
    x = images(6)
    labels = predictions(model, x)
    targets = (labels + 2) % 5
    result = ADMM(outer=2, searches=3)(model, x, labels, targets=targets)
    assert result.success.all()
    assert torch.equal(result.predictions, targets)


@pytest.mark.parametrize("norm", ["l0", "l1", "l2", "linf"])
def test_a_sample_does_not_depend_on_its_batch(norm: str) -> None:
    model = convolutional()
    x = images(6)
    labels = predictions(model, x)
    attack = ADMM(distance=norm, outer=2, searches=2, steps=6)
    together = attack(model, x, labels)
    for row in (0, 4):
        alone = attack(model, x[row : row + 1], labels[row : row + 1])
        assert torch.equal(alone.adversarials[0], together.adversarials[row])

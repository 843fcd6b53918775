"""PDGD and PDPGD: against a naive float64 transcription of attacks.md, section 15."""

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from minadv import PDGD, PDPGD
from tests.networks import logits_and_gradients
from tests.textbook import Adam, compare, margin_and_gradient

CHANNELS = 3
P = {"l0": 0, "l1": 1, "l2": 2, "linf": math.inf}


def prox(q: np.ndarray, nu: float, operator: str) -> np.ndarray:
    size = np.abs(q)
    if operator == "l0":  # by pixels
        kept = size.reshape(CHANNELS, -1).max(axis=0) >= math.sqrt(2 * nu)
        return np.where(np.tile(kept, CHANNELS), q, 0)
    if operator == "l1":
        return np.sign(q) * np.maximum(size - nu, 0)
    if operator == "l2":
        return max(0, 1 - nu / max(np.linalg.norm(q), 1e-300)) * q
    if operator == "linf":
        ordered = np.sort(size / nu)[::-1]
        tau = max(((np.cumsum(ordered) - 1) / np.arange(1, q.size + 1)).max(), 0)
        return q - nu * np.sign(q) * np.maximum(size / nu - tau, 0)
    # ℓ2/3, 0 up to where the true minimiser switches
    found = np.zeros_like(q)
    above = size > 2 * (2 / 3) ** 0.75 * nu**0.75
    s = size[above]
    A = np.sqrt(s**4 / 256 - 8 * nu**3 / 729)
    root = np.cbrt(s**2 / 16 + A)
    B = 2 * (root + 2 * nu / 9 / root)  # the other root without cancellation, by the product of both
    found[above] = ((np.sqrt(B) + np.sqrt(2 * s / np.sqrt(B) - B)) / 2) ** 3
    return np.sign(q) * found


def by_the_book(
    attack: PDGD | PDPGD, model: torch.nn.Sequential, x: np.ndarray, y: int, target: int | None
) -> tuple[np.ndarray, float, set[str]]:
    """Points that one sample's run looks at, the distance of the best, and which rules were needed."""
    p, N = P[str(attack.distance)], attack.steps
    delta, adam, best, points, needed = np.zeros_like(x), Adam(x.size), math.inf, [], set()
    u = -math.log(attack.first_ratio)
    weights = softmax(u)
    for i in range(N):
        points.append(x + delta)
        m, h = margin_and_gradient(*logits_and_gradients(model, x + delta), y, target)
        if m < 0:
            best = min(best, np.linalg.norm(delta, p))
        h = h / (1 + math.exp(-m))  # of softplus
        if isinstance(attack, PDGD):
            h = weights[1] * h
            if i > 0:
                h = h + weights[0] * delta / np.linalg.norm(delta)
        a = attack.rate * attack.final_rate ** (i / N)
        delta = np.clip(x + delta + adam.step(h, a), 0, 1) - x
        if isinstance(attack, PDPGD):
            H, r, q = adam.metric(), delta, delta
            nu = a / H.max() * weights[0] / weights[1]
            operator = "l23" if p == 0 and attack.l0 == "l23" else str(attack.distance)
            for j in range(5):
                if j > 0:
                    needed.add("several")
                before, q = q, np.clip(x + prox(q - H / H.max() * (q - r), nu, operator), 0, 1) - x
                # the section leaves open relative to what
                converged = np.linalg.norm(q - before) <= 1e-2 * np.linalg.norm(before)
                if converged:
                    break
            needed.add("converged" if converged else "five")
            delta = q
        b = attack.dual_rate * (1 + (attack.final_dual_rate - 1) * i / (N - 1))
        bound = -math.log(attack.least_ratio)
        u += b * np.sign(m)
        if abs(u) > bound:
            needed.add("bound above" if u > 0 else "bound below")
        u = min(max(u, -bound), bound)
        weights = attack.smoothing * weights + (1 - attack.smoothing) * softmax(u)
    return np.array(points), best, needed


def softmax(u: float) -> np.ndarray:
    """Of (0, u)."""
    return np.array([1, math.exp(u)]) / (1 + math.exp(u))


OTHERS = {"rate": 0.3, "final_rate": 0.2, "dual_rate": 1.0, "final_dual_rate": 0.5, "smoothing": 0.5}
OTHERS |= {"first_ratio": 0.05, "least_ratio": 0.03}


@pytest.mark.parametrize(
    ("kind", "distance", "l0"),
    [
        (PDGD, "l2", None),
        (PDPGD, "l0", "l23"),
        (PDPGD, "l0", "l0"),
        (PDPGD, "l1", None),
        (PDPGD, "l2", None),
        (PDPGD, "linf", None),
    ],
    ids=["pdgd-l2", "pdpgd-l23", "pdpgd-l0", "pdpgd-l1", "pdpgd-l2", "pdpgd-linf"],
)
@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
@pytest.mark.parametrize(("others", "lift"), [({}, 0), (OTHERS, 0), (OTHERS, 9)])
def test_a_run_is_the_published_iteration(
    kind: type[PDGD] | type[PDPGD],
    distance: str,
    l0: str | None,
    targeted: bool,
    others: dict[str, Any],
    lift: float,
) -> None:
    """Every point that the model is shown, sample by sample."""
    own = {} if l0 is None else {"l0": l0}
    attack = kind(distance=distance, steps=40, confidence=0, **own, **others)
    needed = set[str]().union(*compare(attack, partial(by_the_book, attack), targeted, lift))
    assert not others or "bound above" in needed
    assert kind is PDGD or not others or lift or {"converged", "several"} <= needed
    assert distance != "l1" or "five" in needed


def test_presets() -> None:
    for preset in (PDGD.paper(), PDPGD.paper()):
        assert isinstance(preset, PDGD | PDPGD)
        assert (preset.steps, preset.rate, preset.final_rate) == (500, 0.1, 0.01)
        assert (preset.dual_rate, preset.final_dual_rate, preset.smoothing) == (0.1, 0.1, 0.9)
        assert (preset.first_ratio, preset.least_ratio) == (0.01, 1e-6)
    assert PDPGD().l0 == "l23"

"""FMN: against a naive float64 transcription of attacks.md, section 7."""

import math
from functools import partial

import numpy as np
import pytest
import torch

from minadv import FMN
from tests.networks import logits_and_gradients
from tests.textbook import compare

NAMES = {0: "l0", 1: "l1", 2: "l2", math.inf: "linf"}


def project(delta: np.ndarray, p: float, e: float) -> np.ndarray:
    """Step 6: the nearest point of the ball, by sorting."""
    size = np.abs(delta)
    if p == 0:
        kept = np.zeros_like(delta)
        largest = np.argsort(-size, kind="stable")[: int(min(e, delta.size))]
        kept[largest] = delta[largest]
        return kept
    if p == 2:
        return delta * min(1, e / max(np.linalg.norm(delta), 1e-300))
    if p == math.inf:
        return np.clip(delta, -e, e)
    if size.sum() <= e:
        return delta
    ordered = np.sort(size)[::-1]
    excess = (np.cumsum(ordered) - e) / np.arange(1, delta.size + 1)
    tau = excess[np.nonzero(ordered > excess)[0][-1]]
    return np.sign(delta) * np.maximum(size - tau, 0)


def by_the_book(
    attack: FMN, model: torch.nn.Sequential, x: np.ndarray, y: int, target: int | None, p: float
) -> tuple[np.ndarray, float]:
    """Points that one sample's run looks at, and the distance of the best."""
    N, seen, best = attack.steps, False, math.inf
    a0 = attack.step or (10 if p == math.inf else 1)
    aN, q = attack.final_step * a0, {0: 2, 1: math.inf, 2: 2, math.inf: 1}[p]
    delta, e = np.zeros_like(x), 1.0 if p == 0 else math.inf
    e_max, points = np.linalg.norm(np.maximum(x, 1 - x), p), []
    for i in range(N):
        chi = (1 + math.cos(math.pi * i / N)) / 2
        a, gamma = aN + (a0 - aN) * chi, attack.final_gamma + (attack.gamma - attack.final_gamma) * chi
        points.append(x + delta)
        z, slopes = logits_and_gradients(model, x + delta)
        # the class that is left or reached, and the largest other
        given = y if target is None else target
        other = int(np.argmax(np.where(np.arange(len(z)) == given, -np.inf, z)))
        sign = 1 if target is None else -1
        loss, h = sign * (z[other] - z[given]), sign * (slopes[other] - slopes[given])
        adversarial = loss > 0
        size = np.linalg.norm(delta, p)
        if adversarial:
            seen, best = True, min(best, size)
        if p == 0 and adversarial:
            e = min(e - 1, math.floor((1 - gamma) * e), best)
        elif p == 0:
            e = max(e + 1, math.floor((1 + gamma) * e))
        elif adversarial:
            e = min((1 - gamma) * e, best)
        elif seen:
            e = (1 + gamma) * e
        else:
            e = size + abs(loss) / np.linalg.norm(h, q)
        e = min(max(e, 1) if p == 0 else e, e_max)  # one entry at least, as in foolbox
        delta = project(delta + a * h / np.linalg.norm(h), p, e)
        delta = np.clip(x + delta, 0, 1) - x
    return np.array(points), best


@pytest.mark.parametrize("p", NAMES, ids=NAMES.values())
@pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
@pytest.mark.parametrize(("step", "gamma", "lift"), [(None, 0.05, 0), (0.2, 0.3, 0), (20.0, 0.3, 9)])
def test_a_run_is_the_published_iteration(
    p: float, targeted: bool, step: float | None, gamma: float, lift: float
) -> None:
    """Every point that the model is shown, sample by sample."""
    attack = FMN.paper(NAMES[p], 40, step=step, gamma=gamma, confidence=0)
    assert isinstance(attack, FMN)
    compare(attack, partial(by_the_book, attack, p=p), targeted, lift)


def test_presets() -> None:
    preset, ours = FMN.paper(), FMN()
    assert isinstance(preset, FMN)
    assert (preset.steps, preset.final_step, preset.gamma, preset.final_gamma) == (100, 0.01, 0.05, 0.001)
    assert (preset.in_box, preset.overshoot) == (False, 1)
    assert (ours.in_box, ours.overshoot) == (True, 1.1)

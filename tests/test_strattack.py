"""StrAttack: counts, groups, and its two phases against a naive float64 transcription of attacks.md."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from minadv import CW
from minadv.attacks.strattack import StrAttack, _largest
from minadv.shapes import per_sample
from tests.networks import Linear, convolutional, generator, images, linear, predictions


def groups(delta: Tensor, size: int = 2) -> Tensor:
    """Number of patches that changed, per sample."""
    patches = delta.abs().sum(dim=1).unfold(1, size, size).unfold(2, size, size).flatten(3).amax(dim=3)
    return (patches > 0).flatten(1).sum(dim=1)


def test_counts_are_the_budget_of_the_port() -> None:
    model = convolutional()
    x = images(6)
    result = StrAttack(steps=15, searches=4, refine_rounds=3, refine_steps=7)(model, x, predictions(model, x))
    found = result.success
    assert found.any()
    assert (result.forwards[found] == 2 * 4 * 15 + 3 * 7).all()
    assert (result.backwards[found] == 4 * 15 + 3 * 7).all()
    port = StrAttack()
    main, refined = port.searches * port.steps, port.refine_rounds * port.refine_steps
    assert (2 * main + refined, main + refined) == (27_200, 15_200)


def test_nothing_found_is_not_refined() -> None:
    model = linear(48, seed=4)
    unreachable = Linear(model.layer.weight.detach() * 1e-3, torch.tensor([9.0, 0.0, 0.0, 0.0])).eval()
    x = images(3, side=4)
    result = StrAttack(steps=5, searches=2, refine_rounds=2, refine_steps=5)(
        unreachable, x, predictions(unreachable, x)
    )
    assert not result.success.any()
    assert result.forwards.tolist() == [20] * 3
    assert result.backwards.tolist() == [10] * 3


@pytest.mark.parametrize("derived", [False, True])
def test_a_run_is_the_published_iteration(derived: bool) -> None:
    """One search of a few steps, row by row in numpy, on a linear model (whose margin's gradient is known)."""
    model = linear(3 * 36, seed=2, dtype=torch.float64)
    weight, bias = (p.detach().numpy() for p in (model.layer.weight, model.layer.bias))
    x = images(4, side=6, dtype=torch.float64)
    labels = predictions(model, x)
    attack = StrAttack(steps=25, searches=1, c=20.0, refine_rounds=0, derived=derived, confidence=0)
    result = attack(model, x, labels)
    double = 1 if derived else 2
    for row in range(4):
        x0, y = x[row].numpy().ravel(), int(labels[row])
        z, u, v, s = np.zeros((4, x0.size))
        best = math.inf
        for k in range(attack.steps):
            delta = attack.rho / (attack.rho + 2 * attack.gamma) * (z - u)
            w = np.clip(z - s, -x0, 1 - x0)
            blocks = (z - v).reshape(3, 3, 2, 3, 2)
            norms = np.sqrt((blocks**2).sum(axis=(0, 2, 4), keepdims=True))
            shrunk = np.maximum(0, 1 - attack.tau / attack.rho / np.maximum(norms, 1e-300))
            g_y = (blocks * shrunk).ravel()
            logits = weight @ np.clip(x0 + z, 0, 1) + bias
            other = np.argmax(np.where(np.arange(4) == y, -np.inf, logits))
            g = attack.c * (weight[y] - weight[other]) * (logits[y] > logits[other])
            eta = attack.alpha * math.sqrt(k + 1)
            pull = attack.rho * (double * (delta + u) + (w + s) + (g_y + v))
            z = (eta * z + pull - g) / (eta + (3 if derived else 4) * attack.rho)
            u, v, s = u + delta - z, v + g_y - z, s + w - z
            candidate = np.clip(x0 + g_y, 0, 1)
            logits = weight @ candidate + bias
            if logits[y] < np.delete(logits, y).max():
                best = min(best, float(np.linalg.norm(candidate - x0)))
        np.testing.assert_allclose(result.distances[row].item(), best, rtol=1e-9)
    assert result.success.any()


def test_answers_are_sparse_in_groups() -> None:
    model = convolutional()
    x = images(8)
    labels = predictions(model, x)
    sparse = StrAttack(steps=60, searches=3, refine_rounds=2, refine_steps=30)(model, x, labels)
    dense = CW(steps=50, searches=4, c=0.1, rate=0.02)(model, x, labels)
    both = sparse.success & dense.success
    assert both.sum() >= 6
    changed, all_changed = groups(sparse.adversarials - x), groups(dense.adversarials - x)
    assert (changed[both] < all_changed[both]).all()
    assert changed[both].float().mean() < 0.6 * all_changed[both].float().mean()
    assert (sparse.distances[both] < 3 * dense.distances[both]).all()


def test_without_the_group_term_it_is_nearly_minimal_on_a_linear_model() -> None:
    model = linear(3 * 64, classes=3, seed=1)
    x = images(6, side=8)
    labels = predictions(model, x)
    result = StrAttack(steps=60, searches=6, tau=0.0, refine_rounds=5, refine_steps=50)(model, x, labels)
    weight, logits = model.layer.weight.detach(), model(x).detach()
    slopes = (weight[:, None] - weight[None]).norm(dim=2)
    rows = torch.arange(len(x))
    gaps = (logits[rows, labels, None] - logits) / slopes[labels].masked_fill(slopes[labels] == 0, 1)
    nearest = gaps.scatter(1, labels[:, None], torch.inf).amin(dim=1)
    assert (result.distances >= nearest * 0.999).all()
    assert (result.distances <= nearest * 1.1).all()


def test_refinement_leaves_frozen_entries_alone_and_shortens() -> None:
    model = convolutional()
    x = images(8)
    labels = predictions(model, x)
    found = StrAttack(steps=40, searches=3, refine_rounds=0)(model, x, labels)
    refined = StrAttack(steps=40, searches=3, refine_rounds=3, refine_steps=30)(model, x, labels)
    frozen = ~_largest(found.adversarials - x)
    assert (found.success == refined.success).all()
    assert frozen.any()
    assert ((refined.adversarials - x)[frozen & per_sample(refined.distances < found.distances, x)] == 0).all()
    assert (refined.distances <= found.distances).all()
    assert refined.distances.median() < 0.95 * found.distances.median()


def test_percentile_is_of_each_samples_own_nonzero_magnitudes() -> None:
    delta = images(5, side=8) - 0.5
    delta[delta.abs() < 0.2] = 0
    delta[3] = 0
    kept = _largest(delta)
    for row in range(5):
        size = delta[row].abs().numpy()
        bound = np.percentile(size[size > 0], 3, method="linear") if size.any() else math.inf
        np.testing.assert_array_equal(kept[row].numpy(), size > np.float32(bound))


def test_a_sample_does_not_depend_on_its_batch() -> None:
    model = convolutional()
    x = images(6)
    labels = predictions(model, x)
    attack = StrAttack(steps=20, searches=2, refine_rounds=2, refine_steps=10)
    together = attack(model, x, labels)
    for row in (0, 4):
        alone = attack(model, x[row : row + 1], labels[row : row + 1])
        assert torch.equal(alone.adversarials[0], together.adversarials[row])


def test_groups_need_images() -> None:
    model = linear(10)
    x = torch.rand(2, 10, generator=generator())
    with pytest.raises(ValueError, match=r"strattack groups pixels.*got shape \(batch, 10\)"):
        StrAttack(steps=1)(model, x, predictions(model, x))


def test_presets() -> None:
    preset = StrAttack.paper()
    assert (preset.rho, preset.alpha, preset.tau, preset.gamma) == (15, 5, 3, 2)
    assert (preset.c, preset.refine_c, preset.more_steps) == (1, 5, 1000)


def test_what_has_no_free_entry_left_is_not_refined() -> None:
    model, x = convolutional(), images(8).round()
    labels = predictions(model, x)
    found = StrAttack(steps=15, searches=4, refine_rounds=0, levels=2)(model, x, labels)
    refined = StrAttack(steps=15, searches=4, refine_rounds=3, refine_steps=8, levels=2)(model, x, labels)
    assert found.success.any()
    assert torch.equal(refined.adversarials, found.adversarials)  # entries are 0 or 1: all changes are as large
    assert torch.equal(refined.forwards, found.forwards)
    assert torch.equal(refined.backwards, found.backwards)

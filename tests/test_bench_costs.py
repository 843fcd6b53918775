"""Dry runs say what an attack costs at most: measured on a small model, it never costs more."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from minadv import attacks
from minadv.attacks.base import Attack
from minadv.attacks.registry import REGISTRY
from minadv.bench.costs import at_most
from minadv.result import Result
from tests.networks import convolutional, images, predictions

CLASSES = 5
CASES: list[tuple[str, dict[str, Any]]] = [
    ("alma", {"steps": 6}),
    ("ddn", {"steps": 6}),
    ("fmn", {"steps": 6}),
    ("fab", {"steps": 3}),
    ("fab", {"steps": 3, "differences": True}),
    ("fab", {"steps": 3, "n_targets": 9}),
    ("fab", {"steps": 2, "n_targets": 2, "restarts": 2}),
    ("fab", {"steps": 2, "restarts": 3}),
    ("cw", {"steps": 6, "searches": 3}),
    ("cw", {"steps": 6, "searches": 2, "abort_early": False}),
    ("cw", {"steps": 6, "searches": 3, "compat": "batch"}),
    ("ead", {"steps": 6, "searches": 3}),
    ("ead", {"steps": 5, "searches": 2, "abort_early": False}),
    ("apgd", {"steps": 4}),
    ("apgd", {"steps": 4, "n_targets": 9}),
    ("apgd", {"steps": 4, "restarts": 2, "radius": 0.0001}),
    ("apgd", {"steps": 4, "n_targets": 2, "restarts": 2, "radius": 0.0001}),
    ("minimal_apgd", {"steps": 4, "bisections": 3}),
    ("minimal_apgd", {"steps": 4, "bisections": 2, "restarts": 2}),
    ("minimal_apgd", {"steps": 4, "bisections": 2, "n_targets": None}),
    ("percal", {"steps": 5}),
    ("pdgd", {"steps": 5}),
    ("pdpgd", {"steps": 5}),
    ("deepfool", {"steps": 5}),
    ("superdeepfool", {"steps": 3, "deepfool_steps": 5}),
    ("sigma_zero", {"steps": 5}),
    ("trust_region", {"steps": 5}),
    ("trust_region", {"steps": 5, "adaptive": False}),
    ("trust_region", {"steps": 4, "n_classes": 2}),
    ("strattack", {"steps": 3, "searches": 2, "refine_steps": 3, "refine_rounds": 2}),
    ("strattack", {"steps": 3, "searches": 3, "more_steps": 4, "refine_steps": 2, "refine_rounds": 2}),
    ("admm", {"outer": 2, "searches": 2, "steps": 3}),
    ("lpa", {"steps": 2, "bisections": 2, "distance": "lpips:trunk=demo"}),
    ("pqp", {"steps": 5}),
]

# docs/attacks.md counts these exactly: (forwards, backwards) of the settings here
EXACTLY = {
    "alma": (6, 6),
    "ddn": (6, 6),
    "fmn": (6, 6),
    "fab": (1 + 2 * 3, CLASSES * 3),
    "pdgd": (5, 5),
    "pdpgd": (5, 5),
    "percal": (1 + 2 * 5, 5),
    "pqp": (1 + 2 * 5, 0),
    "sigma_zero": (5, 5),
    "admm": (2 * 2 * 2 * 3, 2 * 2 * 3),
}


def run(name: str, settings: Mapping[str, Any], distance: str, budget: int | None) -> tuple[Attack, Result]:
    attack = attacks.get(name, **{"distance": distance, **settings}, budget=budget)
    model, inputs = convolutional(classes=CLASSES), images(4)
    labels = predictions(model, inputs)
    labels[2] = (labels[2] + 1) % CLASSES  # one is adversarial from the start
    return attack, attack(model, inputs, labels)


def distances(name: str) -> tuple[str, ...]:
    found = REGISTRY[name].distances or ("l0", "l2")
    return ("lpips:trunk=demo",) if name == "lpa" else found


def test_every_attack_is_here():
    assert {name for name, _ in CASES} | {"auto"} == set(REGISTRY)


# the last steps of explorations have no backward, but at ℓ0, which needs it: more than the look takes are left
@pytest.mark.parametrize(
    ("distance", "budget", "spared"),
    [("l0", 23, 0), ("l0", 63, 0), ("linf", 23, 0), ("linf", 63, 0), ("l2", 23, 0), ("l2", 63, 2)],
)
def test_auto_takes_its_budget_of_each(distance: str, budget: int, spared: int):
    attack, result = run("auto", {}, distance, budget)
    assert at_most("auto", attack, CLASSES) == (budget, budget)
    assert (int(result.forwards.max()), int(result.backwards.max())) == (budget, budget - spared)


@pytest.mark.filterwarnings("ignore:in tanh space")
@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_no_attack_costs_more(name: str, settings: dict[str, Any]):
    for distance in distances(name):
        attack, result = run(name, settings, distance, None)
        most = at_most(name, attack, CLASSES)
        if most is None:
            assert name == "superdeepfool"  # the data decide
            return
        assert int(result.forwards.max()) <= most[0]
        assert int(result.backwards.max()) <= most[1]
        assert (int(result.forwards[2]), int(result.backwards[2])) == (1, 0)


@pytest.mark.parametrize(("name", "exactly"), EXACTLY.items(), ids=str)
def test_exact_counts_are_exact(name: str, exactly: tuple[int, int]):
    attacked = torch.tensor([0, 1, 3])
    for distance in distances(name):
        attack, result = run(name, dict(reversed(CASES))[name], distance, None)
        assert at_most(name, attack, CLASSES) == exactly
        assert set(result.forwards[attacked].tolist()) == {exactly[0]}
        assert set(result.backwards[attacked].tolist()) == {exactly[1]}


@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
@pytest.mark.parametrize("budget", [1, 2, 7])
def test_a_budget_bounds_the_sum(name: str, settings: dict[str, Any], budget: int):
    attack, result = run(name, settings, distances(name)[-1], budget)
    most = at_most(name, attack, CLASSES)
    assert most is not None
    assert sum(most) <= budget
    assert int((result.forwards + result.backwards).max()) <= sum(most)


def test_runs_that_give_up_late_are_counted_in_full():
    attack = attacks.get("ead", distance="l1", steps=10, searches=9)
    assert at_most("ead", attack, CLASSES) == (9 * 20 + 1, 90)


def test_there_are_no_more_targets_than_other_classes():
    attack = attacks.get("fab", distance="l2", steps=10, n_targets=9)
    assert at_most("fab", attack, 10) == (1 + 9 * 21, 90)
    assert at_most("fab", attack, 3) == (1 + 2 * 21, 20)

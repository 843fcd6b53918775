"""What an attack can cost at most: the counts of docs/attacks.md, before anything is run."""

from collections.abc import Callable
from typing import Any

from minadv.attacks.base import Attack

Counts = tuple[int, int]


def at_most(family: str, attack: Attack, classes: int) -> Counts | None:
    """Return the forwards and backwards that a sample costs at most; None where the data decide.

    Args:
        family: the attack's name in the registry.
        attack: its settings; a budget bounds forwards plus backwards: it is their sum that is right then.
        classes: of the model.
    """
    count = _COUNTS.get(family)
    if count is None:
        most = attack.propagations
        return None if most is None else (most - most // 2, most // 2)
    forwards, backwards = count(attack, classes)
    if attack.propagations is not None and forwards + backwards > attack.propagations:
        share = attack.propagations / (forwards + backwards)
        return attack.propagations - round(backwards * share), round(backwards * share)
    return forwards, backwards


def _one_trajectory(attack: Any, _classes: int) -> Counts:
    return attack.steps, attack.steps


def _auto(attack: Any, _classes: int) -> Counts:
    return attack.budget, attack.budget


def _ead(attack: Any, _classes: int) -> Counts:
    return attack.searches * 2 * attack.steps + 1, attack.searches * attack.steps


def _fab(attack: Any, classes: int) -> Counts:
    looks, steps = attack.restarts * (1 + 2 * attack.steps), attack.restarts * attack.steps
    if attack.n_targets is None:
        return looks, (classes - attack.differences) * steps
    targets = min(attack.n_targets, classes - 1)
    return 1 + targets * looks, targets * steps


def _apgd(attack: Any, classes: int) -> Counts:
    looks = (attack.steps + 1) * attack.restarts
    targets = 0 if attack.n_targets is None else min(attack.n_targets, classes - 1)
    return (looks, looks) if not targets else (1 + targets * looks, targets * looks)


def _minimal_apgd(attack: Any, classes: int) -> Counts:
    forwards, backwards = _apgd(attack, classes)
    return attack.bisections * (forwards + 1), attack.bisections * backwards


def _nested(attack: Any, _classes: int) -> Counts:
    return attack.searches * attack.steps, attack.searches * attack.steps


def _percal(attack: Any, _classes: int) -> Counts:
    return 1 + 2 * attack.steps, attack.steps


def _pqp(attack: Any, _classes: int) -> Counts:
    return 1 + 2 * attack.steps, 0


def _lpa(attack: Any, _classes: int) -> Counts:
    return attack.bisections * (5 * attack.steps + 1), attack.bisections * 5 * attack.steps


def _deepfool(attack: Any, classes: int) -> Counts:
    return attack.steps + 1, attack.steps * (classes - 1)


def _trust_region(attack: Any, classes: int) -> Counts:
    looks = 3 if attack.adaptive else 2
    return 1 + looks * attack.steps, 1 + min(attack.n_classes, classes - 1) + attack.steps


def _strattack(attack: Any, _classes: int) -> Counts:
    more = attack.more_steps * attack.searches * (attack.searches - 1) // 2
    search, refinement = attack.searches * attack.steps + more, attack.refine_rounds * attack.refine_steps
    return 2 * search + refinement, search + refinement


def _admm(attack: Any, _classes: int) -> Counts:
    turns = attack.outer * attack.searches * attack.steps
    return 2 * turns, turns


_COUNTS: dict[str, Callable[[Any, int], Counts]] = {
    **dict.fromkeys(("alma", "ddn", "fmn", "pdgd", "pdpgd", "sigma_zero"), _one_trajectory),
    "auto": _auto,
    "cw": _nested,
    "ead": _ead,
    "fab": _fab,
    "apgd": _apgd,
    "minimal_apgd": _minimal_apgd,
    "percal": _percal,
    "pqp": _pqp,
    "lpa": _lpa,
    "deepfool": _deepfool,
    "trust_region": _trust_region,
    "strattack": _strattack,
    "admm": _admm,
}

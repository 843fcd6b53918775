"""Which class an exploration aims at, and the constraint that leads there.

Chances, (batch, classes), are what classes promise: the larger, the sooner one is aimed at. −∞ is not at all.
"""

import torch
from torch import Tensor

from minadv import losses
from minadv.attacks.exploration import Constrain
from minadv.goals import Constraint, Targeted, Untargeted
from minadv.oracle import Oracle


def chances(oracle: Oracle) -> Tensor:
    """Before any search: a class's logit, and −∞ for the original's own."""
    logits = oracle.logits_of_originals
    return logits.scatter(1, logits.argmax(dim=1, keepdim=True), -torch.inf)


def reached(chances: Tensor, classes: Tensor) -> Tensor:
    """Without these classes, one per sample."""
    return chances.scatter(1, classes[:, None], -torch.inf)


def nearer(chances: Tensor, ways: Tensor) -> Tensor:
    """Chances by the ways to classes, (batch, classes), where none that was reached already is nearer."""
    unreached = chances.isfinite()
    limit = ways.masked_fill(unreached, torch.inf).amin(dim=1, keepdim=True).clamp_min(0)
    return torch.where(unreached & (ways <= limit), -ways, -torch.inf)


def constrain(oracle: Oracle, chances: Tensor | None, confidence: float) -> Constrain:
    """Leave the label for any class or, with `chances`, for the class of the best one where there is any."""
    goal, kind = oracle.goal, constraint_for(oracle)
    if chances is None or not isinstance(goal, Untargeted):
        return lambda logits: goal.constraint(logits, kind, confidence)
    best, targets = chances.max(dim=1)
    some = best > -torch.inf

    def towards(logits: Tensor) -> Tensor:
        anywhere = goal.constraint(logits, kind, confidence)
        return torch.where(some, losses.dlr_towards(logits, goal.labels, targets, confidence), anywhere)

    return towards


def constraint_for(oracle: Oracle) -> Constraint:
    """DLR⁺, or the margin where there are too few classes for it."""
    least = 4 if isinstance(oracle.goal, Targeted) else 3
    return "dlr" if oracle.clean_logits.shape[1] >= least else "margin"

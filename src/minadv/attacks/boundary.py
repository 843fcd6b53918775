"""Linearised decision boundaries: the step that FAB, DeepFool and the trust region attack have in common."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from minadv.attacks.directions import TINY, norm
from minadv.goals import Untargeted
from minadv.masks import overwrite
from minadv.oracle import Oracle
from minadv.probe import Probe
from minadv.shapes import per_sample

# added to every step, so that steps from points on the boundary still cross it
LEAST_STEP = 1e-4


@dataclass(frozen=True, eq=False)
class Boundary:
    """F(x′) ≈ F + ⟨G, x′ − x⟩ where F = z_k − z_y − confidence is negative on the label's side of class k.

    `value`: (batch,) F; `slope`: (batch, ...) G; `classes`: (batch,) k.
    """

    value: Tensor
    slope: Tensor
    classes: Tensor

    def distance(self, q: float) -> Tensor:
        """|F|/‖G‖_q, the ℓp distance to the linearised boundary."""
        return self.value.abs() / (norm(self.slope, q) + TINY)


def labels_of(oracle: Oracle) -> Tensor:
    """Return the true classes; attacks with a boundary per class are untargeted (their cards say so)."""
    if not isinstance(oracle.goal, Untargeted):
        raise TypeError(f"boundaries are between the true class and others, got {type(oracle.goal).__name__}")
    return oracle.goal.labels


def others_by_logit(logits: Tensor, labels: Tensor) -> Tensor:
    """(batch, classes − 1) classes but the label, by falling logit."""
    ranked = logits.detach().argsort(dim=1, descending=True, stable=True)
    label_last = (ranked == labels[:, None]).byte().argsort(dim=1, stable=True)
    return ranked.gather(1, label_last)[:, :-1]


def cross(boundary: Boundary, p: float, size: Tensor, overshoot: float) -> Tensor:
    """Displacement of ℓp size (1 + overshoot)·(size + 1e-4) across a boundary, for p = 2 or ∞."""
    G = boundary.slope
    direction = G / per_sample(norm(G, 2).clamp_min(TINY), G) if p == 2 else G.sign()
    return direction.mul_(per_sample((1 + overshoot) * (size + LEAST_STEP), G))


def towards(
    oracle: Oracle, probe: Probe, classes: Tensor, confidence: float, live: Tensor | None = None
) -> Boundary:
    """Boundary to one given class per sample (one backward)."""
    difference = _logit(probe, classes) - _logit(probe, labels_of(oracle))
    slope = oracle.gradient(probe, difference, live=live)
    return Boundary(difference.detach() - confidence, slope, classes)


def nearest(
    oracle: Oracle,
    probe: Probe,
    q: float,
    confidence: float,
    *,
    classes: Tensor | None = None,
    differences: bool = False,
    farthest: bool = False,
    live: Tensor | None = None,
) -> Boundary:
    """Nearest boundary by |F|/‖G‖_q, among all other classes or some (batch, count); or the farthest.

    One backward per class and one of the label's logit, as the original FAB does, or, with `differences`, one per
    class of its logit's difference to the label's.
    """
    labels = labels_of(oracle)
    if classes is None:
        numbers = torch.arange(probe.logits.shape[1] - 1, device=labels.device).expand(len(labels), -1)
        classes = numbers + (numbers >= labels[:, None])
    found = boundaries(oracle, probe, classes, confidence, differences=differences, live=live)
    # one at a time: a thousand gradients would not fit into memory
    return reduce(lambda one, other: _nearer(one, other, q, farthest), found)


def boundaries(
    oracle: Oracle,
    probe: Probe,
    classes: Tensor,
    confidence: float,
    *,
    differences: bool = False,
    live: Tensor | None = None,
    again: bool = False,
) -> Iterator[Boundary]:
    """Boundaries to the given classes, (batch, count), each at its turn; backwards as in `nearest`.

    `again` keeps the graph for further gradients.
    """
    label = _logit(probe, labels_of(oracle))
    base = None if differences else oracle.gradient(probe, label, live=live, again=True)
    last = classes.shape[1] - 1
    for j in range(last + 1):
        logit = _logit(probe, classes[:, j])
        slope = oracle.gradient(probe, logit - label if differences else logit, live=live, again=again or j < last)
        slope = slope if base is None else slope.sub_(base)
        yield Boundary((logit - label).detach() - confidence, slope, classes[:, j])


def _logit(probe: Probe, classes: Tensor) -> Tensor:
    return probe.logits.gather(1, classes[:, None]).squeeze(1)


def _nearer(one: Boundary, other: Boundary, q: float, farthest: bool) -> Boundary:
    """Per sample, the other boundary where it is nearer (or farther), in the memory of `one`."""
    distance, rival = one.distance(q), other.distance(q)
    nearer = rival > distance if farthest else rival < distance
    overwrite(one.slope, nearer, other.slope)
    return Boundary(
        torch.where(nearer, other.value, one.value),
        one.slope,
        torch.where(nearer, other.classes, one.classes),
    )

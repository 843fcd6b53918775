"""Linearised decision boundaries: the step that FAB, DeepFool and the trust region attack have in common."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from minadv.attacks.coordinates import Coordinates
from minadv.attacks.directions import TINY, inner, norm
from minadv.goals import Untargeted
from minadv.masks import overwrite
from minadv.oracle import Oracle
from minadv.probe import Probe

# Slopes are vague: none counts as flatter than this share of the steepest.
FLATTEST = 0.1


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


class Outlook(NamedTuple):
    """Boundaries of some classes, linearised at one point; (batch, classes) each.

    `ways`: ℓp way from the original to each; negative where the linearisation has the original beyond, ∞ for
    other classes and the label. `slopes`: ‖∇(z_k − z_y)‖_q, at least a tenth of the largest; the largest for all
    other classes, so that nothing speaks for them but their logit. Where all vanish, they are taken for equal.
    """

    ways: Tensor
    slopes: Tensor


def outlook(
    oracle: Oracle,
    at: Tensor,
    q: float,
    confidence: float,
    most: int,
    coordinates: Coordinates | None = None,
) -> Outlook:
    """Linearise the boundaries of the `most` likeliest classes at a point: a forward, and a backward for each.

    `coordinates` are what slopes are measured in; None are the entries. At the originals the pass stays
    remembered, so that a search which starts there does not pay for it again.
    """
    probe, again = oracle.probe(at), at is oracle.originals
    likeliest = others_by_logit(probe.logits, labels_of(oracle))[:, :most]
    ways = torch.full_like(oracle.logits_of_originals, torch.inf)
    slopes = torch.zeros_like(ways)
    for boundary in boundaries(oracle, probe, likeliest, confidence, differences=True, again=again):
        value = boundary.value + inner(boundary.slope, oracle.originals - at)
        measured = boundary.slope if coordinates is None else coordinates.slope(boundary.slope.clone())
        slope = norm(measured, q).clamp_min(TINY)
        ways.scatter_(1, boundary.classes[:, None], (-value / slope)[:, None])
        slopes.scatter_(1, boundary.classes[:, None], slope[:, None])
    largest = slopes.amax(dim=1, keepdim=True)
    largest = torch.where(largest > TINY, largest, 1.0)
    return Outlook(ways, torch.where(slopes > 0, torch.maximum(slopes, FLATTEST * largest), largest))


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

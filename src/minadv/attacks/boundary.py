"""Linearised decision boundaries: the step that FAB, DeepFool and the trust region attack have in common."""

from dataclasses import dataclass

import torch
from torch import Tensor

from minadv.attacks.directions import TINY, norm
from minadv.distances.base import per_sample
from minadv.goals import Untargeted
from minadv.oracle import Oracle
from minadv.probe import Probe


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
    """Return the true classes; attacks with a boundary per class are untargeted."""
    assert isinstance(oracle.goal, Untargeted)  # noqa: S101 (the registry says so, and `Attack` checks it)
    return oracle.goal.labels


def others_by_logit(logits: Tensor, labels: Tensor) -> Tensor:
    """(batch, classes − 1) classes but the label, by falling logit."""
    ranked = logits.detach().argsort(dim=1, descending=True, stable=True)
    return ranked[ranked != labels[:, None]].reshape(len(logits), -1)


def towards(oracle: Oracle, probe: Probe, classes: Tensor, confidence: float) -> Boundary:
    """Boundary to one given class per sample (one backward)."""
    chosen, label = (probe.logits.gather(1, k[:, None]).squeeze(1) for k in (classes, labels_of(oracle)))
    slope = oracle.gradient(probe, chosen - label)
    return Boundary((chosen - label).detach() - confidence, slope, classes)


def nearest(oracle: Oracle, probe: Probe, q: float, confidence: float, differences: bool = False) -> Boundary:
    """Nearest boundary among all other classes, by |F|/‖G‖_q.

    One backward per class: of each logit, as the original FAB does, or, with `differences`, of each difference
    to the label's, which is one fewer.
    """
    labels = labels_of(oracle)
    label = probe.logits.gather(1, labels[:, None]).squeeze(1)
    base = 0 if differences else oracle.gradient(probe, label, again=True)
    best: Boundary | None = None
    count = probe.logits.shape[1] - 1
    for j in range(count):
        k = j + (j >= labels).long()  # the j-th class that is not the label
        logit = probe.logits.gather(1, k[:, None]).squeeze(1)
        slope = oracle.gradient(probe, logit - label if differences else logit, again=j < count - 1) - base
        found = Boundary((logit - label).detach() - confidence, slope, k)
        best = found if best is None else _nearer(best, found, q)
    assert best is not None  # noqa: S101 (losses demand two classes)
    return best


def _nearer(one: Boundary, other: Boundary, q: float) -> Boundary:
    nearer = other.distance(q) < one.distance(q)
    return Boundary(
        torch.where(nearer, other.value, one.value),
        torch.where(per_sample(nearer, one.slope), other.slope, one.slope),
        torch.where(nearer, other.classes, one.classes),
    )

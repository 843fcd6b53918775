"""Losses of logits, one value per sample: the signed margins that attacks constrain, and cross-entropy.

All margins are negative exactly when the goal is met (attacks.md, section 0). A `tolerance` (in logits) is
added to the raw margin, so that a negative value means "beyond the boundary by more than the tolerance".
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from minadv.shapes import PerSample

Logits = Float[Tensor, "batch classes"]
Classes = Int64[Tensor, " batch"]

_DENOMINATOR_GUARD = 1e-8


def split(logits: Logits, classes: Classes) -> tuple[PerSample, PerSample]:
    """Return the logit of each sample's class and the largest among its other classes."""
    chosen = logits.gather(1, classes[:, None]).squeeze(1)
    others = logits.scatter(1, classes[:, None], -torch.inf)
    return chosen, others.amax(dim=1)


def margin(logits: Logits, labels: Classes, tolerance: float = 0.0) -> PerSample:
    """z_y − max_{k≠y} z_k + tolerance: negative when misclassified. Any number of classes ≥ 2.

    Raises:
        ValueError: with fewer than two classes.
    """
    _need_classes("margin", logits, 2, remedy="a classifier has at least two logits")
    true, other = split(logits, labels)
    return true - other + tolerance


def targeted_margin(logits: Logits, targets: Classes, tolerance: float = 0.0) -> PerSample:
    """max_{k≠t} z_k − z_t + tolerance: negative when classified as the target. Any number of classes ≥ 2.

    Raises:
        ValueError: with fewer than two classes.
    """
    _need_classes("targeted_margin", logits, 2, remedy="a classifier has at least two logits")
    target, other = split(logits, targets)
    return other - target + tolerance


def dlr_plus(logits: Logits, labels: Classes, tolerance: float = 0.0) -> PerSample:
    """DLR⁺ = (z_y − max_{k≠y} z_k) / (z_π1 − z_π3), negative when misclassified (ALMA, eq. 4).

    The tolerance is added to the numerator, and the gradient flows through the denominator as well.

    Raises:
        ValueError: with fewer than three classes; the margin loss is the way out.
    """
    _need_classes(
        "dlr_plus", logits, 3, remedy="use constraint='margin' (alma) or loss='cross-entropy' (apgd, minimal_apgd)"
    )
    first, second, third = logits.detach().topk(3, dim=1).indices.unbind(1)
    rival = torch.where(first == labels, second, first)
    # one gather has one backward
    true, other, largest, least = logits.gather(1, torch.stack((labels, rival, first, third), dim=1)).unbind(1)
    return (true - other + tolerance) / (largest - least + _DENOMINATOR_GUARD)


def margin_towards(logits: Logits, labels: Classes, targets: Classes, tolerance: float = 0.0) -> PerSample:
    """z_y − z_t + tolerance: negative when the target is likelier than the label, which then has lost.

    Raises:
        ValueError: with fewer than two classes.
    """
    _need_classes("margin_towards", logits, 2, remedy="a classifier has at least two logits")
    label, target = logits.gather(1, torch.stack((labels, targets), dim=1)).unbind(1)
    return label - target + tolerance


def dlr_towards(logits: Logits, labels: Classes, targets: Classes, tolerance: float = 0.0) -> PerSample:
    """(z_y − z_t + tolerance) / (z_π1 − z_π3): DLR⁺ with a given rival t instead of the likeliest.

    Negative when the target is likelier than the label, which then has lost, be it to another class.

    Raises:
        ValueError: with fewer than three classes.
    """
    _need_classes("dlr_towards", logits, 3, remedy="use margin")
    first, _, third = logits.detach().topk(3, dim=1).indices.unbind(1)
    label, target, largest, least = logits.gather(1, torch.stack((labels, targets, first, third), dim=1)).unbind(1)
    return (label - target + tolerance) / (largest - least + _DENOMINATOR_GUARD)


def scaled_margin(logits: Logits, labels: Classes, slopes: Logits, tolerance: float = 0.0) -> PerSample:
    """min_{k≠y} (z_y − z_k + tolerance) / slope_k: negative when misclassified, by the nearest boundary.

    Args:
        logits: (batch, classes) z.
        labels: (batch,) y.
        slopes: (batch, classes) > 0, how fast z_k − z_y changes, e.g. ‖∇(z_k − z_y)‖ somewhere; what the label's
            own entry holds makes no difference.
        tolerance: in logits.

    Raises:
        ValueError: with fewer than two classes.
    """
    _need_classes("scaled_margin", logits, 2, remedy="a classifier has at least two logits")
    gaps = logits.gather(1, labels[:, None]) - logits + tolerance
    return (gaps / slopes).scatter(1, labels[:, None], torch.inf).amin(dim=1)


def targeted_dlr_plus(logits: Logits, targets: Classes, tolerance: float = 0.0) -> PerSample:
    """tDLR⁺ = (max_{k≠t} z_k − z_t) / (z_π1 − (z_π3 + z_π4)/2), negative when the target is reached (eq. 18).

    The tolerance acts towards the target (the published code has its sign wrong here).

    Raises:
        ValueError: with fewer than four classes; the margin loss is the way out.
    """
    return targeted_margin(logits, targets, tolerance) / _targeted_spread("targeted_dlr_plus", logits)


def targeted_dlr(logits: Logits, labels: Classes, targets: Classes) -> PerSample:
    """(z_y − z_t) / (z_π1 − (z_π3 + z_π4)/2): AutoAttack's tDLR, negated (ALMA, eq. 17).

    Its sign says nothing about classes other than these two.

    Raises:
        ValueError: with fewer than four classes.
    """
    label, target = (logits.gather(1, classes[:, None]).squeeze(1) for classes in (labels, targets))
    return (label - target) / _targeted_spread("targeted_dlr", logits)


def cross_entropy(logits: Logits, labels: Classes) -> PerSample:
    """−log softmax(z)_y, one value per sample."""
    return functional.cross_entropy(logits, labels, reduction="none")


def _targeted_spread(loss: str, logits: Tensor) -> Tensor:
    _need_classes(
        loss,
        logits,
        4,
        remedy="use constraint='margin' (alma), loss='cross-entropy' (apgd, minimal_apgd) or, untargeted and with "
        "three classes, n_targets=None (minimal_apgd)",
    )
    top = logits.topk(4, dim=1).values
    return top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + _DENOMINATOR_GUARD


def _need_classes(loss: str, logits: Tensor, least: int, remedy: str) -> None:
    if logits.shape[1] < least:
        raise ValueError(
            f"{loss} needs at least {least} classes, the model's logits have {logits.shape[1]}: {remedy}"
        )

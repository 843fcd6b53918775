"""Checks of what gradient attacks follow: finite logits, and a gradient of the margin that leads somewhere."""

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from minadv.attacks.directions import farthest, norm
from minadv.diagnosis.finding import Finding
from minadv.diagnosis.subject import BEYOND_RANDOMNESS, Subject
from minadv.errors import listed

# Units that are off at a sample may be on beside it, so that its entries have a gradient there: how far beside it
# is looked, and how often.
AROUND, LOOKS_AROUND = 0.1, 3


def gradients(subject: Subject) -> tuple[Finding, ...]:
    """Non-finite logits, and input gradients of the logit margin that are absent, non-finite, zero or tiny."""
    found = _non_finite_logits(subject)
    samples = subject.select(subject.finite)
    if not len(samples):
        return found
    gradient = gradient_of(samples, samples.goal.margin)
    if isinstance(gradient, str):
        return (*found, _none(samples, gradient))
    checks = (_broken, _zero, _cut, _vanishing)
    return (*found, *(finding for check in checks for finding in check(samples, gradient)))


def gradient_of(samples: Subject, loss: Callable[[Tensor], Tensor]) -> Tensor | str:
    """Return each sample's (batch, ...) gradient of a loss of the logits, or why there is none."""
    leaf = samples.inputs.clone().requires_grad_()
    absent = "the logits do not depend on the inputs by a graph"
    try:
        losses = loss(samples.logits(leaf.clone()))
        if not losses.requires_grad:
            return absent
        gradient = cast("Tensor | None", torch.autograd.grad(losses.sum(), leaf, allow_unused=True)[0])
    except RuntimeError as error:  # the same pass works without a gradient: what torch says is about the gradient
        return f"with inputs that need a gradient the model raises: {error}"
    return absent if gradient is None else gradient


def _non_finite_logits(subject: Subject) -> tuple[Finding, ...]:
    broken = _numbers(subject, ~subject.finite)
    if not broken:
        return ()
    return (
        _finding(
            subject,
            "problem",
            f"the logits of {len(broken)} of {len(subject)} samples are NaN or infinite "
            f"(samples {listed(broken)})",
            "Such a sample has no prediction: attacks refuse it, and a benchmark that counts it as robust or as "
            "broken is wrong either way.",
            "Look for a division, logarithm, square root or overflow in forward that these images reach.",
        ),
    )


def _none(samples: Subject, why: str) -> Finding:
    return _finding(
        samples,
        "problem",
        f"the logits of all {len(samples)} samples have no gradient to the inputs: {why}",
        "Attacks by gradients cannot run at all; that says nothing about how robust the model is.",
        "Look for .detach(), .data, .numpy(), argmax or torch.no_grad() in forward; where an operation has no "
        "gradient by nature, give attacks a differentiable stand-in for it.",
    )


def _broken(samples: Subject, gradient: Tensor) -> tuple[Finding, ...]:
    broken = _numbers(samples, ~gradient.flatten(1).isfinite().all(dim=1))
    if not broken:
        return ()
    return (
        _finding(
            samples,
            "problem",
            f"the gradient of the logit margin is NaN or infinite for {len(broken)} of {len(samples)} samples "
            f"with finite logits (samples {listed(broken)})",
            "Attacks here take such a gradient for zero; others become NaN and report a robust sample.",
            "Look for sqrt, norm, log or division at 0 in forward, and for torch.where around them, which does "
            "not stop a NaN gradient.",
        ),
    )


def _zero(samples: Subject, gradient: Tensor) -> tuple[Finding, ...]:
    still = _numbers(samples, (gradient == 0).flatten(1).all(dim=1))
    if not still:
        return ()
    return (
        _finding(
            samples,
            "problem",
            f"the gradient of the logit margin is exactly 0 for {len(still)} of {len(samples)} samples "
            f"(samples {listed(still)})",
            "A gradient attack can only guess here, and what it misses looks like robustness.",
            "Look for rounding, quantisation, thresholds, a saturated softmax or sigmoid, or dead units; attack "
            "through a differentiable stand-in, and compare with an attack that needs no gradient.",
        ),
    )


def _cut(samples: Subject, gradient: Tensor) -> tuple[Finding, ...]:
    """Entries without a gradient, in every sample and all around it, that move the margin nevertheless."""
    still, near = (gradient == 0).all(dim=0), samples.inputs
    for seed in range(LOOKS_AROUND):
        if not still.any() or still.all():  # there is none, or all is said
            return ()
        near = samples.inputs.lerp(samples.noise(seed), AROUND)
        still &= _still(samples, near)
    beside = samples.inputs.lerp(samples.noise(LOOKS_AROUND), AROUND).where(still, near)
    # units that are off at both ends have not moved a margin: it is none of theirs
    if not still.any() or not _still(samples, beside)[still].all():
        return ()
    before, again, after = (samples.goal.margin(samples.forward(x)) for x in (near, near, beside))
    allowed = (BEYOND_RANDOMNESS * (again - before).abs()).clamp_min(2 * samples.rounding)
    moved = (after - before).abs()
    if not (moved > allowed).all():
        return ()
    return (
        _finding(
            samples,
            "warning",
            f"the gradient of the logit margin is exactly 0 at the same {int(still.sum())} of {still.numel()} "
            f"entries of all {len(samples)} samples, but changing these alone, by less than {AROUND:g}, moves the "
            f"margin (by {moved.median():.3g} logits in the median)",
            "Gradient attacks never change what has no gradient: what could be found there looks like robustness.",
            "Look for .detach(), rounding or quantisation of a part of the inputs (a patch, a channel) in "
            "forward, and attack through a differentiable stand-in.",
        ),
    )


def _still(samples: Subject, x: Tensor) -> Tensor:
    """Return which entries, (...), have a gradient of exactly 0 at all of other images (batch, ...)."""
    gradient = gradient_of(replace(samples, inputs=x), samples.goal.margin)
    return torch.zeros_like(x[0], dtype=torch.bool) if isinstance(gradient, str) else (gradient == 0).all(dim=0)


def _vanishing(samples: Subject, gradient: Tensor) -> tuple[Finding, ...]:
    """To first order the boundary is margin/‖gradient‖ away: outside the box, the gradient leads nowhere."""
    usable = samples.correct & gradient.flatten(1).isfinite().all(dim=1)
    length = norm(gradient.nan_to_num(), 2)
    tiny = usable & (length > 0) & (samples.goal.margin(samples.clean) > length * farthest(samples.inputs, 2))
    if not tiny.any():
        return ()
    return (
        _finding(
            samples,
            "warning",
            f"for {int(tiny.sum())} of {int(usable.sum())} correctly classified samples the gradient of the logit "
            f"margin is so small (median ℓ2 norm {length[tiny].median():.1g}) that, followed in a straight line, "
            "no image in [0, 1] would be misclassified",
            "Such gradients come from saturated units more often than from robustness: an attack starts on a "
            "plateau, and its first steps are in no particular direction.",
            "Compare with a gradient-free attack, more restarts and transfer; remove squashing functions and "
            "temperatures while attacking.",
        ),
    )


def _finding(subject: Subject, severity: str, seen: str, matters: str, remedy: str) -> Finding:
    return Finding.model_validate(
        {
            "check": "gradients",
            "severity": severity,
            "model": subject.name,
            "seen": seen,
            "matters": matters,
            "remedy": remedy,
        }
    )


def _numbers(subject: Subject, mask: Tensor) -> list[int]:
    return [int(number) for number in subject.numbers[mask]]

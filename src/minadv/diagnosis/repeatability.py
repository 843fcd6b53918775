"""Checks that a sample's answer is its own: no randomness, no influence of the batch."""

from collections.abc import Callable

import torch
from torch import Tensor

from minadv.diagnosis.finding import Finding
from minadv.diagnosis.subject import BEYOND_RANDOMNESS, Subject


def randomness(subject: Subject) -> tuple[Finding, ...]:
    """Two forward passes of the same batch that differ."""
    difference, changed = subject.changes(subject.forward(subject.inputs), subject.rounding)
    if difference.max() <= subject.rounding:
        return ()
    return (
        Finding(
            check="randomness",
            severity="problem" if changed.any() else "warning",
            model=subject.name,
            seen=f"two forward passes of the same {len(subject)} samples change {int(changed.sum())} predictions "
            f"and the logits of {int((difference > subject.rounding).sum())} samples, "
            f"by up to {difference.max():.3g} (rounding explains {subject.rounding:.1g})",
            matters="A minimal perturbation lies on the decision boundary, where chance then decides whether it "
            "counts: results cannot be repeated, and a gradient of one draw says little about the next.",
            remedy="Switch the randomness off (dropout, noise, random resizing), fix its seed inside forward, or "
            "average the logits over many draws inside the model.",
        ),
    )


def batch_dependence(subject: Subject) -> tuple[Finding, ...]:
    """Logits of a sample that change with its company or its place in the batch."""
    x = subject.inputs
    noise = subject.noise(seed=0)
    again, _ = subject.changes(subject.forward(x), 0.0)
    finite = again[again.isfinite()]
    allowed = subject.rounding
    if len(finite) and finite.max() > allowed:
        allowed = BEYOND_RANDOMNESS * finite.max().item()
    companies: dict[str, Callable[[], Tensor]] = {
        "alone": lambda: torch.cat([subject.forward(x[i : i + 1]) for i in range(len(x))]),
        "in reverse order": lambda: subject.forward(x.flip(0)).flip(0),
        "among noise": lambda: subject.forward(torch.cat((x, noise)))[: len(x)],
    }
    seen: list[str] = []
    any_changed = False
    for company, answer in companies.items():
        difference, changed = subject.changes(answer(), allowed)
        if difference.max() > allowed:
            any_changed |= bool(changed.any())
            seen.append(
                f"{company}, {int(changed.sum())} of {len(x)} predictions change and the logits of "
                f"{int((difference > allowed).sum())} samples, by up to {difference.max():.3g}"
            )
    if not seen:
        return ()
    return (
        Finding(
            check="batch dependence",
            severity="problem" if any_changed else "warning",
            model=subject.name,
            seen=f"compared with the batch of {len(x)}: {'; '.join(seen)} (allowed for rounding: {allowed:.1g})",
            matters="An adversarial example that was found in one batch may be none in another or alone, and one "
            "sample's perturbation changes the answers for others: per-sample distances mean nothing.",
            remedy="Use running statistics in batch normalisation (track_running_stats, model.eval()), and look "
            "for means, maxima or sorting over the first axis in forward. If the differences are small, look for "
            "half precision inside the model.",
        ),
    )

"""Checks of a model's outputs: probabilities in place of logits, their scale, and a loss that saturates."""

from torch import Tensor
from torch.nn import functional

from minadv.diagnosis.finding import Finding
from minadv.diagnosis.gradients import gradient_of
from minadv.diagnosis.subject import Subject
from minadv.logit_scale import LogitScale
from minadv.verification import Settings

# how far the outputs of a softmax computed in half precision sum from 1
SUM_TOLERANCE = 1e-3
# fewer rows than this can sum to 1 by chance
FEWEST_ROWS = 2


def probabilities(subject: Subject) -> tuple[Finding, ...]:
    """Find outputs that are probabilities, or log-probabilities, in place of logits."""
    outputs = subject.clean[subject.finite]
    if len(outputs) < FEWEST_ROWS:
        return ()
    inside = ((outputs >= -SUM_TOLERANCE) & (outputs <= 1 + SUM_TOLERANCE)).all()
    if inside and ((outputs.sum(dim=1) - 1).abs() < SUM_TOLERANCE).all():
        certain = int((outputs.amax(dim=1) == 1).sum())
        return (
            Finding(
                check="probabilities",
                severity="problem",
                model=subject.name,
                seen=f"the outputs of all {len(outputs)} samples lie in [0, 1] and sum to 1, and {certain} of "
                "them have an output of exactly 1: they are probabilities, not logits",
                matters="A softmax saturates: where the model is sure, its gradient vanishes and attacks stand "
                "still, so that the model looks more robust than it is. Margins in logits are not what they say.",
                remedy="Take the softmax out of the model, or return log-probabilities.",
            ),
        )
    if (outputs.logsumexp(dim=1).abs() < SUM_TOLERANCE).all():
        return (
            Finding(
                check="probabilities",
                severity="note",
                model=subject.name,
                seen=f"the outputs of all {len(outputs)} samples are log-probabilities: their "
                "exponentials sum to 1",
                matters="Differences of log-probabilities are those of logits, so that margins, losses and "
                "attacks are right, unless the model takes the logarithm of a rounded softmax.",
                remedy="Nothing, if the model ends in log_softmax.",
            ),
        )
    return ()


def scale(subject: Subject) -> tuple[Finding, ...]:
    """Find logits that hardly differ: an answer has to be `confidence` logits beyond the boundary."""
    samples = subject.select(subject.correct)
    if not len(samples):
        return ()
    found, confidence = LogitScale.of(samples.clean, samples.goal.margin(samples.clean)), Settings.confidence
    impossible = found.too_small(confidence)
    if not impossible and not found.close(confidence):
        return ()
    return (
        Finding(
            check="scale",
            severity="problem" if impossible else "warning",
            model=subject.name,
            seen=f"of {len(samples)} correctly classified samples, the largest and the smallest logit differ by "
            f"{found.spread:.3g}, and the boundary is {found.near:.3g} logits away (medians)",
            matters=f"An answer has to be confidence={confidence:g} logits beyond the boundary, so that attacks "
            + ("find nothing here, whatever the model is worth." if impossible else "go farther than they must."),
            remedy="Scale the model's logits, which changes no prediction, or pass a smaller confidence.",
        ),
    )


def saturation(subject: Subject) -> tuple[Finding, ...]:
    """Cross-entropy that is exactly 0, or has a gradient of exactly 0, where the margin still has one."""
    samples = subject.select(subject.correct)
    if not len(samples):
        return ()
    of_margin = gradient_of(samples, samples.goal.margin)
    of_loss = gradient_of(samples, samples.goal.ascent)
    if isinstance(of_margin, str) or isinstance(of_loss, str):
        return ()  # the check of gradients speaks
    moving = _moves(of_margin)
    still = moving & (of_loss == 0).flatten(1).all(dim=1)
    sure = moving & (samples.goal.ascent(samples.clean) == 0)
    if not (still | sure).any():
        return ()
    margin = samples.goal.margin(samples.clean).median().item()
    certain = functional.softmax(samples.clean, dim=1).amax(dim=1) == 1
    return (
        Finding(
            check="saturation",
            severity="problem" if still.any() else "warning",
            model=subject.name,
            seen=f"of {len(samples)} correctly classified samples, {int((moving & certain).sum())} have a softmax "
            f"of exactly 1, {int(sure.sum())} a cross-entropy of exactly 0 and {int(still.sum())} a cross-entropy "
            f"without gradient, while the logit margin has one; the median margin is {margin:.3g} logits",
            matters="Attacks that follow the cross-entropy (DDN, APGD, PGD, most of the literature's) do not move "
            "on these samples or cannot tell better from worse, and overstate the robustness.",
            remedy="Use attacks on the margin or DLR⁺ (ALMA, FMN, APGD with loss='dlr'), or "
            "divide the logits by a constant, which changes no prediction.",
        ),
    )


def _moves(gradient: Tensor) -> Tensor:
    """Whether each sample has a finite gradient that is not exactly 0."""
    return gradient.isfinite().flatten(1).all(dim=1) & (gradient != 0).flatten(1).any(dim=1)

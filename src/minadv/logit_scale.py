"""How large logits are: for their rounding, and for answers that are `confidence` of them beyond the boundary."""

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

# Where a boundary is fewer times the confidence away, that makes distances some per cent larger.
NEAR = 50


@dataclass(frozen=True)
class LogitScale:
    """Medians over clean images: of the largest logit less the smallest, and of how far the boundary is."""

    spread: float
    near: float

    @classmethod
    def of(cls, logits: Tensor, margin: Tensor) -> "LogitScale":
        """Measure (batch, classes) logits and their (batch,) margins."""
        spread = logits.amax(dim=1) - logits.amin(dim=1)
        return cls(spread.median().item(), margin.abs().median().item())

    def too_small(self, confidence: float) -> bool:
        """Whether hardly any answer can be so many logits beyond the boundary."""
        return self.spread < 2 * confidence

    def close(self, confidence: float) -> bool:
        """Whether the boundary is so close that answers go farther for the confidence's sake."""
        return self.near < NEAR * confidence


def deciding(logits: Tensor, margin: Tensor) -> Tensor:
    """Return the (batch,) larger absolute value of the two logits whose difference is the margin.

    One of them is the largest logit. Others may be no measure of rounding: masked classes are at −1e9, say.

    Args:
        logits: (batch, classes).
        margin: (batch,) of a goal, without tolerance.
    """
    largest = logits.amax(dim=1)
    return torch.maximum(largest.abs(), (largest - margin.abs()).abs())


def deciding_or_usual(logits: Tensor, margin: Tensor) -> Tensor:
    """Return the same, but no less than the batch's median: small logits are sums of larger values.

    That depends on the batch: it is for comparisons with what is known, and for no answers.
    """
    each = deciding(logits, margin)
    return each.clamp_min(each.nan_to_num(0, 0, 0).median().item())


def differ(one: Tensor, other: Tensor, share: float, slack: Tensor) -> Tensor:
    """Return the (batch,) rows of logits that differ by more than a slack each, and than a share of themselves.

    Args:
        one: (batch, classes) logits.
        other: (batch, classes) of the same samples.
        share: what rounding changes a logit by, relative to it.
        slack: (batch,) what it changes any logit by.
    """
    return ((one - other).abs() > torch.maximum(slack[:, None], share * one.abs())).any(dim=1)


def check_scale(logits: Tensor, margin: Tensor, confidence: float, asked: bool) -> None:
    """Warn where logits are so small that `confidence` logits beyond a boundary are far, or more than there are.

    Args:
        logits: (batch, classes) of the clean images.
        margin: (batch,) how many logits each is from the boundary.
        confidence: how many beyond it an answer has to be.
        asked: whether that was chosen: then distances may grow by it.
    """
    scale, remedy = LogitScale.of(logits, margin), "scale the model's logits, or pass a smaller confidence"
    if scale.too_small(confidence):
        text = (
            f"the largest and the smallest logit of a clean image differ by {scale.spread:.3g} only (median), and "
            f"an answer has to be confidence={confidence:g} logits beyond the boundary: {remedy}"
        )
    elif not asked and scale.close(confidence):
        text = (
            f"a clean image is {scale.near:.3g} logits from the boundary (median), and an answer has to be "
            f"confidence={confidence:g} logits beyond it, which makes distances larger: {remedy}"
        )
    else:
        return
    warnings.warn(text, UserWarning, stacklevel=5)

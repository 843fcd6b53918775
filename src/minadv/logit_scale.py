"""Whether logits are large enough for answers that have to be `confidence` of them beyond the boundary."""

import warnings
from dataclasses import dataclass

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

"""Searches that see only decisions: which images are adversarial. No gradient, no logit value is used."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from minadv.bisection import bisect, bracket
from minadv.distances import resolve
from minadv.goals import Untargeted
from minadv.result import Result
from minadv.shapes import per_sample
from minadv.verification import Outcome, Settings, classify, verify

DISTANCE = "l2"
# on [0, 1], 2⁻¹² of a segment is far below the 1 % that matters
HALVINGS = 12


@dataclass(eq=False)
class Decisions:
    """Answers "is it adversarial?" for images of a batch, and counts how often it was asked.

    Attributes:
        model: from inputs to logits.
        originals: (batch, ...) inputs whose adversarials are searched.
        goal: what counts.
        settings: the confidence that is demanded, as in every attack.
        queries: forward passes of each sample so far.
    """

    model: Callable[[Tensor], Tensor]
    originals: Tensor
    goal: Untargeted
    settings: Settings
    queries: int = 0

    def __call__(self, x: Tensor) -> Tensor:
        """(batch,) whether each image is adversarial by the confidence; NaN logits are not."""
        self.queries += 1
        return self.goal.margin(classify(self.model, x, self.settings), self.settings.confidence) < 0

    def along(self, ends: Tensor, halvings: int = HALVINGS, doublings: int = 0) -> tuple[Tensor, Tensor]:
        """Find an adversarial between the originals and `ends`, near the first one, by bisection.

        Args:
            ends: (batch, ...) images in [0, 1].
            halvings: of the segment.
            doublings: how often the segment may be made twice as long (and clipped to the box) before that.

        Returns:
            The images, and (batch,) whether they are adversarial (each was classified as it is returned).
        """

        def at(share: Tensor) -> Tensor:
            # the end itself, where it is meant: x0 + (x1 − x0) rounds
            inner = self.originals + per_sample(share, ends) * (ends - self.originals)
            return inner.where(per_sample(share != 1, ends), ends).clamp(0, 1)

        low, high = bracket(lambda share: ~self(at(share)), torch.ones_like(ends.flatten(1)[:, 0]), doublings)
        _, high = bisect(lambda share: ~self(at(share)), low, high, halvings)
        images = at(high)
        return images, self(images)

    def result(self, answers: Tensor, found: Tensor, clean: Tensor) -> Result:
        """Verify answers by a separate forward pass; `clean` (batch, classes) are the originals' logits."""
        already = self.goal.margin(clean, self.settings.confidence) < 0
        outcome = Outcome(
            inputs=self.originals,
            answers=answers.where(per_sample(found & ~already, answers), self.originals),
            found=found & ~already,
            already=already,
            non_finite=~clean.isfinite().all(dim=1),
            unmeasured=torch.zeros_like(already),
            flat=torch.zeros_like(already),
        )
        verified = verify(self.model, outcome, self.goal, resolve(DISTANCE), self.settings)
        asked = torch.full_like(already, self.queries, dtype=torch.int64)
        return Result(
            **verified,
            forwards=asked,
            backwards=torch.zeros_like(asked),
            clean_predictions=clean.argmax(dim=1),
            distance=DISTANCE,
            confidence=self.settings.confidence,
        )

"""What counts as adversarial: goals are values that turn logits into a signed margin.

A goal's `margin` is negative exactly when the goal is met by more than `tolerance` logits; ties are not
adversarial. `constraint` is the same statement in the form an attack prefers: scale-invariant (DLR⁺) or raw.
"""

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from torch import Tensor

from minadv import losses
from minadv.losses import Classes, Logits, PerSample

Constraint = Literal["dlr", "margin"]


@runtime_checkable
class Goal(Protocol):
    """What counts as adversarial for each sample of a batch."""

    def margin(self, logits: Logits, tolerance: float = 0.0) -> PerSample:
        """Raw logit margin, negative when the goal is met by more than `tolerance`."""
        ...

    def constraint(self, logits: Logits, kind: Constraint = "dlr", tolerance: float = 0.0) -> PerSample:
        """Signed constraint g, negative exactly when `margin` is."""
        ...

    def ascent(self, logits: Logits) -> PerSample:
        """Cross-entropy loss whose increase leads to the goal."""
        ...

    def select(self, rows: Tensor) -> "Goal":
        """Return the same goal for the given rows (indices or mask) of the batch."""
        ...


@dataclass(frozen=True, eq=False)
class Untargeted:
    """Any class but the true one. `labels`: (batch,) int64."""

    labels: Classes

    def margin(self, logits: Logits, tolerance: float = 0.0) -> PerSample:
        """z_y − max_{k≠y} z_k + tolerance."""
        return losses.margin(logits, self.labels, tolerance)

    def constraint(self, logits: Logits, kind: Constraint = "dlr", tolerance: float = 0.0) -> PerSample:
        """DLR⁺ or the raw margin.

        Raises:
            ValueError: for DLR⁺ with fewer than three classes, the margin with fewer than two.
        """
        loss = losses.dlr_plus if kind == "dlr" else losses.margin
        return loss(logits, self.labels, tolerance)

    def ascent(self, logits: Logits) -> PerSample:
        """Cross-entropy of the true class."""
        return losses.cross_entropy(logits, self.labels)

    def select(self, rows: Tensor) -> "Untargeted":
        """Return the goal of the given rows."""
        return Untargeted(self.labels[rows])


@dataclass(frozen=True, eq=False)
class Targeted:
    """Exactly the target class. `targets`: (batch,) int64."""

    targets: Classes

    def margin(self, logits: Logits, tolerance: float = 0.0) -> PerSample:
        """max_{k≠t} z_k − z_t + tolerance."""
        return losses.targeted_margin(logits, self.targets, tolerance)

    def constraint(self, logits: Logits, kind: Constraint = "dlr", tolerance: float = 0.0) -> PerSample:
        """Return tDLR⁺ or the raw margin.

        Raises:
            ValueError: for tDLR⁺ with fewer than four classes, the margin with fewer than two.
        """
        loss = losses.targeted_dlr_plus if kind == "dlr" else losses.targeted_margin
        return loss(logits, self.targets, tolerance)

    def ascent(self, logits: Logits) -> PerSample:
        """Cross-entropy of the target, negated."""
        return -losses.cross_entropy(logits, self.targets)

    def select(self, rows: Tensor) -> "Targeted":
        """Return the goal of the given rows."""
        return Targeted(self.targets[rows])


def constraint_for(goal: Goal, classes: int) -> Constraint:
    """DLR⁺, or the margin where there are too few classes for it, or a target.

    Far from the boundary, DLR⁺'s denominator leads elsewhere: a target that is none of the likeliest classes may
    never be reached.
    """
    return "margin" if isinstance(goal, Targeted) or classes < 3 else "dlr"

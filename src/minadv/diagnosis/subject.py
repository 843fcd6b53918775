"""What is diagnosed: a model as a function, some labelled samples, and the clean logits."""

import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from minadv.goals import Untargeted
from minadv.guard import Model, guarded
from minadv.validation import check_classes, check_inputs, check_logits, check_range

# Alone, a sample's logits are summed in other orders than in a batch: measured on six models of the zoo and
# on untrained ResNet-50 and VGG-16, they differ by 1e-7 to 1.2e-6 of the largest logit in float32, whose machine
# epsilon is 1.2e-7; batch statistics, or dropout of 1 %, move them by 2e-2 or more. 100 epsilons are 1.2e-5.
ROUNDING_EPSILONS = 100


@dataclass(frozen=True, eq=False)
class Subject:
    """A guarded model (evaluation mode, frozen parameters) with some samples.

    Attributes:
        name: what findings call the model.
        logits: from inputs to logits.
        inputs, labels: (batch, ...) in [0, 1] and (batch,).
        clean: (batch, classes) logits of the inputs, without a graph; rows may be NaN or infinite.
        numbers: (batch,) what findings call the samples: their places among all that are diagnosed.
    """

    name: str
    logits: Callable[[Tensor], Tensor]
    inputs: Float[Tensor, "batch ..."]
    labels: Int64[Tensor, " batch"]
    clean: Float[Tensor, "batch classes"]
    numbers: Int64[Tensor, " batch"]

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def goal(self) -> Untargeted:
        """Any class but the label."""
        return Untargeted(self.labels)

    @cached_property
    def finite(self) -> Bool[Tensor, " batch"]:
        """Samples all of whose logits are finite."""
        return self.clean.isfinite().all(dim=1)

    @cached_property
    def correct(self) -> Bool[Tensor, " batch"]:
        """Samples with finite logits that are classified as their label, by more than a tie."""
        return self.finite & (self.goal.margin(self.clean) > 0)

    @cached_property
    def rounding(self) -> float:
        """Largest difference of logits that rounding explains."""
        largest = self.clean[self.finite].abs().max().item() if self.finite.any() else 1.0
        return ROUNDING_EPSILONS * torch.finfo(self.clean.dtype).eps * largest

    def forward(self, x: Tensor) -> Tensor:
        """Logits without a graph, of a copy (a model may work in place)."""
        with torch.no_grad():
            return self.logits(x.clone())

    def select(self, rows: Tensor) -> "Subject":
        """Return the same model with some of the samples."""
        inputs, labels, clean = self.inputs[rows], self.labels[rows], self.clean[rows]
        return Subject(self.name, self.logits, inputs, labels, clean, self.numbers[rows])


@contextmanager
def examined(model: Model, inputs: Tensor, labels: Tensor, name: str) -> Generator[Subject]:
    """Guard the model, look at the clean inputs, and yield the subject; every flag is restored afterwards.

    Warnings of the guard and of attacks inside are not shown: the checks say the same with numbers.

    Raises:
        TypeError, ValueError: for inputs, labels or an output that no attack could work with.
        Exception: what the model itself raises for its clean inputs.
    """
    inputs = check_inputs(inputs)
    labels = check_classes("labels", labels, inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with guarded(model, inputs) as logits:
            with torch.no_grad():
                clean = logits(inputs.clone())
            check_logits(clean.nan_to_num(0, 0, 0), inputs)  # rows that are not finite are findings, not errors
            check_range("labels", labels, clean.shape[1])
            yield Subject(name, logits, inputs, labels, clean, torch.arange(len(inputs), device=inputs.device))


def predictions(logits: Float[Tensor, "batch classes"]) -> Int64[Tensor, " batch"]:
    """Class of each row, −1 where a logit is NaN or infinite."""
    return logits.argmax(dim=1).where(logits.isfinite().all(dim=1), -1)


def changes(one: Tensor, other: Tensor, rounding: float) -> tuple[Tensor, Tensor]:
    """Compare two answers for the same samples.

    Returns:
        (batch,) largest difference of each sample's logits, inf where only one of them is finite and 0 where
        neither is; (batch,) whether the prediction changes by more than rounding.
    """
    finite = one.isfinite().all(dim=1), other.isfinite().all(dim=1)
    difference = (one - other).abs().amax(dim=1).where(finite[0] & finite[1], 0.0)
    difference = difference.where(finite[0] == finite[1], torch.inf)
    return difference, (predictions(one) != predictions(other)) & (difference > rounding)

"""What is diagnosed: a model as a function, some labelled samples, and the clean logits."""

import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from minadv import random
from minadv.goals import Untargeted
from minadv.guard import Model, alike, guarded
from minadv.validation import check_classes, check_inputs, check_logits, check_range

# Alone, a sample's logits are summed in other orders than in a batch: measured on six models of the zoo and
# on untrained ResNet-50 and VGG-16, they differ by 1e-7 to 1.2e-6 of the largest logit in float32, whose machine
# epsilon is 1.2e-7; batch statistics, or dropout of 1 %, move them by 2e-2 or more. 100 epsilons are 1.2e-5.
# The epsilon is that of the inputs: what a model computes in half precision beside them is no excuse.
ROUNDING_EPSILONS = 100
# a random model differs from itself; only larger differences have another reason
BEYOND_RANDOMNESS = 10


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
        """Largest difference of logits that rounding explains, of those that decide a prediction."""
        deciding = self.clean[self.finite].topk(2, dim=1).values.abs()
        return self.epsilons * (deciding.max().item() if len(deciding) else 1.0)

    @property
    def epsilons(self) -> float:
        """The same, relative to a logit."""
        return ROUNDING_EPSILONS * torch.finfo(self.inputs.dtype).eps

    def changes(self, other: Tensor, rounding: float) -> tuple[Tensor, Tensor]:
        """Compare another answer for the same samples with the clean one.

        Returns:
            (batch,) largest difference of each sample's logits, inf where only one of them is finite and 0 where
            neither is; (batch,) whether the prediction changes by more than rounding. Logits that differ by no
            more than they are rounded by themselves count as equal, such as those of masked classes, at −1e9.
        """
        finite = self.finite, other.isfinite().all(dim=1)
        difference = (self.clean - other).abs()
        difference = difference.where(difference > self.epsilons * self.clean.abs(), 0.0).amax(dim=1)
        difference = difference.where(finite[0] & finite[1], 0.0).where(finite[0] == finite[1], torch.inf)
        return difference, (predictions(self.clean) != predictions(other)) & (difference > rounding)

    def forward(self, x: Tensor) -> Tensor:
        """Logits without a graph, of a copy (a model may work in place)."""
        with torch.no_grad():
            return self.logits(x.clone())

    def noise(self, seed: int) -> Tensor:
        """(batch, ...) uniform noise in [0, 1], each sample's own."""
        keys = random.keys(self.inputs, seed=seed)
        return random.uniform(keys, self.inputs[0].numel()).reshape(self.inputs.shape).to(self.inputs.dtype)

    def select(self, rows: Tensor) -> "Subject":
        """Return the same model with some of the samples."""
        inputs, labels, clean = self.inputs[rows], self.labels[rows], self.clean[rows]
        return Subject(self.name, self.logits, inputs, labels, clean, self.numbers[rows])


@contextmanager
def examined(model: Model, inputs: Tensor, labels: Tensor, name: str) -> Generator[Subject]:
    """Guard the model, look at the clean inputs, and yield the subject; every flag is restored afterwards.

    Warnings of the guard and of attacks inside are not shown: the checks say the same with numbers. Logits have
    the inputs' dtype, and the caller's autocast is off for the model, as where answers are verified.

    Raises:
        TypeError, ValueError: for inputs, labels or an output that no attack could work with.
        Exception: what the model itself raises for its clean inputs.
    """
    inputs = check_inputs(inputs)
    labels = check_classes("labels", labels, inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with guarded(model, inputs) as looked_at:
            logits = partial(_as_verified, looked_at)
            with torch.no_grad():
                clean = logits(inputs.clone())
            check_logits(clean.nan_to_num(0, 0, 0), inputs)  # rows that are not finite are findings, not errors
            check_range("labels", labels, clean.shape[1])
            yield Subject(name, logits, inputs, labels, clean, torch.arange(len(inputs), device=inputs.device))


def _as_verified(logits: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        return alike(logits)(x)


def predictions(logits: Float[Tensor, "batch classes"]) -> Int64[Tensor, " batch"]:
    """Class of each row, −1 where a logit is NaN or infinite."""
    return logits.argmax(dim=1).where(logits.isfinite().all(dim=1), -1)

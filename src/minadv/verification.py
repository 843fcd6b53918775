"""Verification: what an attack may call a success, and the one number that decides it.

A minimal perturbation sits on the decision boundary, where rounding decides. `Settings.confidence` says how
far beyond the boundary, in logits, a point must be to count, during the search and here.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypedDict

import torch
from torch import Tensor
from torch.nn.functional import linear

from minadv.distances import Distance, family
from minadv.gates import KEPT
from minadv.goals import Goal
from minadv.logit_scale import deciding
from minadv.memory import ran_out
from minadv.result import Status

# Two forward passes of one tensor differ by rounding (batch size, kernels): verification forgives this many
# logits of the confidence that the search demanded, or so many epsilons of the larger logit of the sample's
# margin, and never accepts a tie.
ROUNDING_SLACK, ROUNDING_EPSILONS = 5e-5, 4
# CPU kernels round a sample's logits differently in batches of 1, 2, 3, 5, … than in large ones, and a search
# amplifies that: measured, distances moved by more than 100 %. Batches that are multiples of this agree to the
# last bit on every image network that we tried (one of ten features did not), so batches are filled up with copies
# of their last sample.
CPU_BATCH_MULTIPLE = 4
# On some CPUs (Intel's, with AVX-512), matrix products of less than 16 rows are rounded differently besides:
# what holds here is measured, with layers like a network's last.
LAYERS = ((256, 2), (512, 10))
# Copies of large images (entries per sample) would cost more than equal rounding is worth.
LARGEST_FILLED = 2**15
# Distances are recomputed in float64, a few images at a time: colours take many intermediates.
ROWS_AT_A_TIME = 16
# What a distance of one's own may be from an image to itself, relative to its answer's: roots of sums with an ε
# move it by much less than that.
NOTABLE = 0.05
# What is below 0 by more than this is not a distance that was rounded.
ROUNDED = 1e-6

Precision = Literal["float32", "bfloat16", "float16"]
PRECISIONS: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True)
class Settings:
    """What every search is asked for: see `Attack`. `autocast` is the dtype of the caller's own, if it is on."""

    confidence: float = 1e-4
    levels: int | None = None
    budget: int | None = None
    seed: int = 0
    trace: bool = False
    fill_up: bool = True
    precision: Precision | None = None
    channels_last: bool = False
    autocast: torch.dtype | None = None

    @property
    def lower(self) -> torch.dtype | None:
        """The precision of the search where it is lower than that of the verification."""
        return None if self.precision in (None, "float32") else PRECISIONS[self.precision]

    def fill(self, rows: Tensor, inputs: Tensor) -> Tensor:
        """Repeat the last of the given row numbers up to a batch size whose rounding is that of large batches."""
        wanted = self.fill_up and inputs.device.type == "cpu" and inputs[0].numel() <= LARGEST_FILLED
        missing = max(-len(rows) % CPU_BATCH_MULTIPLE, fewest_rows() - len(rows)) if wanted else 0
        return torch.cat((rows, rows[-1:].expand(missing))) if missing and len(rows) else rows


@cache
def fewest_rows() -> int:
    """From how many rows on this CPU rounds products of a matrix like those of large batches; measured once."""
    largest = 8 * CPU_BATCH_MULTIPLE
    sizes, differ = range(CPU_BATCH_MULTIPLE, largest, CPU_BATCH_MULTIPLE), set[int]()
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        for inner, outer in LAYERS:
            x, weight = torch.linspace(-1, 1, largest * inner).sin_(), torch.linspace(-2, 2, outer * inner).sin_()
            x, weight = x.reshape(largest, inner), weight.reshape(outer, inner)
            whole = linear(x, weight, weight[:, 0])
            differ |= {n for n in sizes if not torch.equal(linear(x[:n], weight, weight[:, 0]), whole[:n])}
    return max(differ, default=0) + CPU_BATCH_MULTIPLE


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a search claims, for every row of the batch: the tensors are (batch, ...) and (batch,).

    `kept` is whether ReLUs kept their own gates where soft ones were asked for.
    """

    inputs: Tensor
    answers: Tensor
    found: Tensor
    already: Tensor
    non_finite: Tensor
    unmeasured: Tensor
    flat: Tensor
    kept: bool = False


class Verified(TypedDict):
    """What verification knows about each row."""

    adversarials: Tensor
    success: Tensor
    distances: Tensor
    margins: Tensor
    predictions: Tensor
    status: tuple[Status, ...]


def verify(
    model: Callable[[Tensor], Tensor], outcome: Outcome, goal: Goal, distance: Distance, settings: Settings
) -> Verified:
    """Classify the answers again by a separate forward pass, and recompute their distances.

    Rows that were not found, that have no distance ≥ 0, or that do not pass become the original with distance inf.
    That is another batch, and verified again, until all that is returned has passed as it is returned.

    Warns:
        UserWarning: when answers of the search do not pass, when a distance was none, or when the search began
            without a gradient.
    """
    distances, measurable = _distances(outcome, distance)
    answers, success = outcome.answers, (outcome.found & measurable) | outcome.already
    answers[~measurable] = outcome.inputs[~measurable]
    while True:
        logits = classify(model, answers, settings)
        passed = success & _passes(answers, logits, goal, outcome.already, settings)
        failing, success = success & ~passed, passed
        if not failing.any():
            break
        answers[failing] = outcome.inputs[failing]
    _tell_offset(outcome, success, distances, distance)
    distances = torch.where(success, distances, torch.inf)
    lost = outcome.found & measurable & ~success
    if lost.any():
        rounded = "" if settings.lower is None else f", and precision={settings.precision!r} can be left out"
        if settings.precision is None and settings.autocast is not None:
            rounded = ", and under autocast precision='bfloat16' keeps what its rounding would lose"
        warnings.warn(
            f"{int(lost.sum())} of {int(outcome.found.sum())} adversarials were not classified the same way by a "
            "second forward pass and count as failures: the model depends on its batch, its logits differ by more "
            "than rounding, or it is random, and then the mean of fixed draws can be attacked (docs/recipes.md)"
            f"{rounded}",
            UserWarning,
            stacklevel=4,
        )
    none = outcome.unmeasured | ~measurable
    if none.any():
        failed = f", and {int((~measurable).sum())} of them count as failures" if not measurable.all() else ""
        warnings.warn(
            f"distance {distance.name} was NaN, infinite or negative in the search for {int(none.sum())} of "
            f"{len(none)} samples, and their answers may be far from the nearest{failed}: it has to be finite and "
            "≥ 0 on the whole box [0, 1]",
            UserWarning,
            stacklevel=4,
        )
    if outcome.flat.any():
        flat, samples = int(outcome.flat.sum()), len(outcome.flat)
        warnings.warn(
            f"the gradient was exactly 0 (or not finite) where the search began for {flat} of {samples} samples, "
            "as rounding or saturation makes it, in the model or of a loss at large logits: answers are missing "
            "or may be far from the nearest; `minadv diagnose` tells more (docs/diagnosis.md), and "
            "docs/recipes.md has a remedy for steps without a gradient",
            UserWarning,
            stacklevel=4,
        )
    if outcome.kept:
        warnings.warn(
            f"gradients of the model are masked, and {KEPT}; soft_gates=False takes none",
            UserWarning,
            stacklevel=4,
        )
    return Verified(
        adversarials=answers,
        success=success,
        distances=distances,
        margins=goal.margin(logits),
        predictions=logits.argmax(dim=1),
        status=_statuses(outcome, success),
    )


def classify(model: Callable[[Tensor], Tensor], x: Tensor, settings: Settings) -> Tensor:
    """Logits of stored images: no graph, no autocast, on a copy (a model may work in place)."""
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        return model(x[settings.fill(torch.arange(len(x), device=x.device), x)])[: len(x)]


def quantise(x: Tensor, levels: int | None) -> Tensor:
    """Round images in [0, 1] to multiples of 1/(levels − 1), as saving them with that many levels would."""
    return x if levels is None else (x * (levels - 1)).round() / (levels - 1)


def _passes(x: Tensor, logits: Tensor, goal: Goal, already: Tensor, settings: Settings) -> Tensor:
    """Beyond the boundary, finite, in the box, and on the grid where one is asked for."""
    eps = torch.finfo(logits.dtype).eps
    margin = goal.margin(logits)
    slack = (ROUNDING_EPSILONS * eps * deciding(logits, margin)).clamp_min(ROUNDING_SLACK)
    beyond = margin < -(settings.confidence - slack).clamp_min(0)
    allowed = ((x >= 0) & (x <= 1)).flatten(1).all(dim=1)  # false for NaN
    on_grid = (x == quantise(x, settings.levels)).flatten(1).all(dim=1)
    return beyond & allowed & (on_grid | already)


def measured(distance: Distance, x: Tensor, x0: Tensor) -> Tensor:
    """(batch,) distances of stored images, a few at a time, in float64 where device and distance have it."""
    try:
        return _measured(distance, x, x0, x0.dtype if x0.device.type == "mps" else torch.float64)
    except RuntimeError as error:
        if x0.dtype == torch.float64 or ran_out(error):
            raise
        # what the caller's own distance computes with may have the images' precision
        return _measured(distance, x, x0, x0.dtype)


@torch.no_grad()
def _measured(distance: Distance, x: Tensor, x0: Tensor, dtype: torch.dtype) -> Tensor:
    parts = (slice(start, start + ROWS_AT_A_TIME) for start in range(0, len(x), ROWS_AT_A_TIME))
    return torch.cat([distance(x[rows].to(dtype), x0[rows].to(dtype)) for rows in parts])


def _distances(outcome: Outcome, distance: Distance) -> tuple[Tensor, Tensor]:
    """Recompute distances from the stored images, ≥ 0; and whether each is one, up to rounding."""
    report = outcome.inputs.new_zeros(len(outcome.inputs))
    rows = torch.nonzero(outcome.found).flatten()
    if len(rows):
        report[rows] = measured(distance, outcome.answers[rows], outcome.inputs[rows]).to(report.dtype)
    return report.clamp_min(0), (report >= -ROUNDED) & report.isfinite()


def _tell_offset(outcome: Outcome, success: Tensor, distances: Tensor, distance: Distance) -> None:
    """Warn when a good part of what the caller's own distance says of answers it says of the originals, too."""
    rows = torch.nonzero(success & ~outcome.already).flatten()
    if family(distance) or not len(rows):
        return
    x0 = outcome.inputs[rows]
    offset = measured(distance, x0, x0).to(distances.dtype)
    large = offset.abs() > NOTABLE * distances[rows]
    if large.any():
        worst = int((offset.abs() / distances[rows]).nan_to_num().argmax())
        warnings.warn(
            f"distance {distance.name} is {offset[worst].item():.4g} from an image to itself, where its answer is "
            f"{distances[rows][worst].item():.4g} away, for {int(large.sum())} of {len(rows)} samples: it has to "
            "be 0 there, or what is reported is not the change alone",
            UserWarning,
            stacklevel=5,
        )


def _statuses(outcome: Outcome, success: Tensor) -> tuple[Status, ...]:
    failed = torch.where(outcome.non_finite, 3, 2)
    codes = torch.where(success, torch.where(outcome.already, 0, 1), failed).cpu()
    names = (Status.ALREADY, Status.FOUND, Status.NOT_FOUND, Status.NON_FINITE)
    return tuple(names[int(code)] for code in codes)

"""What a run folder says about each sample beyond the attack's own result."""

from collections.abc import Iterator

import polars as pl
import torch
from torch import Tensor

from minadv import distances, verification
from minadv.distances import Distance
from minadv.distances.ssim import WINDOW
from minadv.goals import Targeted, Untargeted
from minadv.guard import Model, guarded
from minadv.result import Result
from minadv.run_folder import COLUMNS

ROWS_AT_ONCE = 64


def table(result: Result, samples: list[int], labels: Tensor, originals: Tensor, survives: Tensor) -> pl.DataFrame:
    """One row per sample: the attack's result, and every other distance that applies.

    Args:
        result: of the attack, on the CPU.
        samples: number of each sample in the data set.
        labels: (batch,) true classes.
        originals: (batch, ...) what was attacked.
        survives: (batch,) whether the adversarial image still is one after rounding to 8 bits.
    """
    columns = {
        "sample": torch.tensor(samples, dtype=torch.int64),
        "label": labels,
        "clean_prediction": result.clean_predictions,
        "adversarial_prediction": result.predictions,
        "success": result.success,
        "distance": result.distances,
        "forwards": result.forwards,
        "backwards": result.backwards,
        "margin": result.margins,
        "survives_8bit": survives,
    }
    others = other_distances(result, originals)
    rows = pl.DataFrame({name: values.numpy() for name, values in (columns | others).items()})
    return rows.select(
        pl.Series("status", [status.value for status in result.status]),
        # the question makes no sense where there is no adversarial
        pl.when("success").then("survives_8bit").alias("survives_8bit"),
        pl.exclude("survives_8bit"),
    ).select(*(pl.col(name).cast(dtype) for name, dtype in COLUMNS.items()), *others)


def other_distances(result: Result, originals: Tensor) -> dict[str, Tensor]:
    """Every distance that needs no weights and applies, in float64; inf where the attack failed."""
    return {name: measured(distances.get(name), result, originals) for name in applicable(originals)}


def measured(distance: Distance, result: Result, originals: Tensor) -> Tensor:
    """(batch,) distances of the stored images, in float64; inf where the attack failed."""
    found = verification.measured(distance, result.adversarials, originals)
    return found.double().masked_fill(~result.success, torch.inf)


def applicable(images: Tensor) -> tuple[str, ...]:
    """Names of the distances that need no weights and are defined for these samples."""
    names = ["l0", "l1", "l2", "linf"]
    if images.ndim == 4 and min(images.shape[-2:]) >= WINDOW:
        names.append("ssim")
    if images.ndim == 4 and images.shape[1] == 3:
        names.append("ciede2000")
    return tuple(names)


def survive_8_bits(
    model: Model, adversarials: Tensor, labels: Tensor, target: int | None, device: torch.device
) -> Tensor:
    """Whether each image still meets the goal after its values are rounded to multiples of 1/255."""
    kept: list[Tensor] = []
    for rows in _chunks(len(adversarials)):
        images, classes = verification.quantise(adversarials[rows].to(device), 256), labels[rows].to(device)
        goal = Untargeted(classes) if target is None else Targeted(torch.full_like(classes, target))
        with guarded(model, images) as logits, torch.no_grad():
            kept.append((goal.margin(logits(images)) < 0).cpu())
    return torch.cat(kept)


def _chunks(count: int) -> Iterator[slice]:
    return (slice(start, start + ROWS_AT_ONCE) for start in range(0, count, ROWS_AT_ONCE))

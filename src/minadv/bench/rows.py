"""What a finished shard says about each of its samples."""

import warnings
from collections.abc import Mapping
from functools import lru_cache

import polars as pl
from torch import Tensor

from minadv import distances, measurement
from minadv.bench.records import MEASURED, ROWS, Cell
from minadv.distances import Distance
from minadv.distances.lpips import Linear
from minadv.guard import Model
from minadv.networks import home
from minadv.result import Result

# Label of a minimised distance → the column that measures the same for every attack. The paper minimises LPIPS
# without learned weights, and evaluates it with them, in its own way.
COLUMN_OF = {
    **{name: name for name in ("l0", "l1", "l2", "linf", "ssim", "ciede2000")},
    "ciede2000[paper]": "ciede2000_paper",
    "lpips[alex]": "lpips",
    "lpips[alex,none]": "lpips_paper",
}
# Columns of LPIPS on AlexNet, and what each makes of the learned weights.
PERCEPTUAL: dict[str, Linear] = {"lpips": "learned", "lpips_paper": "paper"}


def column(minimises: str) -> str:
    """Return the column by which attacks that minimise this are compared: a measured one where there is one."""
    found = COLUMN_OF.get(minimises, "distance")
    return "distance" if found in PERCEPTUAL and found not in perceptual() else found


def of(
    result: Result,
    model: Model,
    originals: Tensor,
    labels: Tensor,
    *,
    cell: Cell,
    samples: list[int],
    contents: list[str],
    target: int | None,
    seconds: float,
) -> pl.DataFrame:
    """Return one row of `ROWS` per sample, without the shard's id.

    Args:
        result: of the attack, on the CPU.
        model: on the CPU or another device; classifies the rounded images once more.
        originals: (batch, ...) in [0, 1].
        labels: (batch,).
        cell: what the rows belong to.
        samples: numbers of the originals in the data set.
        contents: their hashes.
        target: class to reach, or None.
        seconds: of the whole shard; each sample's share is that of its propagations.
    """
    survives = measurement.survive_8_bits(model, result.adversarials, labels, target, home(model))
    measured = measurement.table(result, samples, labels, originals, survives)
    spent = (result.forwards + result.backwards).double() + 1
    names = {"cell": cell.id, "data": cell.data, "model": cell.model, "attack": cell.attack}
    more = _more_distances(result, originals)
    return measured.with_columns(
        *(pl.lit(value).alias(name) for name, value in {**names, "minimises": cell.minimises}.items()),
        pl.Series("content", contents),
        pl.Series("seconds", (seconds * spent / spent.sum()).numpy()),
        *(pl.Series(name, values.numpy()) for name, values in more.items()),
        *(
            pl.lit(None, pl.Float64).alias(name)
            for name in MEASURED
            if name not in measured.columns and name not in more
        ),
    ).select(pl.col(name).cast(dtype) for name, dtype in ROWS.items() if name != "shard")


def _more_distances(result: Result, originals: Tensor) -> dict[str, Tensor]:
    """Distances beyond those of every run: colour on the paper's scale, and LPIPS where its weights are."""
    wanted: dict[str, Distance] = {}
    if "ciede2000" in measurement.applicable(originals):
        wanted["ciede2000_paper"] = distances.get("ciede2000", scale="paper")
    if _perceived(originals):
        wanted |= perceptual()
    return {name: measurement.measured(distance, result, originals) for name, distance in wanted.items()}


def _perceived(originals: Tensor) -> bool:
    """Whether LPIPS is measured, and AlexNet takes such images: its poolings leave nothing of small ones."""
    official = perceptual().get("lpips")
    if official is None:
        return False
    try:
        official.anchored(originals[:1])
    except ValueError:
        return False
    return True


@lru_cache(maxsize=1)
def perceptual() -> Mapping[str, Distance]:
    """Return LPIPS on AlexNet with its learned weights, by column; none where they are not on this machine.

    Warns:
        UserWarning: they are, and cannot be read.
    """
    try:
        return {name: distances.get("lpips", linear=linear) for name, linear in PERCEPTUAL.items()}
    except (OSError, ImportError):
        return {}
    except ValueError as error:
        warnings.warn(f"LPIPS is not measured: {error}", UserWarning, stacklevel=2)
        return {}

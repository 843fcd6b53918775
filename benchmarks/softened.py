"""Other attacks on public models as they are, and with soft gates in their backward passes (`Softened`).

    python -m benchmarks.softened [--samples 100] [--out FILE]

The models are those in ../shared/data; answers are verified on the models as they are.
"""

from collections.abc import Iterator
from pathlib import Path

from benchmarks import targets
from benchmarks.parity import AT, CIFAR, KW
from benchmarks.tables import Table
from benchmarks.tracking import Track, on_public_models
from minadv import ALMA, DDN, FAB, FMN, Attack, MinimalAPGD, Result
from minadv.models import Softened

STEPS = 100
WIDTHS = 0.005, 0.015
ATTACKS: tuple[Attack, ...] = (
    *(ALMA(distance=distance, steps=STEPS, soft_gates=False) for distance in ("l1", "l2", "linf", "ssim")),
    *(FMN(distance=distance, steps=STEPS) for distance in ("l1", "l2", "linf")),
    DDN(steps=STEPS),
    FAB(distance="l2", steps=STEPS // 10),
    MinimalAPGD(distance="linf"),
)
COLUMNS = ("model", "attack", "distance", "as it is", *(f"gates of {width}" for width in WIDTHS))


def tables(folder: Path, samples: int, track: Track) -> Iterator[Table]:
    """Yield the table after every row."""
    rows = list[tuple[str, ...]]()
    cases = [(name, attack) for name in (KW, AT, CIFAR) for attack in ATTACKS]
    note = f"Median distances of the first {samples} images that each model classifies correctly, {STEPS} steps."
    for case in track("softened", cases):
        name, attack = case
        model, *images = targets.load(name, folder, samples)
        results = [attack(one, *images) for one in (model, *(Softened(model, width) for width in WIDTHS))]
        rows.append((name, type(attack).__name__, results[0].distance, *map(_median, results)))
        yield Table("Soft gates", COLUMNS, tuple(rows), note, complete=case is cases[-1])


def _median(result: Result) -> str:
    return f"{result.median:.4g}" + ("" if result.asr == 1 else f" ({100 * result.asr:.0f} %)")


if __name__ == "__main__":
    on_public_models(__doc__, tables, width=160)

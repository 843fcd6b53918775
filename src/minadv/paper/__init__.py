"""The numbers that the ALMA paper prints in tables 4 to 15 (Rony et al., ICCV 2021, appendix), as data.

They are in `tables.csv`: one line per row of a table, in the order of print, numbers as printed. Attacks have the
names of `minadv.attacks.tables.rows`. CIEDE2000 is on the paper's scale, "ssim" is 1 − SSIM.
"""

import csv
import math
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Row:
    """One attack on one model.

    Attributes:
        table: 4 to 15.
        data, distance: "mnist", "cifar10" or "imagenet"; "l1", "l2", "ciede2000", "lpips" or "ssim".
        asr: attack success rate in per cent.
        median: of the distance itself, not in the table's unit; inf where the table has "–" (ASR < 50 %).
        printed: the median as printed, in `unit`; "–" for inf.
        unit: what the printed median is multiplied by, e.g. 0.01.
        forwards, backwards: propagations per sample, on average.
        note: what to know about this row, or "".
    """

    table: int
    data: str
    distance: str
    model: str
    attack: str
    asr: float
    median: float
    printed: str
    unit: float
    forwards: int
    backwards: int
    note: str


@dataclass(frozen=True)
class Table:
    """What one table is about.

    Attributes:
        figure: number of the figure with the robust accuracy curves of the same attacks, or None.
        caption: in our words.
        note: what to know about the whole table, or "".
    """

    number: int
    data: str
    distance: str
    figure: int | None
    caption: str
    note: str = ""

    @property
    def unit(self) -> float:
        """What printed medians are multiplied by."""
        return rows(self.number)[0].unit

    @property
    def models(self) -> tuple[str, ...]:
        """In the order of print."""
        return tuple(dict.fromkeys(row.model for row in rows(self.number)))

    @property
    def attacks(self) -> tuple[str, ...]:
        """In the order of print, the same for every model."""
        return tuple(dict.fromkeys(row.attack for row in rows(self.number)))


TABLES = {
    table.number: table
    for table in (
        Table(4, "mnist", "l1", 6, "ℓ1 attacks on MNIST"),
        Table(5, "mnist", "l2", 7, "ℓ2 attacks on MNIST"),
        Table(6, "cifar10", "l1", 8, "ℓ1 attacks on CIFAR10"),
        Table(7, "cifar10", "l2", 9, "ℓ2 attacks on CIFAR10"),
        Table(8, "cifar10", "ciede2000", 10, "CIEDE2000 attacks on CIFAR10"),
        Table(9, "cifar10", "lpips", 11, "LPIPS attacks on CIFAR10"),
        Table(10, "cifar10", "ssim", None, "ALMA under 1 − SSIM on CIFAR10"),
        Table(11, "imagenet", "l1", 12, "ℓ1 attacks on ImageNet"),
        Table(12, "imagenet", "l2", 13, "ℓ2 attacks on ImageNet"),
        Table(
            13,
            "imagenet",
            "ciede2000",
            14,
            "CIEDE2000 attacks on ImageNet",
            "The printed caption says CIFAR10, but the models are those of ImageNet.",
        ),
        Table(14, "imagenet", "lpips", 15, "LPIPS attacks on ImageNet"),
        Table(15, "imagenet", "ssim", None, "ALMA under 1 − SSIM on ImageNet"),
    )
}


def rows(table: int | None = None) -> tuple[Row, ...]:
    """Return the rows of a table, or of all, in the order of print.

    Raises:
        ValueError: for a number that is not 4 to 15.
    """
    if table is not None and table not in TABLES:
        raise ValueError(f"table must be one of {', '.join(map(str, TABLES))}, got {table}")
    return tuple(row for row in _read() if table in (None, row.table))


def find(data: str, distance: str, model: str, attack: str) -> Row | None:
    """Return what the paper prints for an attack on a model, or None."""
    return _by_name().get((data, distance, model, attack))


@cache
def _by_name() -> dict[tuple[str, str, str, str], Row]:
    return {(row.data, row.distance, row.model, row.attack): row for row in _read()}


@cache
def _read() -> tuple[Row, ...]:
    lines = files("minadv.paper").joinpath("tables.csv").read_text(encoding="utf-8").splitlines()
    return tuple(_row(line) for line in csv.DictReader(lines))


def _row(line: dict[str, str]) -> Row:
    printed, unit = line["median"], line["unit"]
    return Row(
        table=int(line["table"]),
        data=line["data"],
        distance=line["distance"],
        model=line["model"],
        attack=line["attack"],
        asr=float(line["asr"]),
        # decimal, so that 0.32 × 0.01 is the float 0.0032
        median=float(Decimal(printed) * Decimal(unit)) if printed else math.inf,
        printed=printed or "–",
        unit=float(unit),
        forwards=int(line["forwards"]),
        backwards=int(line["backwards"]),
        note=line["note"],
    )

"""What things are called in tables, figures and file names."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath

from minadv.bench.records import Cell
from minadv.report.symbols import symbol as symbol

DATA = {"mnist": "MNIST", "cifar10": "CIFAR-10", "imagenet": "ImageNet"}
DIGITS, POWERS = "-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"


def compared_by(cell: Cell) -> str:
    """Return the label of the distance by which a cell is compared with others."""
    return cell.minimises if cell.column == "distance" else cell.column


def family(distance: str) -> str:
    """Return the distance without its options and scale: "ciede2000" of "ciede2000[paper]"."""
    return distance.partition("[")[0].removesuffix("_paper")


def exponent(distance: str, paper: str | None) -> int:
    """Return the power of ten in which a distance is printed, as in the paper: 1 − SSIM is tiny."""
    if family(distance) == "ssim":
        return -5 if paper == "imagenet" else -4
    return -2 if family(distance) == "lpips" else 0


def power(exponent: int) -> str:
    """Return e.g. "×10⁻²", nothing for 0."""
    return f"×10{str(exponent).translate(str.maketrans(DIGITS, POWERS))}" if exponent else ""


def plain(power: str) -> str:
    """Return a superscript number in ordinary digits."""
    return power.translate(str.maketrans(POWERS, DIGITS))


def titles(cells: Sequence[Cell]) -> dict[str, str]:
    """Return a short title for every data spec: the suite's or the paper's name, or a path without its folders.

    Two specs never share a title.
    """
    short = {
        cell.data: cell.data_name or (DATA[cell.paper] if cell.paper else _short(cell.data)) for cell in cells
    }
    taken = list(short.values())
    return {data: title if taken.count(title) == 1 else data for data, title in short.items()}


def _short(data: str) -> str:
    kind, colon, path = data.partition(":")
    return PurePath(path).name or data if colon and "/" in path else f"{kind}{colon}{path}"


def slugs(names: Iterable[str]) -> list[str]:
    """Return names of files and anchors: lower-case ASCII, each different from those before."""
    made: list[str] = []
    for name in names:
        simple = name.lower().translate(str.maketrans({"ℓ": "l", "∞": "inf"}))
        stem = re.sub(r"[^a-z0-9]+", "-", simple).strip("-")[:60] or "unnamed"
        made.append(next(tried for tried in _numbered(stem) if tried not in made))
    return made


def _numbered(stem: str) -> Iterator[str]:
    yield stem
    number = 2
    while True:
        yield f"{stem}-{number}"
        number += 1

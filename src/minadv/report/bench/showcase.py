"""The gallery: a few samples of each model with the adversarials of several attacks next to each other."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from torch import Tensor

from minadv.bench.records import MEASURED
from minadv.bench.store import DamagedError
from minadv.bench.stored import Stored
from minadv.distances import CIEDE2000
from minadv.report import gallery, pictures
from minadv.report.bench import names, selection
from minadv.report.bench.groups import Entry, Group
from minadv.report.bench.tables import grouped
from minadv.report.summary import class_name, number

BYTES = 2_000_000  # of all pictures on a page
MODELS = 12  # that have pictures on a page
SHOWN = tuple(name for name in MEASURED if not name.endswith("_paper"))


@dataclass(frozen=True)
class Card:
    """One adversarial: its pictures as addresses that contain them, and what is said about it.

    Attributes:
        factor: by which the change is scaled; "" when there is none.
        colours: heat map of ΔE₀₀, and its largest value; None for grey images.
        distance: the one by which the attack is compared; `others` are those that were measured besides.
    """

    attack: str
    adversarial: str
    change: str
    factor: str
    colours: tuple[str, str] | None
    after: str
    distance: str
    others: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """Size on the page."""
        return len(self.adversarial) + len(self.change) + len(self.colours[0] if self.colours else "")


@dataclass(frozen=True)
class Strip:
    """One sample: the original, and what attacks made of it."""

    kind: str
    sample: int
    original: str
    label: str
    before: str
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class Gallery:
    """Samples of one model. Small pictures are shown pixel by pixel."""

    title: str
    pixelated: bool
    strips: tuple[Strip, ...]


def of(stored: Stored, rows: pl.DataFrame, cells: pl.DataFrame, groups: Sequence[Group]) -> tuple[Gallery, ...]:
    """Return the gallery of the first models, within `BYTES`: first typical samples, then easy and hard ones."""
    entries = {entry.number: entry for group in groups for entry in group.entries}
    group_of = {entry.number: group for group in groups for entry in group.entries}
    cells = cells.join(cells.select("data", "model").unique(maintain_order=True)[:MODELS], on=("data", "model"))
    rows = rows.filter(pl.col("entry").is_in(cells["entry"].implode()))
    chosen = selection.choose(rows, cells)
    found = selection.found(rows, cells, chosen)
    left = BYTES
    strips: dict[tuple[str, str], list[Strip]] = {}
    pixelated: dict[tuple[str, str], bool] = {}
    for kind in ("typical", "easy", "hard"):
        for (data, model), samples in chosen.items():
            if kind not in samples or left <= 0:
                continue
            candidates = selection.beside(found.get((data, model, samples[kind])))
            made = _strip(stored, kind, candidates, entries, group_of, left)
            if made is None:
                continue
            strip, pixelated[data, model], used = made
            left -= used
            strips.setdefault((data, model), []).append(strip)
    titles = names.titles(stored.cells)
    order = list(selection.KINDS)
    return tuple(
        Gallery(
            f"{titles[data]}, {model}",
            pixelated[data, model],
            tuple(sorted(made, key=lambda strip: order.index(strip.kind))),
        )
        for (data, model), made in strips.items()
    )


def _strip(
    stored: Stored,
    kind: str,
    shown: list[dict[str, object]],
    entries: dict[int, Entry],
    group_of: dict[int, Group],
    room: int,
) -> tuple[Strip, bool, int] | None:
    cards: list[Card] = []
    original, used, pixelated, facts = "", 0, True, {}
    for row in shown:
        entry = entries[_whole(row["entry"])]
        try:
            found = stored.pictures(entry.cell.id, [_whole(row["sample"])])
        except DamagedError:  # the folder's notes say so
            continue
        if not pictures.can_show(found.originals):
            return None
        if not original:
            original = pictures.compact_uri(found.originals[0])
            used, pixelated, facts = len(original), not pictures.large(found.originals[0]), row
        card = _card(row, entry, group_of[entry.number], found.originals[0], found.adversarials[0])
        if used + card.bytes > room:
            break
        used += card.bytes
        cards.append(card)
    if not cards:
        return None
    cell = entries[_whole(facts["entry"])].cell
    strip = Strip(
        kind=kind,
        sample=_whole(facts["sample"]),
        original=original,
        label=class_name(cell.classes, _whole(facts["label"])),
        before=class_name(cell.classes, _whole(facts["clean_prediction"])),
        cards=tuple(cards),
    )
    return strip, pixelated, used


def _card(row: dict[str, object], entry: Entry, group: Group, original: Tensor, adversarial: Tensor) -> Card:
    change, factor = pictures.difference(adversarial, original)
    others = [
        _printed(name, _real(row[name]), names.exponent(name, entry.cell.paper))
        for name in SHOWN
        if row[name] is not None and name != entry.cell.column
    ]
    return Card(
        attack=entry.cell.attack,
        adversarial=pictures.compact_uri(adversarial),
        change=pictures.compact_uri(change),
        factor="" if factor is None else gallery.magnification(factor),
        colours=_colours(original, adversarial),
        after=class_name(entry.cell.classes, _whole(row["adversarial_prediction"])),
        distance=_printed(group.distance, _real(row["value"]), group.exponent),
        others=tuple(others),
    )


def _printed(distance: str, value: float, exponent: int) -> str:
    """Write a distance in the power of ten of the tables, whether the attack minimised it or not."""
    scaled = value / 10**exponent
    text = number(scaled) if scaled < 10_000 else grouped(f"{scaled:.0f}")
    return f"{names.symbol(distance)} {text} {names.power(exponent)}".strip()


def _colours(original: Tensor, adversarial: Tensor) -> tuple[str, str] | None:
    """Heat map of ΔE₀₀ per pixel, black is none, with its largest value; None for grey images."""
    if len(original) != pictures.COLOUR:
        return None
    differences = CIEDE2000().map(adversarial[None].float(), original[None].float())[0]
    largest = differences.max().item()
    return pictures.compact_uri(pictures.heat(differences)), f"{largest:.3g}"


def _whole(value: object) -> int:
    return value if isinstance(value, int) else -1


def _real(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan

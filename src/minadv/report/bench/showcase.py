"""The gallery: a few samples of each model with the adversarials of several attacks next to each other."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from torch import Tensor

from minadv.bench.records import MEASURED, Stored
from minadv.distances import CIEDE2000
from minadv.report import gallery, pictures
from minadv.report.bench import names
from minadv.report.bench.groups import Entry, Group
from minadv.report.summary import number
from minadv.result import Status

BYTES, MOST = 2_000_000, 6  # of all pictures on a page; attacks beside one another
KINDS = {"easy": 0.1, "typical": 0.5, "hard": 0.9}
SHOWN = tuple(name for name in MEASURED if name != "ciede2000_paper")


@dataclass(frozen=True)
class Card:
    """One adversarial: its pictures as addresses that contain them, and what is said about it.

    Attributes:
        factor: by how much the change is magnified; "" when there is none.
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
    """Return the gallery, within `BYTES`: typical samples of every model first, then easy and hard ones."""
    entries = {entry.number: entry for group in groups for entry in group.entries}
    group_of = {entry.number: group for group in groups for entry in group.entries}
    chosen = choose(rows, cells)
    found = _rows(rows, cells, chosen)
    left = BYTES
    strips: dict[tuple[str, str], list[Strip]] = {}
    pixelated: dict[tuple[str, str], bool] = {}
    for kind in ("typical", "easy", "hard"):
        for (data, model), samples in chosen.items():
            if kind not in samples or left <= 0:
                continue
            candidates = beside(found.get((data, model, samples[kind])))
            made = _strip(stored, kind, candidates, entries, group_of, left)
            if made is None:
                continue
            strip, pixelated[data, model], used = made
            left -= used
            strips.setdefault((data, model), []).append(strip)
    titles = names.titles(stored.cells)
    order = list(KINDS)
    return tuple(
        Gallery(
            f"{titles[data]}, {model}",
            pixelated[data, model],
            tuple(sorted(made, key=lambda strip: order.index(strip.kind))),
        )
        for (data, model), made in strips.items()
    )


def choose(rows: pl.DataFrame, cells: pl.DataFrame) -> dict[tuple[str, str], dict[str, int]]:
    """Return an easy, a typical and a hard sample of each (data, model).

    Samples are ordered by their median rank over attacks, since distances of different kinds do not compare.
    Those that most attacks did are considered, without those that were wrong from the start.
    """
    ranked = (
        rows.lazy()
        .filter(pl.col("attacked") & (pl.col("clean_prediction") == pl.col("label")))
        .select("entry", "sample", place=pl.col("value").rank("average").over("entry"))
        .join(cells.lazy().select("entry", "data", "model"), on="entry", maintain_order="left")
        .group_by("data", "model", "sample", maintain_order=True)
        .agg(pl.col("place").median(), attacks=pl.len())
        .filter(pl.col("attacks") == pl.col("attacks").max().over("data", "model"))
        .sort("place", "sample")
        .group_by("data", "model")
        .agg("sample")
        .collect()
    )
    samples = {(data, model): found for data, model, found in ranked.iter_rows()}
    chosen: dict[tuple[str, str], dict[str, int]] = {}
    for key in cells.select("data", "model").unique(maintain_order=True).iter_rows():
        if key in samples:
            last = len(samples[key]) - 1
            found = {kind: samples[key][round(share * last)] for kind, share in KINDS.items()}
            chosen[key] = {kind: found[kind] for kind in _apart(found)}
    return chosen


def _apart(found: dict[str, int]) -> list[str]:
    """Kinds whose samples differ; the typical one stays."""
    seen: dict[int, str] = {}
    for kind in ("typical", "easy", "hard"):
        seen.setdefault(found[kind], kind)
    return list(seen.values())


def _rows(
    rows: pl.DataFrame, cells: pl.DataFrame, chosen: dict[tuple[str, str], dict[str, int]]
) -> dict[tuple[str, str, int], pl.DataFrame]:
    """Return what was found for the chosen samples, each by (data, model, sample)."""
    keys = [(*key, sample) for key, samples in chosen.items() for sample in samples.values()]
    schema = {"data": pl.String, "model": pl.String, "sample": pl.Int64}
    wanted = pl.DataFrame(keys, schema=schema, orient="row")
    labels = cells.select("entry", "data", "model", "compared_by")
    found = (
        rows.filter(pl.col("sample").is_in(wanted["sample"].unique().implode()))
        .filter(pl.col("status") == Status.FOUND.value)
        .join(labels, on="entry", maintain_order="left")
        .join(wanted, on=list(schema), how="semi")
    )
    parts = found.partition_by(*schema, maintain_order=True)
    return {(part["data"][0], part["model"][0], part["sample"][0]): part for part in parts}


def beside(found: pl.DataFrame | None) -> list[dict[str, object]]:
    """Return what is shown of a sample: the best attack for each distance, then the next best, up to `MOST`."""
    if found is None:
        return []
    ranked = found.with_columns(turn=pl.col("value").rank("ordinal").over("compared_by"))
    order = list(dict.fromkeys(found["compared_by"].to_list()))
    listed = sorted(ranked.iter_rows(named=True), key=lambda row: (row["turn"], order.index(row["compared_by"])))
    first = listed[: max(MOST, len(order))]
    return sorted(first, key=lambda row: (order.index(row["compared_by"]), row["turn"]))


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
        found = stored.pictures(entry.cell.id, [_whole(row["sample"])])
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
        label=cell.class_name(_whole(facts["label"])),
        before=cell.class_name(_whole(facts["clean_prediction"])),
        cards=tuple(cards),
    )
    return strip, pixelated, used


def _card(row: dict[str, object], entry: Entry, group: Group, original: Tensor, adversarial: Tensor) -> Card:
    change, factor = pictures.difference(adversarial, original)
    value = _real(row["value"]) / 10**group.exponent
    others = [
        f"{names.symbol(name)} {number(_real(row[name]))}"
        for name in SHOWN
        if row[name] is not None and name != entry.cell.column
    ]
    return Card(
        attack=entry.cell.attack,
        adversarial=pictures.compact_uri(adversarial),
        change=pictures.compact_uri(change),
        factor="" if factor is None else gallery.magnification(factor),
        colours=_colours(original, adversarial),
        after=entry.cell.class_name(_whole(row["adversarial_prediction"])),
        distance=f"{group.symbol} {number(value)} {names.power(group.exponent)}".strip(),
        others=tuple(others),
    )


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

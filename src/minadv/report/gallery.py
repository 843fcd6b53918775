"""Which samples the report shows, and their pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import polars as pl

from minadv.report import pictures
from minadv.report.summary import class_name, number
from minadv.result import Status
from minadv.run_folder import Run

MOST, FEWEST, PIXELS = 24, 6, 600_000  # samples on a page; large images are fewer, so that it stays light


@dataclass(frozen=True)
class Card:
    """One sample: three pictures and what is said about them; of a failure only the original is shown."""

    sample: int
    original: str
    adversarial: str
    difference: str
    factor: str
    label: str
    before: str
    after: str
    distance: str
    status: str
    success: bool


@dataclass(frozen=True)
class Group:
    """Samples that are shown under one heading."""

    title: str
    cards: tuple[Card, ...]


def groups(run: Run) -> tuple[Group, ...]:
    """Return the gallery; empty for samples that are not pictures."""
    if not pictures.can_show(run.originals):
        return ()
    height, width = run.originals.shape[-2:]
    return tuple(
        Group(title, tuple(_card(run, row) for row in rows))
        for title, rows in choose(run.results, places(height, width)).items()
    )


def places(height: int, width: int) -> int:
    """Return how many samples a page has room for."""
    return max(FEWEST, min(MOST, PIXELS // (height * width)))


def choose(results: pl.DataFrame, count: int) -> dict[str, list[int]]:
    """Return titles and row numbers of at most `count` samples: easy, typical, hard and failed ones.

    A quarter of the places each is for the smallest, middle and largest distances; the rest is for failures
    and for samples that were wrong from the start.
    """
    rows = results.with_row_index("row").sort("distance", "row")
    by_status = {status: rows.filter(pl.col("status") == status.value)["row"].to_list() for status in Status}
    failed = by_status[Status.NOT_FOUND] + by_status[Status.NON_FINITE]
    found = ends_and_middle(by_status[Status.FOUND], count // 4)
    titles = ("Smallest distances", "Around the median", "Largest distances")
    chosen = dict(zip(titles, found, strict=True)) if found[2] else {"Found": found[0]}
    chosen |= _some("No adversarial found", failed, count // 6)
    chosen |= _some("Wrong before the attack", by_status[Status.ALREADY], count // 12)
    return {title: members for title, members in chosen.items() if members}


def _some(title: str, rows: list[int], most: int) -> dict[str, list[int]]:
    """Return the first rows under a title that says how many there are where these are not all."""
    return {title if len(rows) <= most else f"{title} ({most} of {len(rows)})": rows[:most]}


def ends_and_middle(ordered: Sequence[int], each: int) -> tuple[list[int], list[int], list[int]]:
    """Return the first, middle and last `each` of an ordered sequence; all as the first when it is short."""
    if len(ordered) <= 3 * each:
        return list(ordered), [], []
    middle = (len(ordered) - each) // 2
    return list(ordered[:each]), list(ordered[middle : middle + each]), list(ordered[-each:])


def magnification(factor: float) -> str:
    """Return how much a change was magnified, as it is printed."""
    return f"{factor:.2g}" if factor < 10 else f"{factor:.0f}"


def _card(run: Run, row: int) -> Card:
    facts, name = run.results.row(row, named=True), partial(class_name, run.configuration.classes)
    original, adversarial = run.originals[row], run.adversarials[row]
    change, factor = pictures.difference(adversarial, original)
    return Card(
        sample=facts["sample"],
        original=pictures.data_uri(original),
        adversarial=pictures.data_uri(adversarial),
        difference=pictures.data_uri(change),
        factor="" if factor is None else magnification(factor),
        label=name(facts["label"]),
        before=name(facts["clean_prediction"]),
        after=name(facts["adversarial_prediction"]),
        distance=number(facts["distance"]),
        status=facts["status"],
        success=facts["success"],
    )

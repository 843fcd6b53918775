"""Colours and dashes of attacks: the same on the page, in print, and for every model."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from minadv.bench.records import Cell
from minadv.report.bench.groups import Group

# Told apart by the colour-blind too (after Okabe and Ito, and Tol): on white, and on black.
LIGHT = (
    "#0072b2", "#d55e00", "#009e73", "#b8418c", "#e09b00", "#4db4e6", "#3a3a3a", "#6a4bc4", "#8c7a00", "#8a3b12",
)  # fmt: skip
DARK = (
    "#4aa3e0", "#f0803c", "#25c297", "#e58ac0", "#f4b942", "#9ad8f8", "#e2e2e2", "#a892f5", "#c7bb45", "#c98a63",
)  # fmt: skip
FULL = ("solid", "dash", "dashdot")  # where there are more attacks than colours
REDUCED = "dot"


@dataclass(frozen=True)
class Style:
    """Number of a colour in the palettes, and a dash: "dot" for less than the attack's most steps and budget."""

    colour: int
    dash: str


def styles(groups: Sequence[Group]) -> dict[int, Style]:
    """Return the style of every entry, by its number.

    An attack has one colour wherever it occurs. Variants of it that are compared with one another (names that
    differ in more than the final number of steps and the budget) have colours of their own.
    """
    slots: dict[tuple[str, int], int] = {}
    found: dict[int, Style] = {}
    for group in groups:
        most = largest(group)
        variants: dict[str, list[str]] = {}
        for family, name in most:
            variants.setdefault(family, []).append(name)
        for entry in group.entries:
            family, name = entry.cell.family, stem(entry.cell)
            variant = (family, variants[family].index(name))
            slot = slots.setdefault(variant, len(slots))
            dash = FULL[slot // len(LIGHT) % len(FULL)]
            reduced = effort(entry.cell) < most[family, name]
            found[entry.number] = Style(slot % len(LIGHT), REDUCED if reduced else dash)
    return found


def largest(group: Group) -> dict[tuple[str, str], tuple[float, float]]:
    """Return the largest `effort` of every (family, stem) in a group."""
    most: dict[tuple[str, str], tuple[float, float]] = {}
    for entry in group.entries:
        key = (entry.cell.family, stem(entry.cell))
        most[key] = max(most.get(key, (0.0, 0.0)), effort(entry.cell))
    return most


def stem(cell: Cell) -> str:
    """Return an attack's name without its number of steps and its budget."""
    return re.sub(r"[\s×x]*\d+$", "", re.sub(r" ≤\d+$", "", cell.attack))


def effort(cell: Cell) -> tuple[float, float]:
    """Return an attack's number of steps and its budget (inf for none): variants are ordered by these."""
    budget = cell.settings.get("budget")
    return steps(cell), float(budget) if isinstance(budget, int | float) else math.inf


def steps(cell: Cell) -> float:
    """Return an attack's number of steps; 0 where it has none."""
    found = cell.settings.get("steps")
    return float(found) if isinstance(found, int | float) else 0.0

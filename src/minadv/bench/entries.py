"""From a suite's entries to the rows of its tables: a label each, and how to build the attack."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from inspect import signature
from itertools import product
from typing import Any

from minadv import attacks, errors, hyper_parameters
from minadv.attacks import tables
from minadv.attacks.base import Attack
from minadv.attacks.registry import REGISTRY
from minadv.bench.suite import AttackEntry, Suite, TableEntry
from minadv.distances import as_published, resolve
from minadv.importing import PREFIX

TITLES = {"cw": "C&W", "percal": "PerC-AL", "minimal_apgd": "minimal APGD", "lpa": "LPA", "sigma_zero": "σ-zero"}
NESTED = ("cw", "ead")  # searches of so many steps each
FILLED_IN = ("distance", "steps", "budget")  # of labels
PLACEHOLDER = re.compile(r"\{(\w*)\}")


@dataclass(frozen=True)
class Wanted:
    """One row of the tables, for any model.

    Attributes:
        place: of its entry in the suite file.
        distance: as the suite writes it.
        given: hyper-parameters on top of the preset; None is left to the attack.
        radii: at which its robust accuracy is asked for.
        preset: the row of the paper's table that it is, whether or not its settings are changed.
    """

    place: str
    label: str
    attack: str
    distance: str
    given: Mapping[str, Any]
    paper: bool
    optional: bool
    radii: tuple[str, ...] = ()
    preset: tables.Row | None = None

    def build(self, model_spec: str) -> Attack:
        """Return the attack for a model.

        Raises:
            ValueError, TypeError: for settings that do not fit; the message begins with the place.
            OSError, ImportError, RuntimeError: when something that it needs is not there.
        """
        distance = hyper_parameters.distance_for(self.distance, model_spec)
        try:
            if self.preset is not None:
                attack = replace(self.preset, distance=distance).build(**self.given)
            elif self.paper:
                attack = attacks.find(self.attack).paper(distance, **self.given)
            else:
                attack = attacks.find(self.attack)(distance=resolve(distance), **self.given)
            # resolved, as a cell's identity holds the weights of a network in its distance, and not their name
            return replace(attack, distance=resolve(attack.distance))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{self.place} ({self.label}): {error}") from error

    def scored(self, attack: Attack, model_spec: str) -> str:
        """Return the label of the distance that the row is compared by: its table's, or what the attack minimises.

        They differ: PerC-AL minimises colours on their true scale, and is scored on the paper's.
        """
        if self.preset is None:
            return resolve(attack.distance).name
        return resolve(as_published(hyper_parameters.distance_for(self.distance, model_spec))).name


def wanted(suite: Suite) -> tuple[Wanted, ...]:
    """Return the rows of a suite's tables, in order.

    Raises:
        ValueError: for an unknown attack or hyper-parameter, two rows with one name, or radii of a distance that
            no row has.
    """
    rows = [row for number, entry in enumerate(suite.tables) for row in _of_table(number, entry, suite)]
    rows += [row for number, entry in enumerate(suite.attacks) for row in _of_attack(number, entry, suite)]
    labels = [row.label for row in rows]
    twice = next((row for row in rows if labels.count(row.label) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice.place}: two attacks are called {twice.label!r}: give one a label of its own")
    distances = dict.fromkeys(row.distance for row in rows)
    for distance in suite.radii:
        if distance not in distances:
            raise ValueError(f"radii: {errors.unknown('distance of this suite', distance, distances)}")
    return tuple(rows)


def _of_table(number: int, entry: TableEntry, suite: Suite) -> list[Wanted]:
    data = entry.like or suite.paper or "cifar10"
    rows: list[Wanted] = []
    for row, budget in product(tables.table(entry.distance, data), suite.budgets or (None,)):
        given: dict[str, Any] = {"seed": suite.seed} | ({} if budget is None else {"budget": budget})
        if any(field.name == "compat" for field in fields(attacks.find(row.attack))):
            given["compat"] = entry.compat
        label = row.label if budget is None else f"{row.label} ≤{budget}"
        place = f"tables[{number}]"
        radii = suite.radii.get(entry.distance, ())
        rows.append(Wanted(place, label, row.attack, entry.distance, given, True, entry.optional, radii, row))
    return rows


def _of_attack(number: int, entry: AttackEntry, suite: Suite) -> list[Wanted]:
    place = f"attacks[{number}]"
    try:
        cls = attacks.find(entry.attack)
        options = _options(cls, entry)
        _check_label(entry.label or "")
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error
    all_steps: Sequence[int | None] = entry.steps or (None,)
    budgets: Sequence[int | None] = entry.budgets or suite.budgets or (None,)
    rows: list[Wanted] = []
    for distance, steps, budget in product(entry.distances or (REGISTRY[entry.attack].usual,), all_steps, budgets):
        given = {"seed": suite.seed} | options
        given |= {key: value for key, value in (("steps", steps), ("budget", budget)) if value is not None}
        label = _label(entry, distance, steps, budget)
        radii = suite.radii.get(distance, ())
        rows.append(Wanted(place, label, entry.attack, distance, given, entry.paper, entry.optional, radii))
    return rows


def _options(cls: type[Attack], entry: AttackEntry) -> dict[str, Any]:
    for key in ("steps", "budget", "distance"):
        if key in entry.options:
            raise ValueError(
                f"options have {key!r}, which has a key of its own: write {key.removesuffix('s')}s = …"
            )
    own = {field.name for field in fields(cls)} - {"distance", "budget"}
    presets = set(signature(cls.paper).parameters) - {"distance", "others", "budget"}
    known = own | presets if entry.paper else own
    if entry.steps and "steps" not in known:
        raise ValueError(f"{entry.attack} has no steps: write budgets = …")
    for key in entry.options:
        if key not in known:
            raise errors.unknown(f"hyper-parameter of {entry.attack}", key, known)
    return {
        key: hyper_parameters.parse(cls if key in own else cls.paper, key, value)
        for key, value in entry.options.items()
    }


def _check_label(label: str) -> None:
    for name in PLACEHOLDER.findall(label):
        if name not in FILLED_IN:
            known = ", ".join(f"{{{known}}}" for known in FILLED_IN)
            raise ValueError(f"label has {{{name}}}, where {known} alone are filled in")


def _label(entry: AttackEntry, distance: str, steps: int | None, budget: int | None) -> str:
    """Name a row as the paper does where it has one, e.g. "FMN ℓ1 100"."""
    family, _, options = distance.partition(":")
    symbol = tables.SYMBOLS.get(family, family) + (f" ({options})" if options else "")
    if distance.startswith(PREFIX):
        symbol = options.rpartition(":")[2]
    if entry.label is not None:
        return (
            entry.label.replace("{distance}", symbol)
            .replace("{steps}", str(steps))
            .replace("{budget}", str(budget))
        )
    card = REGISTRY[entry.attack]
    words = [TITLES.get(entry.attack, card.attack)]
    words += [symbol] if card.distances is None or len(card.distances) > 1 or options else []
    if steps is not None:
        searches = entry.options.get("searches", 9) if entry.attack in NESTED else None
        words.append(str(steps) if searches is None else f"{searches}×{steps}")
    words += [f"{key}={value}" for key, value in entry.options.items() if key != "searches"]
    if budget is not None:  # of Auto's forwards, and of its backwards
        words.append(f"≤{budget}+{budget}" if entry.attack == "auto" else f"≤{budget}")
    return " ".join(words)

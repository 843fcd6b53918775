"""`minadv list`: what there is, by name. Imports neither torch nor any model library."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from minadv.cli.console import one_line_errors, out
from minadv.cli.options import Debug
from minadv.importing import PREFIX

# The builders live with torch in minadv.distances; a test holds this list against theirs.
DISTANCES = {
    "l0": ("entries that differ, channels counted separately", ""),
    "l1": ("sum of absolute differences", ""),
    "l2": ("Euclidean norm of the difference", ""),
    "linf": ("largest absolute difference", ""),
    "ssim": ("1 − structural similarity, 11×11 Gaussian window", "images of 11×11 or more"),
    "ciede2000": ("colour difference CIEDE2000, ℓ2 norm over pixels; scale=correct|paper", "three channels"),
    "lpips": (
        "difference of deep features; trunk=alex|vgg|squeeze|demo, linear=learned|none|paper",
        "weights of the trunk, except demo",
    ),
}

OPTIONS = ("distance", "steps", "levels", "confidence", "budget", "seed")  # of attacks; the others go by --set


class Kind(StrEnum):
    """What can be listed."""

    ATTACKS = "attacks"
    DISTANCES = "distances"
    MODELS = "models"
    DATA = "data"
    SUITES = "suites"


def list_names(
    kind: Annotated[
        Kind | None,
        typer.Argument(
            help="What to list; everything by default.", metavar="attacks|distances|models|data|suites"
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Argument(help="Of an attack: list its hyper-parameters.", metavar="[NAME]", show_default=False),
    ] = None,
    debug: Debug = False,
) -> None:
    """List what there is: attacks, distances, models, data sets or suites; or one attack's hyper-parameters."""
    with one_line_errors(debug):
        if name is not None:
            if kind is not Kind.ATTACKS:
                raise ValueError(f"names are of attacks, got {name!r} of {kind}: minadv list attacks NAME")
            _show_attack(name)
            return
        if kind is not None:
            _show(kind)
            return
        for each in Kind:
            out().print(Text(each.capitalize(), "bold underline"))
            _show(each)
            out().print()


def _show_attack(name: str) -> None:
    from minadv import attacks
    from minadv.cli import parameters

    cls = attacks.find(name)
    out().print(Text(f"{name}: {attacks.REGISTRY[name].about}"))
    rows = [(_option(each.name), each.default, each.values, each.about) for each in parameters.of(cls)]
    out().print(_table(("option", "default", "values", "what it is"), rows))


def _option(name: str) -> str:
    return f"--{name}" if name in OPTIONS else f"--set {name}="


def _show(kind: Kind) -> None:
    out().print(_table(*_CONTENTS[kind]()))
    if kind is Kind.MODELS:
        from minadv.models.specs import GRAMMAR

        out().print(Text(f"\nEvery model spec: {GRAMMAR}."))
    if kind is Kind.DISTANCES:
        own = f"{PREFIX}package.module:name, a differentiable function (x, x0) → (batch,)"
        out().print(Text(f"\nYour own: {own}."))


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column, head in enumerate(heads):
        table.add_column(head, no_wrap=column == 0, overflow="fold")  # names are there to be copied
    for name, *facts in rows:
        table.add_row(Text(name, "cyan"), *map(Text, facts))
    return table


def _attacks() -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    from minadv.attacks.registry import REGISTRY

    rows = [
        (
            name,
            card.about,
            "any" if card.distances is None else " ".join(card.distances),
            "yes" if card.targeted else "no",
            str(card.classes),
            "gradients" if card.gradients else "logits only",
        )
        for name, card in REGISTRY.items()
    ]
    return ("attack", "what it is", "minimises", "targeted", "classes ≥", "needs"), rows


def _distances() -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    return ("distance", "what it is", "needs"), [(name, *facts) for name, facts in DISTANCES.items()]


def _models() -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    from minadv.models import describe

    rows = [
        (model.spec, model.architecture, model.training, "found" if model.weights else "not found")
        for model in describe()
    ]
    return ("model", "architecture", "training", "weights"), rows


def _data() -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    from minadv.data import describe

    return ("data", "what it is"), [(data.spec, data.summary) for data in describe()]


def _suites() -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    from minadv.bench import suite

    found = {name: suite.load(name) for name in suite.names()}
    return ("suite", "what it is", "data"), [(name, of.about, of.data) for name, of in found.items()]


_CONTENTS = {
    Kind.ATTACKS: _attacks,
    Kind.DISTANCES: _distances,
    Kind.MODELS: _models,
    Kind.DATA: _data,
    Kind.SUITES: _suites,
}

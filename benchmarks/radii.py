"""Robust accuracy at given radii: AutoAttack, once for each, beside one search for smallest perturbations.

    python -m benchmarks.radii [--samples 100] [--out FILE]

AutoAttack (Croce and Hein, ICML 2020; their own code as pyautoattack, which `make parity` installs) asks whether a
sample breaks within a radius, by 100 steps of APGD with cross-entropy, of APGD and of FAB towards each of nine
classes, and 5000 queries of Square. A smallest perturbation answers that for every radius. The models are the
public ones in ../shared/data.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks import targets
from benchmarks.outcome import run_theirs, score
from benchmarks.parity import AT, CIFAR, KW
from benchmarks.peers import autoattack, installed, there
from benchmarks.tables import Table
from benchmarks.tracking import Track, on_public_models
from minadv import Auto, Result, metrics

BUDGETS = 100, 1000, 5000
NORMS: dict[str, Literal["Linf", "L2"]] = {"linf": "Linf", "l2": "L2"}
COLUMNS = (
    "model",
    "distance",
    "radius",
    "AutoAttack",
    *(f"Auto {budget}" for budget in BUDGETS),
    "AutoAttack's fwd/bwd",
    *(f"Auto {budget}'s" for budget in BUDGETS),
)


@dataclass(frozen=True)
class Question:
    """A model, a norm, and the radii that are asked for."""

    model: str
    distance: str
    radii: tuple[float, ...]

    def __str__(self) -> str:
        return f"{self.model} {self.distance}"


QUESTIONS = (
    Question(CIFAR, "linf", (2 / 255, 4 / 255)),
    Question(CIFAR, "l2", (0.25, 0.5)),
    Question(KW, "linf", (0.1, 0.15)),
    Question(KW, "l2", (1.0, 1.2)),
    Question(AT, "linf", (0.3, 0.33)),
    Question(AT, "l2", (1.0, 1.2)),
)


def tables(folder: Path, samples: int, track: Track) -> Iterator[Table]:
    """Yield the table after every row: a question's radii share Auto's searches."""
    rows = list[tuple[str, ...]]()
    note = (
        f"The first {samples} images that each model classifies correctly; {installed('pyautoattack')}. "
        "Forwards/backwards are per image: AutoAttack's for this radius, Auto's for all radii."
    )
    for question in track("radii", QUESTIONS):
        batch = targets.load(question.model, folder, samples)
        ours = [Auto(distance=question.distance, budget=budget)(*batch) for budget in BUDGETS]
        norm = NORMS[question.distance]
        for radius in question.radii:
            theirs = run_theirs(autoattack(norm, radius), *batch) if there("pyautoattack") else None
            robust = "–" if theirs is None else f"{1 - score(theirs, question.distance, *batch).asr:.2f}"
            shares = (metrics.robust_accuracy_at(one.distances, [radius]).item() for one in ours)
            passes = "–" if theirs is None else f"{theirs.forwards:.0f}/{theirs.backwards:.0f}"
            asked = question.model, question.distance, f"{radius:.4g}"
            rows.append((*asked, robust, *(f"{share:.2f}" for share in shares), passes, *map(_passes, ours)))
            complete = question is QUESTIONS[-1] and radius == question.radii[-1]
            yield Table("Robust accuracy at given radii", COLUMNS, tuple(rows), note, complete=complete)


def _passes(result: Result) -> str:
    return "/".join(f"{count.double().mean().item():.0f}" for count in (result.forwards, result.backwards))


if __name__ == "__main__":
    on_public_models(__doc__, tables, width=200)

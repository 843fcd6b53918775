"""The numbers of a run, as pure functions of its stored rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from minadv import hyper_parameters, metrics
from minadv.report.symbols import symbol
from minadv.result import Status
from minadv.run_folder import COLUMNS, Run


@dataclass(frozen=True)
class Summary:
    """What the report and the terminal say first.

    Attributes:
        distance: how the minimised one is written.
        correct: how many samples are classified correctly before the attack.
        median: of the minimised distance, failures as inf (the lower middle for even counts, as in `Result`).
        mean: over the samples that were attacked and found.
        statuses: how many samples have each status; those that occur.
        robust: samples that meet the goal neither before nor after the attack.
        radius: of the only ball that was searched; None where the distance was minimised.
        survivors: how many successes are still adversarial after rounding to 8 bits.
    """

    samples: int
    successes: int
    correct: int
    distance: str
    median: float
    mean: float
    largest: float
    forwards: float
    backwards: float
    confidence: float
    statuses: dict[str, int]
    survivors: int
    seconds: float
    robust: int
    radius: float | None = None

    @property
    def success_rate(self) -> str:
        """In per cent, with the counts."""
        return f"{100 * self.successes / self.samples:.1f} % ({self.successes} of {self.samples})"

    @property
    def survival(self) -> str:
        """How many successes survive being saved as 8-bit images."""
        return f"{self.survivors} of {self.successes}"

    @property
    def headline(self) -> str:
        """The run in one sentence."""
        if self.radius is not None:
            ball = f"{self.distance}\N{NO-BREAK SPACE}{number(self.radius)}"
            middle = f"no ball but that of {ball} was searched"
        elif self.median == math.inf:
            middle = "fewer than half of the samples could be made adversarial"
        else:
            within = f"{self.distance}\N{NO-BREAK SPACE}{number(self.median)}"
            middle = f"half of the samples are adversarial within {within}"
        return f"{self.successes} of {self.samples} samples are adversarial; {middle}."

    @property
    def doubt(self) -> str | None:
        """What makes the numbers doubtful: a model that is mostly wrong before any attack."""
        if self.correct >= self.samples / 2:
            return None
        return (
            f"only {self.correct} of {self.samples} samples are classified correctly before the attack, so that "
            "these numbers may say little: labels, range of values, channels and normalisation have to be those "
            "that the model was trained with"
        )

    @property
    def aim(self) -> str:
        """What the attack did with the distance."""
        if self.radius is None:
            return f"minimises {self.distance}"
        return f"searches a ball of {self.distance} radius {number(self.radius)}"

    def lines(self) -> list[tuple[str, str]]:
        """Name and value of each fact, in reading order."""
        accuracy = 100 * self.correct / self.samples
        return [
            (
                "samples",
                f"{self.samples}, {accuracy:.1f} % classified correctly before the attack",
            ),
            ("attack success rate", self.success_rate),
            self._middle,
            (f"mean {self.distance} of found", f"{number(self.mean)} (largest {number(self.largest)})"),
            (
                "forwards / backwards",
                f"{self.forwards:.0f} / {self.backwards:.0f} per attacked sample, on average",
            ),
            ("verified beyond the boundary", f"{self.confidence:g} logits"),
            ("outcomes", ", ".join(f"{count} {status}" for status, count in self.statuses.items())),
            (
                "survive 8-bit rounding",
                self.survival + (" (--levels 256 makes all survive)" if self.survivors < self.successes else ""),
            ),
            ("time", duration(self.seconds)),
        ]

    @property
    def _middle(self) -> tuple[str, str]:
        if self.radius is None:
            return f"median {self.distance}", number(self.median)
        accuracy = f"{100 * self.robust / self.samples:.1f} % ({self.robust} of {self.samples})"
        return (
            f"robust accuracy at {self.distance} {number(self.radius)}",
            f"{accuracy}, the only radius that was searched: distances are not minimal",
        )


def of(run: Run) -> Summary:
    """Summarise a run."""
    rows, asked = run.results, run.configuration
    found = rows.filter(pl.col("status") == Status.FOUND.value)["distance"].to_numpy()
    counts = rows["status"].to_list()
    attacked = rows.filter(pl.col("status") != Status.ALREADY.value)
    forwards, backwards = (attacked[name].to_numpy() for name in ("forwards", "backwards"))
    return Summary(
        samples=len(rows),
        successes=int(rows["success"].sum()),
        correct=int((rows["clean_prediction"] == rows["label"]).sum()),
        distance=symbol(asked.distance),
        median=metrics.lower_median(rows["distance"].to_numpy()),
        mean=metrics.mean_found(found),
        largest=found.max().item() if len(found) else math.nan,
        forwards=forwards.mean().item() if len(attacked) else 0.0,
        backwards=backwards.mean().item() if len(attacked) else 0.0,
        confidence=asked.confidence,
        statuses={status.value: counts.count(status.value) for status in Status if status.value in counts},
        survivors=int(rows["survives_8bit"].sum()),
        seconds=asked.seconds,
        robust=int((to_a_change(run) == math.inf).sum()),
        radius=hyper_parameters.fixed_radius(asked.settings),
    )


def to_a_change(run: Run) -> metrics.Numbers:
    """Return the (samples,) distances of the robust accuracy: 0 where the goal was met before the attack.

    An answer has to meet it by `confidence` logits, but a sample that is misclassified by fewer is not robust.
    """
    rows, target = run.results, run.configuration.target
    before, label = pl.col("clean_prediction"), pl.col("label")
    met = before != label if target is None else before == target
    return rows.select(pl.when(met).then(0.0).otherwise("distance")).to_series().to_numpy()


def other_distances(rows: pl.DataFrame, minimised: str) -> list[tuple[str, str, str]]:
    """Name, median and mean of found of every distance that was measured but not minimised."""
    found = rows.filter(pl.col("status") == Status.FOUND.value)
    names = [name for name in rows.columns if name not in COLUMNS and name != minimised]
    median, mean = metrics.lower_median, metrics.mean_found
    return [
        (symbol(name), number(median(rows[name].to_numpy())), number(mean(found[name].to_numpy())))
        for name in names
    ]


def class_name(classes: Sequence[str], label: int) -> str:
    """Name of a class; its number where the data set has no name for it."""
    return classes[label] if 0 <= label < len(classes) else f"class {label}"


def number(value: float) -> str:
    """Four significant digits; a dash where there is no number."""
    if math.isnan(value):
        return "–"
    return "∞" if value == math.inf else f"{value:.4g}"


def duration(seconds: float) -> str:
    """Return seconds as people say them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"

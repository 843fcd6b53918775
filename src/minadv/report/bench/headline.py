"""The benchmark in a few sentences: who wins, over what, and how much of it is done."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from minadv.bench.stored import Stored
from minadv.metrics import geometric_mean
from minadv.report.bench.groups import Group
from minadv.report.bench.lines import Line
from minadv.report.bench.results import compared, digits, of_model
from minadv.report.bench.tables import grouped, number


@dataclass(frozen=True)
class Winner:
    """The attack with the smallest median on most models of a group, or several that tie.

    Attributes:
        attacks: one, or those whose wins and median are the same.
        wins: on how many of `models` a median of theirs is the smallest, be it shared.
        models: those on which attacks compare, and a finite median is not 0, which says nothing of attacks.
        median: its geometric mean over these models, as printed in `unit`.
    """

    group: Group
    attacks: tuple[str, ...]
    wins: int
    models: tuple[str, ...]
    median: str

    @property
    def attack(self) -> str:
        """Who wins, in words."""
        *others, last = self.attacks
        return f"{', '.join(others)} and {last}" if others else last

    @property
    def where(self) -> str:
        """On how many models, in words; with the model's name where it is the only one."""
        count, all_of_them = len(self.models), len(self.models) == len(self.group.models)
        if count == 1:
            return f"on {self.models[0]}"
        return f"on {self.wins} of {count} models{'' if all_of_them else ' where attacks compare'}"

    @property
    def kind(self) -> str:
        """What `median` is."""
        return "geometric mean" if len(self.models) > 1 else "median"

    @property
    def sentence(self) -> str:
        """Who wins, in the words of the headline."""
        have = "have" if len(self.attacks) > 1 else "has"
        median = f"{self.kind} {self.median}"
        return f"{self.attack} {have} the smallest median {self.group.symbol} {self.where} ({median})"


def winners(groups: Sequence[Group], lines: Mapping[int, Line]) -> tuple[Winner, ...]:
    """Return the winner of every group in which attacks compare and one has a finite median that is not 0."""
    found = (_winner(group, [lines[entry.number] for entry in group.entries]) for group in groups)
    return tuple(winner for winner in found if winner is not None)


def _winner(group: Group, lines: list[Line]) -> Winner | None:
    wins, medians, places = Counter[str](), dict[str, dict[str, float]](), digits(group, lines)

    def printed(median: float) -> str:
        """As in the tables: what looks the same there is a tie here."""
        return number(median / 10**group.exponent, places).text

    for model in group.models:
        found = {line.entry.cell.attack: line.median for line in compared(of_model(lines, model))}
        least = min((median for median in found.values() if median > 0), default=math.inf)
        if least < math.inf:
            medians[model] = found
            wins.update(attack for attack, median in found.items() if printed(median) == printed(least))
    if not wins:
        return None
    # an attack that is missing on a model has no mean over all of them
    means = {
        attack: geometric_mean([found.get(attack, math.inf) for found in medians.values()]) for attack in wins
    }
    order = {attack: (-count, _last(means[attack])) for attack, count in wins.items()}
    most, mean = min(order.values())
    attacks = (name for name, place in order.items() if place[0] == most and printed(place[1]) == printed(mean))
    unit = group.unit.removeprefix(group.symbol)
    return Winner(group, tuple(sorted(attacks)), -most, tuple(medians), f"{printed(mean)}{unit}")


def _last(value: float) -> float:
    return math.inf if math.isnan(value) else value


def lead(groups: Sequence[Group], lines: Mapping[int, Line]) -> str:
    """Return the benchmark in one sentence."""
    if not lines:
        return "There are no results yet."
    found = winners(groups, lines)
    if len(found) == 1:
        return f"{found[0].sentence}, among {size(lines)}."
    if not found and any(line.median == 0 for line in lines.values()):
        return (
            f"Every finite median is 0, as at least half of the samples are adversarial from the start, among "
            f"{size(lines)}."
        )
    if not any(line.minimal for line in lines.values()):
        return f"{size(lines)}: all within one radius, where robust accuracy compares and distances do not."
    if not found and not all(line.minimal for line in lines.values()):
        return f"{size(lines)}: none is called the best, as attacks within one radius have no median to compare."
    if not found and any(line.median < math.inf for line in lines.values()):
        alone = all(len({entry.cell.attack for entry in group.entries}) == 1 for group in groups)
        one = "there is only one attack for each distance"
        reason = one if alone else "no two are complete on the same samples of a model"
        return f"{size(lines)}: none is called the best, as {reason}."
    if not found:
        return f"No attack has a finite median yet, among {size(lines)}."
    return f"The smallest medians among {size(lines)}:"


def size(lines: Mapping[int, Line]) -> str:
    """Return how many attacks, models and samples there are."""
    cells = [line.entry.cell for line in lines.values()]
    most = max((line.counted for line in lines.values()), default=0)
    least = min((line.counted for line in lines.values() if line.counted), default=0)
    samples = grouped(str(most)) if least == most else f"{grouped(str(least))} to {grouped(str(most))}"
    return (
        f"{_count(len({cell.attack for cell in cells}), 'attack')} on "
        f"{_count(len({(cell.data, cell.model) for cell in cells}), 'model')}, {samples} samples each"
    )


def population(groups: Sequence[Group], asked: str | None) -> str:
    """Return which samples the statistics are over."""
    own = {entry.cell.population for group in groups for entry in group.entries}
    if not own:
        return "There are no samples for statistics yet."
    if asked == "all" and own == {"correct"}:
        return "Only samples that the model classifies correctly were attacked, so statistics are over those."
    # asking for all samples brings none back that were not attacked
    kinds = {"correct" if "correct" in (asked, each) else "all" for each in own}
    over = {
        "all": f"all samples; one that {_adversarial(groups)} from the start counts as a success at distance 0",
        "correct": "the samples that the model classifies correctly",
    }
    if len(kinds) == 1:
        return f"Statistics are over {over[kinds.pop()]}."
    return (
        "Some cells' statistics are over all samples, others over correctly classified ones (see how it was made)."
    )


def _adversarial(groups: Sequence[Group]) -> str:
    """Say of which images nothing has to be searched: only those of the target's class, where there is one."""
    wrong, reached = "the model misclassifies", "the model takes for the target class"
    kinds = {group.goal == "untargeted" for group in groups}
    if kinds == {True, False}:
        return f"{wrong} (with a target: that {reached})"
    return reached if kinds == {False} else wrong


def completeness(stored: Stored, lines: Mapping[int, Line]) -> str:
    """Return how much of what was asked for is done."""
    done, asked = (sum(line.done for line in lines.values()), sum(line.entry.samples for line in lines.values()))
    absent = sum(planned.cell is None for planned in stored.planned)
    failed = sum(line.errors for line in lines.values())
    cells = sum(line.complete for line in lines.values())
    parts = [f"{grouped(str(done))} of {grouped(str(asked))} samples of {_count(len(lines), 'cell')} are done"]
    if not lines:
        parts = ["Nothing has been computed yet"]
    elif done == asked:
        whole = "The cell is" if len(lines) == 1 else f"All {len(lines)} cells are"
        parts = [f"{whole} complete ({grouped(str(done))} results)"]
    elif cells:
        parts.append(f"{cells} cells are complete")
    if failed:
        parts.append(f"{_count(failed, 'sample')} failed")
    if absent:
        parts.append(f"{_count(absent, 'cell')} not available here")
    return "; ".join(parts) + "."


def _count(number_of: int, name: str) -> str:
    return f"{grouped(str(number_of))} {name}{'' if number_of == 1 else 's'}"

"""How Auto divides its budget into rounds, and a round into steps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from minadv.attacks.auto.families import Family

# After several rounds, the best answer is refined on with this share of the budget, at most half a round.
SEVERAL, POLISH = 3, 0.05
# Rounds of fewer steps explore once, and those of less than half of them do not settle.
SHORT = 60
# Even shorter ones explore for a smaller share: of few steps, more are needed to come back to the boundary.
BRIEF = 20


@dataclass(frozen=True)
class Try:
    """Steps from one start: exploring, exploring on in short steps, and refining where that ended."""

    exploring: int
    settling: int
    refining: int


@dataclass(frozen=True)
class Round:
    """Steps of a round.

    Attributes:
        number: from 0.
        tries: of each of them, of which the first explores at least once.
        refining: the rest, which go on from the nearest of their answers.
    """

    number: int
    tries: tuple[Try, ...]
    refining: int

    @property
    def steps(self) -> int:
        """All of them."""
        return self.tried + self.refining

    @property
    def tried(self) -> int:
        """All but those that refine the nearest answer."""
        return sum(one.exploring + one.settling + one.refining for one in self.tries)

    @property
    def ends(self) -> int:
        """Ends of explorations, of which none needs a gradient."""
        return sum((one.exploring > 0) + (one.settling > 0) for one in self.tries)


def divide(
    budget: int, family: Family, length: int, explorations: int, explored: float | None
) -> tuple[list[Round], int]:
    """Return rounds of about `length` steps, and how many steps refine the best of their answers.

    Args:
        budget: steps in all.
        family: of the distance.
        length: of a round.
        explorations: most of a round.
        explored: share of each round that explores or settles; None is the family's.
    """
    lengths = _lengths(budget, family, length)
    # from the last round, of which half is left
    last = min(round(POLISH * budget), lengths[-1] // 2) if len(lengths) >= SEVERAL else 0
    lengths[-1] -= last
    rounds = list[Round]()
    for number, steps in enumerate(lengths):
        shares = _shares(family, number, steps, explorations, explored)
        parts = steps_of([share for one in shares for share in one], steps)
        tries = [Try(*parts[i : i + 3]) for i in range(0, len(parts), 3)]
        round_ = Round(number, tuple(one for one in tries if one.exploring), 0)
        rounds.append(replace(round_, refining=steps - round_.tried))
    return rounds, last


def steps_of(shares: Sequence[float], length: int) -> list[int]:
    """Return these shares of a round's steps, of which the first is at least two: a look, and where it leads."""
    ends = [min(max(round(sum(shares[: i + 1]) * length), 2), length) for i in range(len(shares))]
    return [end - start for start, end in pairwise([0, *ends])]


def _lengths(budget: int, family: Family, length: int) -> list[int]:
    """Divide the budget in equal rounds of about `length` steps, after a longer Lagrangian where there is one."""
    first = round(family.share * budget) if budget >= max(family.lagrangian, 3 * length) else 0
    rest = budget - first
    count = max(rest // length, 1)
    return [first] * (first > 0) + [rest * (i + 1) // count - rest * i // count for i in range(count)]


def _shares(
    family: Family, number: int, steps: int, explorations: int, explored: float | None
) -> list[tuple[float, float, float]]:
    """Shares of a round for each of its tries: explored, settled and refined.

    Every other round has one long exploration instead: neither way finds all that the other does. So have short
    rounds, which two tries would leave too little of, and the shortest don't settle.
    """
    planned = len(family.explored)
    several = family.explored[:explorations]
    if number % 2 and len(several) > 1:
        shares = [(family.alone, 0.0, 0.0)]
    else:
        several = several[:1] if steps < SHORT else several
        longer = sum(family.explored) / sum(several) * min(steps / BRIEF, 1)
        settled = family.settled * planned / len(several)
        settled = settled if steps >= SHORT // 2 else 0.0
        tried = family.tried if len(several) > 1 else 0.0
        shares = [(longer * share, settled, tried) for share in several]
    if explored is None:
        return shares
    usual = sum(exploring + settling for exploring, settling, _ in shares)
    more, less = explored / usual, (1 - explored) / (1 - usual)
    return [(more * exploring, more * settling, less * tried) for exploring, settling, tried in shares]

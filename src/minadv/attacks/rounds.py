"""How Auto divides its budget into rounds, and a round into steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from minadv.attacks.families import Family

# After several rounds, the best answer is refined on with this share of the budget, at most half a round.
SEVERAL, POLISH = 3, 0.05


@dataclass(frozen=True)
class Round:
    """Steps of a round.

    Attributes:
        number: from 0.
        explorations: of each of them, the first at least one.
        settling: that go on from the nearest of their ends.
        refining: the rest.
    """

    number: int
    explorations: tuple[int, ...]
    settling: int
    refining: int

    @property
    def exploring(self) -> int:
        """All but those that refine."""
        return sum(self.explorations) + self.settling


def divide(
    budget: int, family: Family, length: int, explorations: int, explored: float | None
) -> tuple[list[Round], int]:
    """Return rounds of about `length` steps, and how many steps refine the best of their answers.

    Args:
        budget: steps in all.
        family: of the distance.
        length: of a round.
        explorations: most of a round.
        explored: share of each round for explorations and what settles; None is the family's.
    """
    lengths = _lengths(budget, family, length)
    # from the last round, of which half is left
    last = min(round(POLISH * budget), lengths[-1] // 2) if len(lengths) >= SEVERAL else 0
    lengths[-1] -= last
    rounds = list[Round]()
    for number, steps in enumerate(lengths):
        *several, settling = portions(_shares(family, number, explorations, explored), steps)
        rounds.append(Round(number, tuple(several), settling, steps - sum(several) - settling))
    return rounds, last


def portions(shares: Sequence[float], length: int) -> list[int]:
    """Return these shares of a round's steps, of which the first is at least one."""
    ends = [min(max(round(sum(shares[: i + 1]) * length), 1), length) for i in range(len(shares))]
    return [end - start for start, end in pairwise([0, *ends])]


def _lengths(budget: int, family: Family, length: int) -> list[int]:
    """Divide the budget in equal rounds of about `length` steps, after a longer Lagrangian where there is one."""
    first = round(family.share * budget) if budget >= max(family.lagrangian, 3 * length) else 0
    rest = budget - first
    count = max(rest // length, 1)
    return [first] * (first > 0) + [rest * (i + 1) // count - rest * i // count for i in range(count)]


def _shares(family: Family, number: int, explorations: int, explored: float | None) -> list[float]:
    """Shares of a round for each of its explorations, and for what goes on from the nearest of their ends.

    Every other round has one long exploration instead: neither way finds all that the other does.
    """
    several, whole = family.explored[:explorations], sum(family.explored)
    shares = [*(share * whole / sum(several) for share in several), family.settled]
    if number % 2 and len(several) > 1:
        shares = [family.alone, 0.0]
    factor = 1.0 if explored is None else explored / sum(shares)
    return [factor * share for share in shares]

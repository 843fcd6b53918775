"""Auto's rounds: how a budget is divided."""

from dataclasses import astuple

import pytest

from minadv.attacks.auto import families
from minadv.attacks.auto.rounds import divide, steps_of

pytestmark = pytest.mark.usefixtures("as_given")


@pytest.mark.parametrize("budget", [1, 7, 99, 100, 299, 300, 500, 999, 1000, 2001, 3000, 10_000, 123_456])
@pytest.mark.parametrize("distance", ["l0", "l1", "l2", "linf", "ssim", "ciede2000", "another"])
def test_rounds_take_the_whole_budget_and_no_more(budget: int, distance: str) -> None:
    rounds, last = divide(budget, families.of(distance), 100, 2, None)
    parts = [part for steps in rounds for one in steps.tries for part in astuple(one)]
    parts += [steps.refining for steps in rounds]
    assert all(steps.tries[0].exploring for steps in rounds)
    assert min(*parts, last) >= 0
    assert sum(parts) + last == budget


def test_portions_of_a_round_take_all_of_its_steps_and_explore_first() -> None:
    assert steps_of((0.25, 0.25, 0.2), 100) == [25, 25, 20]
    for length in range(1, 12):
        steps = steps_of((0.15, 0.15, 0.2), length)
        assert steps[0] >= min(length, 2)
        assert min(steps) >= 0
        assert sum(steps) <= length


@pytest.mark.parametrize("distance", ["l0", "l1", "l2", "linf", "ssim", "ciede2000"])
def test_short_rounds_explore_once_and_the_shortest_do_not_settle(distance: str) -> None:
    family = families.of(distance)
    for budget, tries in ((60, 2), (59, 1), (30, 1), (29, 1), (2, 1)):
        (only,), _ = divide(budget, family, 100, 2, None)
        assert len(only.tries) == tries
        settling = family.settled > 0 and budget >= 30
        assert all((one.settling > 0) == settling for one in only.tries)


@pytest.mark.parametrize(("budget", "steps"), [(1, 1), (2, 2), (10, 2), (16, 5), (20, 8), (30, 12), (59, 24)])
def test_the_shortest_rounds_explore_for_a_smaller_share(budget: int, steps: int) -> None:
    (only,), _ = divide(budget, families.of("linf"), 100, 2, None)  # 40 % otherwise
    assert only.tries[0].exploring == steps
    (chosen,), _ = divide(budget, families.of("linf"), 100, 2, 0.5)  # as a user wants it
    assert chosen.tries[0].exploring == min(max(round(budget / 2), 2), budget)

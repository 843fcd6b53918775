"""What a propagation of Auto costs over one of ALMA, the attack that it is made of."""

import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median

from benchmarks.cases import CIFAR, CNN, Case, load
from benchmarks.tables import Table, judged
from benchmarks.tracking import Track
from minadv import ALMA, Attack, Auto

BUDGET, AT_MOST = 100, 1.10
DISTANCES = {"l0": "ℓ0", "l1": "ℓ1", "l2": "ℓ2", "linf": "ℓ∞", "ssim": "SSIM", "ciede2000": "CIEDE2000"}
NOTE = (
    f"Seconds of Auto with a budget of {BUDGET} over those of ALMA with as many steps: whole runs, per forward or "
    "backward and sample; in turns, median over rounds."
)


def tables(names: Sequence[str], only: str, rounds: int, track: Track) -> Iterator[Table]:
    """Yield a table for each of the two models for CIFAR-10, of the distances whose label contains the text."""
    chosen = [name for name, label in DISTANCES.items() if only.lower() in f"auto {label.lower()}"]
    for name in (CIFAR, CNN):
        if not chosen or name not in names:
            continue
        case = load(name)
        ratios = [relative(case, distance, rounds) for distance in track(f"{case}, Auto over ALMA", chosen)]
        cells = tuple(judged(ratio, AT_MOST) for ratio in ratios)
        rows = ("Auto / ALMA", *cells), ("at most", *(f"{AT_MOST:.2f}" for _ in chosen))
        columns = ("seconds per propagation", *(DISTANCES[distance] for distance in chosen))
        yield Table(f"Auto's own cost: {case} ({case.note})", columns, rows, NOTE)


def relative(case: Case, distance: str, rounds: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the median over rounds of Auto's cost per propagation over ALMA's; each goes first in turns."""
    attacks = [Auto(distance=distance, budget=BUDGET), ALMA(distance=distance, steps=BUDGET)]
    ratios = list[float]()
    for number in range(rounds):
        order = attacks if number % 2 == 0 else attacks[::-1]
        cost = {attack.name: per_propagation(attack, case, clock) for attack in order}
        ratios.append(cost[Auto.name] / cost[ALMA.name])
    return median(ratios)


def per_propagation(attack: Attack, case: Case, clock: Callable[[], float]) -> float:
    """Seconds of a run over the mean of its samples' forwards and backwards."""
    began = clock()
    result = attack(case.model, case.inputs, case.labels)
    return (clock() - began) / float((result.forwards + result.backwards).double().mean())

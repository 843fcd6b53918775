"""Our seconds over a peer's: same attack, same settings, same images, one after the other.

Each runs in a process of its own, as it would for its user: what one has freed makes the other faster otherwise.
Counts of both are shown, per sample: where they are equal, so is the work.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.apart import apart
from benchmarks.cases import CIFAR, Case, load
from benchmarks.outcome import Outcome, run_ours, run_theirs, score
from benchmarks.paired import bare_pass
from benchmarks.parity import ORDERS, Row
from benchmarks.peers import Counting, Peer, Side, adv_lib, foolbox, there
from benchmarks.tables import Table, judged
from benchmarks.tracking import Track

STEPS, FAB_STEPS, CW_STEPS, SEARCHES = 100, 30, 300, 9
WARM_UP = 2  # images
LEAVING = "finished samples leave the batch"
NOTE = (
    "Each run in a process of its own, after a run on two images. Median of the ratios of seconds over rounds; "
    "forwards/backwards are per sample."
)


@dataclass(frozen=True)
class Race:
    """Our attack beside a peer's, and how much of its time ours may take."""

    row: Row
    most: float = 1.0

    def __str__(self) -> str:
        return f"{self.row.label} {self.row.peer.package}"

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return f"{self} {self.row.peer.settings}"

    def run(self, side: Side, case: Case) -> Outcome:
        """Run one side in this process."""
        if side == "ours":
            return run_ours(self.row.ours, Counting(case.model), case.inputs, case.labels)
        found = run_theirs(self.row.peer, case.model, case.inputs, case.labels)
        return score(found, self.row.ours.distance, case.model, case.inputs, case.labels)


def races() -> Iterator[Race]:
    """Yield the comparisons, an attack's settings and its peer's in one line."""

    def race(attack: str, peer: Peer, note: str = "", most: float = 1.0, **settings: Any) -> Race:
        return Race(Row(CIFAR, attack, settings, peer, note), most)

    n, norm = STEPS, ORDERS
    yield race("DDN", adv_lib("ddn", steps=n, levels=None), steps=n)
    for d in ("l1", "l2", "linf", "l0"):
        longest = 10.0 if d == "linf" else 1.0
        yield race("FMN.paper", adv_lib("fmn", norm=norm[d], steps=n, α_init=longest), distance=d, steps=n)
    for d in ("l1", "l2", "linf"):
        theirs = adv_lib("fab", norm=norm[d], n_iter=FAB_STEPS)
        yield race("FAB", theirs, distance=d, steps=FAB_STEPS, differences=True)
    yield race("PDGD", adv_lib("pdgd", num_steps=n), steps=n)
    for d in ("l1", "linf"):
        yield race("PDPGD", adv_lib("pdpgd", norm=norm[d], num_steps=n), distance=d, steps=n)
    yield race("PDPGD", adv_lib("pdpgd", norm=0, proximal_operator=23, num_steps=n), distance="l0", steps=n)
    for d, radius in (("l2", 0.5), ("linf", 0.03)):
        theirs = adv_lib("apgd", norm=norm[d], eps=radius, n_iter=n)
        yield race("APGD", theirs, distance=d, radius=radius, steps=n)
    short = {"norm": 2, "max_eps": 2.5, "binary_search_steps": 4, "n_iter": 10}
    theirs = adv_lib("auto_pgd.minimal_apgd", **short)
    ours: dict[str, Any] = {"distance": "l2", "largest": 2.5, "bisections": 4, "steps": 10}
    yield race("MinimalAPGD", theirs, **ours, n_targets=None)
    theirs = adv_lib("perc_al", num_classes=10, max_iterations=n)
    yield race("PerCAL", theirs, distance="ciede2000", steps=n)
    # a run is given up after a tenth of its steps at the earliest, ours by sample
    theirs = adv_lib("carlini_wagner_l2", binary_search_steps=SEARCHES, max_iterations=CW_STEPS)
    yield race("CW.paper", theirs, LEAVING, 0.5, searches=SEARCHES, steps=CW_STEPS, compat="sample")
    theirs = foolbox("EADAttack", binary_search_steps=SEARCHES, steps=n, decision_rule="EN")
    yield race("EAD.paper", theirs, LEAVING, 0.5, searches=SEARCHES, steps=n, compat="sample")


def tables(only: str, samples: int, rounds: int, track: Track) -> Iterator[Table]:
    """Yield the table of comparisons whose attack or peer contains the text, after every row."""
    case = load(CIFAR, samples)
    chosen = [race for race in races() if only.lower() in str(race).lower()]
    rows: list[tuple[str, ...]] = []
    columns = ("ours", "peer", "fwd/bwd", "the peer's", "ours / the peer's seconds", "at most")
    for race in track("beside peers", chosen):
        rows.append(compared(race, rounds, lambda race, side: apart(run, race.key, side, samples)))
        title = f"Wall-clock time beside peers: {case} ({case.note})"
        yield Table(title, columns, tuple(rows), NOTE, complete=len(rows) == len(chosen))


def compared(race: Race, rounds: int, outcome: Callable[[Race, Side], Outcome]) -> tuple[str, ...]:
    """Run both sides in turns, the first one in turns as well, and return a row's cells."""
    row, peer = race.row, race.row.peer
    if not there(peer.package):
        return row.label, peer.installed, "", "", "", f"{race.most:.2f}"
    orders: tuple[tuple[Side, Side], ...] = (("ours", "peer"), ("peer", "ours"))
    found = [{side: outcome(race, side) for side in orders[number % 2]} for number in range(rounds)]
    ratios = [one["ours"].seconds / one["peer"].seconds for one in found]
    counts = found[-1]["ours"].passes, found[-1]["peer"].passes
    label = f"{peer.installed} {peer.settings}"
    return row.label, label, *counts, judged(median(ratios), race.most), f"{race.most:.2f}"


def run(key: str, side: Side, samples: int) -> Outcome:
    """Run one side of a comparison in this process, after what it prepares at its first call."""
    race, case = next(race for race in races() if race.key == key), load(CIFAR, samples)
    race.run(side, case.first(WARM_UP))
    bare_pass(case.model, case.inputs)
    return race.run(side, case)

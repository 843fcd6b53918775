"""What a step of an attack costs beside the model's own passes: ours, and adv-lib's where it is installed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, cast

from torch import Tensor

from benchmarks.apart import apart
from benchmarks.cases import CIFAR, CNN, RESNET50, Case, load
from benchmarks.paired import Bare, Ratios, Run, bare_pass, differentiated, ratios
from benchmarks.peers import Peer, Side, adv_lib, installed, there
from benchmarks.tables import Table, judged
from benchmarks.tracking import Track
from minadv import ALMA, DDN, FMN, Attack
from minadv.distances import LPIPS, get

BOTH: tuple[Side, ...] = ("ours", "peer")

PEER = "adv-lib"
SIX = ("ALMA ℓ2", "ALMA ℓ1", "ALMA CIEDE2000", "ALMA SSIM", "DDN", "FMN ℓ1")
PERCEPTUAL = "ALMA LPIPS"
AT_MOST = {
    CIFAR: {**dict(zip(SIX, (1.08, 1.08, 1.60, 1.25, 1.05, 1.15), strict=True)), PERCEPTUAL: 1.10},
    CNN: {**dict(zip(SIX, (1.20, 1.20, 2.20, 1.60, 1.15, 1.35), strict=True)), PERCEPTUAL: 1.10},
    RESNET50: {**dict(zip(SIX, (1.02, 1.02, 1.10, 1.05, 1.02, 1.02), strict=True)), PERCEPTUAL: 1.10},
}
# steps of one measurement, and of our run before it that warms up (and compiles what is compiled)
STEPS = {CIFAR: (13, 12), CNN: (15, 12), RESNET50: (5, 2)}
NOTE = (
    "Seconds per step / seconds of a bare forward and backward pass by itself, each attack in its own process: "
    "median over steps, then over rounds. In turns: over bare passes between its own, which share its heap. For "
    "LPIPS, a bare pass also holds a forward and backward of the feature trunk (demo)."
)


@dataclass(frozen=True)
class Column:
    """An attack and a peer's, by their number of steps; `large` is who also runs on a large model."""

    label: str
    ours: Callable[[int], Attack]
    peer: Callable[[int], Peer] | None = None
    trunk: bool = False
    large: tuple[Side, ...] = ("ours",)

    def has(self, side: Side) -> bool:
        return side == "ours" or (self.peer is not None and there(PEER))

    def bare(self, case: Case) -> Bare:
        if not self.trunk:
            return lambda x: bare_pass(case.model, x)
        trunk = cast("LPIPS", get("lpips", trunk="demo")).trunk

        def both(x: Tensor) -> None:
            bare_pass(case.model, x)
            differentiated(trunk, x)

        return both


def _alma(distance: str, **settings: Any) -> Callable[[int], Attack]:
    return lambda steps: ALMA(distance=distance, steps=steps, **settings)


def _peer(name: str, count: str, **settings: Any) -> Callable[[int], Peer]:
    return lambda steps: adv_lib(name, **{count: steps}, **settings)


def _peer_alma(distance: str, first: float) -> Callable[[int], Peer]:
    return _peer("alma", "num_steps", distance=distance, init_lr_distance=first, α=0.5)


COLUMNS = (
    Column("ALMA ℓ2", _alma("l2"), _peer_alma("l2", 0.1), large=BOTH),
    Column("ALMA ℓ1", _alma("l1"), _peer_alma("l1", 0.5)),
    Column("ALMA CIEDE2000", _alma("ciede2000"), _peer_alma("ciede2000", 0.05), large=BOTH),
    Column("ALMA SSIM", _alma("ssim"), _peer_alma("ssim", 3e-5), large=BOTH),
    Column("DDN", lambda steps: DDN(steps=steps), _peer("ddn", "steps", levels=None)),
    Column("FMN ℓ1", lambda steps: FMN(distance="l1", steps=steps), _peer("fmn", "steps", norm=1)),
    Column(PERCEPTUAL, _alma("lpips:trunk=demo"), trunk=True),
    Column("ALMA ℓ0", _alma("l0")),
    Column("ALMA ℓ∞", _alma("linf")),
    Column("ALMA.paper ℓ2", lambda steps: ALMA.paper("l2", steps), large=()),
    Column("ALMA.paper ℓ1", lambda steps: ALMA.paper("l1", steps), large=()),
)


@dataclass(frozen=True)
class Job:
    """One run of one side's attack."""

    column: Column
    side: Side

    def run(self, steps: int) -> Run:
        if self.side == "ours":
            return self.column.ours(steps)
        if self.column.peer is None:
            raise ValueError(f"{self.column.label} has no peer")
        return self.column.peer(steps)

    def __str__(self) -> str:
        return f"{self.column.label}, {self.side}"


def tables(names: Sequence[str], only: str, rounds: int, track: Track) -> Iterator[Table]:
    """Yield a table for each of the models, of the attacks whose label contains the text."""
    chosen = [column for column in COLUMNS if only.lower() in column.label.lower()]
    for name in names if chosen else ():
        case = load(name)
        sides = {column: column.large if name == RESNET50 else BOTH for column in chosen}
        columns = [column for column in chosen if sides[column]]
        jobs = [Job(column, side) for column in columns for side in sides[column] if column.has(side)]
        yield _table(case, columns, _measure(case, jobs, rounds, track))


def measured(name: str, label: str, side: Side) -> Ratios:
    """Measure one side of a column in this process."""
    case, job = load(name), Job(next(column for column in COLUMNS if column.label == label), side)
    steps, warm_up = STEPS[name]
    return ratios(job.run(warm_up if side == "ours" else 2), job.run(steps), case, job.column.bare(case))


def _measure(case: Case, jobs: list[Job], rounds: int, track: Track) -> dict[Job, Ratios]:
    found: dict[Job, list[Ratios]] = {job: [] for job in jobs}
    for number in range(rounds):
        for job in track(f"{case}, round {number + 1}", jobs):
            found[job].append(apart(measured, case.name, job.column.label, job.side))
    return {
        job: Ratios(median(one.alone for one in values), median(one.in_turns for one in values))
        for job, values in found.items()
    }


def _table(case: Case, columns: list[Column], medians: dict[Job, Ratios]) -> Table:
    most = AT_MOST[case.name]

    def cells(side: Side, value: Callable[[Ratios], float]) -> list[str]:
        found = [medians.get(Job(column, side)) for column in columns]
        return ["" if one is None else f"{value(one):.2f}" for one in found]

    ours = [judged(medians[Job(column, "ours")].alone, most.get(column.label)) for column in columns]
    limits = [f"{most[column.label]:.2f}" if column.label in most else "" for column in columns]
    peer = installed(PEER)
    rows = (
        ("ours", *ours),
        ("at most", *limits),
        (peer, *cells("peer", lambda one: one.alone)),
        ("ours, in turns", *cells("ours", lambda one: one.in_turns)),
        (f"{peer}, in turns", *cells("peer", lambda one: one.in_turns)),
    )
    labels = (column.label for column in columns)
    return Table(f"Overhead per step: {case} ({case.note})", ("seconds per step / bare pass", *labels), rows, NOTE)

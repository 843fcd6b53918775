"""How the cost of a step grows with the number of steps and with the batch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median

from benchmarks.cases import CIFAR, Case, load
from benchmarks.paired import Paired, bare_pass
from benchmarks.tables import Table, judged
from benchmarks.tracking import Track
from minadv import ALMA

BATCHES, STEPS = (16, 64, 256), (100, 300, 1000)
# of noise, over the shortest run or the smallest batch
AT_MOST = 1.10
NOTE = (
    "Whole runs of ALMA ℓ2, from the first step to the verification, bare passes measured in turns. "
    f"Median over rounds; ✗ where the cost grows by more than {100 * (AT_MOST - 1):.0f} %."
)


@dataclass(frozen=True)
class Cost:
    """Mean seconds of a run's steps, and of the bare passes in between."""

    step: float
    bare: float

    @property
    def overhead(self) -> float:
        return self.step / self.bare


@dataclass(frozen=True)
class Job:
    """One run of ALMA."""

    steps: int
    batch: int

    def cost(self, case: Case) -> Cost:
        case = case.first(self.batch)
        paired = Paired(case.model, lambda x: bare_pass(case.model, x))
        whole = paired.clock()
        ALMA(distance="l2", steps=self.steps)(paired, case.inputs, case.labels)
        whole = paired.clock() - whole
        bare = [began - came for came, began in paired.visits]
        return Cost((whole - sum(bare)) / self.steps, mean(bare))

    def __str__(self) -> str:
        return f"{self.steps} steps, batch {self.batch}"


def tables(rounds: int, track: Track) -> Iterator[Table]:
    """Yield one table, of steps and of batches."""
    first = Job(STEPS[0], BATCHES[0])
    longer = [Job(steps, first.batch) for steps in STEPS[1:]]
    larger = [Job(first.steps, batch) for batch in BATCHES[1:]]
    jobs = [first, *longer, *larger]
    case = load(CIFAR, max(BATCHES))
    Job(10, first.batch).cost(case)  # warms up
    measured = [
        {job: job.cost(case) for job in track(f"linear, round {number + 1}", jobs)} for number in range(rounds)
    ]
    columns = ("ALMA ℓ2", "step / bare pass", "per step and sample", "bare pass, per sample")
    yield Table(f"Linear cost: {case.name}, relative to {first}", columns, compared(jobs, measured), NOTE)


def compared(jobs: Sequence[Job], measured: Sequence[Mapping[Job, Cost]]) -> tuple[tuple[str, ...], ...]:
    """Return a row for every job, relative to the first one; those with the same batch have more steps."""
    first = jobs[0]
    rows = ((_longer if job.batch == first.batch else _larger)(job, first, measured) for job in jobs)
    return tuple(rows)


def _longer(job: Job, first: Job, measured: Sequence[Mapping[Job, Cost]]) -> tuple[str, ...]:
    """Compare steps by their overheads, as the machine's speed may change during a long run."""
    relative = median(costs[job].overhead / costs[first].overhead for costs in measured)
    return str(job), _overhead(job, measured), judged(relative, AT_MOST), "1.00" if job is first else ""


def _larger(job: Job, first: Job, measured: Sequence[Mapping[Job, Cost]]) -> tuple[str, ...]:
    share = first.batch / job.batch
    step = share * median(costs[job].step / costs[first].step for costs in measured)
    bare = share * median(costs[job].bare / costs[first].bare for costs in measured)
    return str(job), _overhead(job, measured), judged(step, AT_MOST), f"{bare:.2f}"


def _overhead(job: Job, measured: Sequence[Mapping[Job, Cost]]) -> str:
    return f"{median(costs[job].overhead for costs in measured):.2f}"

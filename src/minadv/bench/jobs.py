"""What is to be computed: a suite's jobs, and the shards that they are cut into."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from minadv.attacks.base import Attack
from minadv.bench import fingerprints
from minadv.bench.records import Cell, Plan, Sample
from minadv.bench.suite import Population


@dataclass(frozen=True)
class Options:
    """What the command line adds to a suite.

    Attributes:
        only: words; a row is kept when all words of one of them are in its model's and attack's names.
        limit: most samples.
        files: folders in which weights and data are looked for first.
        population, shard_size: in place of the suite's.
        trace: keep traces even if the suite does not ask for them.
    """

    only: tuple[str, ...] = ()
    limit: int | None = None
    files: tuple[Path, ...] = ()
    population: Population | None = None
    shard_size: int | None = None
    trace: bool = False


@dataclass(frozen=True)
class Job:
    """A cell that can be computed here: the attack, where model and data are, and the samples.

    Attributes:
        outputs: classes that the model tells apart.
    """

    cell: Cell
    attack: Attack
    model_spec: str
    data_spec: str
    outputs: int
    target: int | None
    trace: bool
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class Shard:
    """The unit of work. Its id is a hash of everything that decides its numbers."""

    id: str
    job: Job
    samples: tuple[Sample, ...]

    @classmethod
    def of(cls, job: Job, samples: tuple[Sample, ...]) -> "Shard":
        """Return the shard of these samples of a job."""
        return cls(fingerprints.of_json([job.cell.id, job.trace, samples]), job, samples)


@dataclass(frozen=True)
class Planning:
    """A suite, looked at: what was asked, and what can be computed."""

    plan: Plan
    jobs: tuple[Job, ...]
    shard_size: int


def shards(job: Job, size: int, done: frozenset[Sample] = frozenset()) -> Iterator[Shard]:
    """Cut a job into shards of `size` samples, leaving out what is finished.

    The cuts do not depend on what is finished, so that an interrupted run goes on with the same shards.
    """
    for start in range(0, len(job.samples), size):
        block = tuple(sample for sample in job.samples[start : start + size] if sample not in done)
        if block:
            yield Shard.of(job, block)

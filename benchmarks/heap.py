"""What it is worth that a search keeps freed memory for its next pass: milliseconds and page faults of a step.

Without, glibc gives it back to the system after each pass, and takes it anew, page by page, in the next.
"""

import os
import platform
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.apart import apart
from benchmarks.cases import CIFAR, CNN, load
from benchmarks.overhead import COLUMNS
from benchmarks.tables import Table
from benchmarks.tracking import Track

STEPS, WARM_UP = 100, 5
LABELS = ("ALMA ℓ2", "ALMA CIEDE2000", "DDN", "FMN ℓ1")
# any setting of the user's for glibc's heap is left alone; this one changes nothing
AS_IT_IS = {"MALLOC_PERTURB_": "0"}
NOTE = f"{STEPS} steps, each run in a process of its own, in turns; median over rounds."


@dataclass(frozen=True)
class Cost:
    """Of a step."""

    milliseconds: float
    faults: float


def tables(names: Sequence[str], only: str, rounds: int, track: Track) -> Iterator[Table]:
    """Yield a table of the attacks whose label contains the text, on the models for CIFAR-10."""
    labels = [label for label in LABELS if only.lower() in label.lower()]
    jobs = [(name, label) for name in (CIFAR, CNN) if name in names for label in labels]
    if not jobs or platform.libc_ver()[0] != "glibc":
        return
    rows = list[tuple[str, ...]]()
    for name, label in track("the heap", jobs):
        found = [[apart(cost, name, label, kept) for kept in (False, True)] for _ in range(rounds)]
        without, kept = ([one[side] for one in found] for side in (0, 1))
        ratio = median(mine.milliseconds / its.milliseconds for its, mine in zip(without, kept, strict=True))
        rows.append((f"{name}, {label}", *_cells(without), *_cells(kept), f"{ratio:.2f}"))
    columns = ("", "given back: ms", "page faults", "kept: ms", "page faults", "kept / given back")
    yield Table(
        "Freed memory, given back or kept: milliseconds and page faults of a step", columns, tuple(rows), NOTE
    )


def cost(name: str, label: str, kept: bool) -> Cost:
    """Measure a run in this process."""
    if not kept:
        os.environ.update(AS_IT_IS)
    case = load(name)
    attack = next(column.ours for column in COLUMNS if column.label == label)
    attack(WARM_UP)(case.model, case.inputs, case.labels)
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    attack(STEPS)(case.model, case.inputs, case.labels)
    seconds, faults = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    return Cost(1000 * seconds / STEPS, faults / STEPS)


def _cells(costs: Sequence[Cost]) -> tuple[str, str]:
    milliseconds, faults = (
        median(values) for values in zip(*((c.milliseconds, c.faults) for c in costs), strict=True)
    )
    return f"{milliseconds:.1f}", f"{faults:.0f}"

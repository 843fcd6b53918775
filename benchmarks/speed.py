"""What speed costs and saves, measured in one run on one machine: `make bench`.

    python -m benchmarks.speed [--only PART] [--model TEXT] [--attack TEXT] [--rounds 3] [--out FILE]

Every table is printed, and the file written again, as soon as it is finished. Nearly every number is a ratio: an
attack's step over the model's own passes, our seconds over a peer's. ✗ is above what is asked for. Parts:

    overhead    seconds per step over a bare forward and backward pass of the same model and batch
    auto        seconds per propagation of Auto over those of ALMA
    memory      peak memory beyond the bare pass
    heap        seconds and page faults of a step with freed memory kept, and without
    wallclock   same attacks and settings beside other packages (`make parity` installs them)
    linear      cost of a step against the number of steps and the batch
    starting    imports and the command line
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from rich.console import Console

from benchmarks import automatic, cases, footprint, heap, linear, overhead, starting, wallclock
from benchmarks.tables import Table
from benchmarks.tracking import Track, show

PARTS = ("overhead", "auto", "memory", "heap", "wallclock", "linear", "starting")


def parts(given: argparse.Namespace, track: Track) -> dict[str, Callable[[], Iterator[Table]]]:
    """Return what makes each part's tables."""
    models = [name for name in cases.BATCHES if given.model.lower() in name.lower()]
    measured: tuple[Callable[[], Iterator[Table]], ...] = (
        lambda: overhead.tables(models, given.attack, given.rounds, track),
        lambda: automatic.tables(models, given.attack, given.rounds, track),
        lambda: footprint.tables(given.attack, track),
        lambda: heap.tables(models, given.attack, given.rounds, track),
        lambda: wallclock.tables(given.attack, given.samples, given.rounds, track),
        lambda: linear.tables(given.rounds, track),
        lambda: starting.tables(track),
    )
    return dict(zip(PARTS, measured, strict=True))


def chosen(given: argparse.Namespace, track: Track) -> Iterator[Table]:
    """Yield the tables of the parts that were asked for."""
    made = parts(given, track)
    for part in given.only:
        yield from made[part]()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS, help="parts")
    parser.add_argument("--model", default="", help="part of a model's name, for overhead, auto, heap")
    parser.add_argument("--attack", default="", help="part of an attack's name, for all but linear, starting")
    parser.add_argument("--samples", type=int, default=64, help="images of the wallclock part")
    parser.add_argument("--rounds", type=int, default=3, help="of each measurement: the median counts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/speed.md"), help="Markdown file for the tables")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)

    console = Console(width=None if Console().is_terminal else 160)
    show(lambda track: chosen(given, track), given.out, console)
    console.print(f"{given.threads} threads, {given.rounds} rounds; written to {given.out}")


if __name__ == "__main__":
    main()

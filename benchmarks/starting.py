"""How long the library takes to import, and the command line to answer."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

from benchmarks.tables import Table, judged
from benchmarks.tracking import Track

ROUNDS = 5
MOST_IMPORT, MOST_SECONDS = 1.3, 1.0
TORCH = (sys.executable, "-c", "import torch")
IMPORTS = ("import minadv", "from minadv import ALMA")
COMMANDS = (("--help",), ("list",), ("list", "attacks"))
NOTE = f"Each in a process of its own, in turns; median of {ROUNDS}."

Timer = Callable[[Sequence[str]], float]


def seconds(command: Sequence[str]) -> float:
    """Seconds of a command, which must succeed."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603  (commands of this file)
    return time.perf_counter() - start


def tables(track: Track, timer: Timer = seconds) -> Iterator[Table]:
    """Yield one table: imports over that of torch, commands in seconds."""
    program = str(Path(sys.executable).with_name("minadv"))
    imports = {statement: (sys.executable, "-c", statement) for statement in IMPORTS}
    commands = {" ".join(("minadv", *words)): (program, *words) for words in COMMANDS}
    named = {"import torch": TORCH, **imports, **commands}
    for command in named.values():  # files into the cache
        timer(command)
    rounds = [
        {name: timer(named[name]) for name in track(f"starting, round {number + 1}", list(named))}
        for number in range(ROUNDS)
    ]
    rows: list[tuple[str, ...]] = []
    for statement in imports:
        ratio = median(times[statement] / times["import torch"] for times in rounds)
        rows.append((f"{statement} / import torch", judged(ratio, MOST_IMPORT), f"{MOST_IMPORT:.2f}"))
    for command in commands:
        taken = median(times[command] for times in rounds)
        rows.append((f"{command}, seconds", judged(taken, MOST_SECONDS), f"{MOST_SECONDS:.2f}"))
    yield Table("Starting", ("what", "ours", "at most"), tuple(rows), NOTE)

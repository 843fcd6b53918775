"""What mixed precision and channels-last images change: success rate, median distance, seconds.

    python -m benchmarks.precision [--steps 100] [--samples 100] [--rounds 3] [--threads 1] [--only TEXT]

ALMA and DDN run in turns, as they are and with each option, on the first correctly classified images of the public
CIFAR-10 models and on a ResNet-50 with random weights. Seconds are of processor time, which other programs disturb
less than they do a clock, everything included (the landing too). How much faster is the median over rounds.
"""

import argparse
import time
from statistics import median
from typing import Any

import torch
from rich.console import Console

import minadv
from benchmarks.cases import CIFAR, CNN, RESNET50, Case, load
from benchmarks.tables import Table
from minadv import ALMA, DDN, Attack, Result

OPTIONS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "channels_last": {"channels_last": True},
    "bfloat16": {"precision": "bfloat16"},
    "bfloat16, channels_last": {"precision": "bfloat16", "channels_last": True},
}
# how many times fewer steps the ResNet-50 takes
SHORTER = 4


def measured(case: Case, attack: Attack, rounds: int) -> Table:
    seconds: dict[str, list[float]] = {name: [] for name in OPTIONS}
    results: dict[str, Result] = {}
    attack(case.model, case.inputs[:2], case.labels[:2])  # what is slow once is nobody's
    for _ in range(rounds):
        for name, options in OPTIONS.items():
            start = time.process_time()
            data = (case.inputs, case.labels)
            results[name] = minadv.evaluate(case.model, data, attack, progress=False, **options)
            seconds[name].append(time.process_time() - start)
    usual = seconds["as it is"]
    rows = tuple(
        (
            name,
            f"{100 * result.asr:.1f} %",
            f"{result.median:.4g}",
            f"{int(result.forwards.max())}/{int(result.backwards.max())}",
            f"{median(seconds[name]):.2f}",
            f"{median(full / own for full, own in zip(usual, seconds[name], strict=True)):.2f}",
        )
        for name, result in results.items()
    )
    columns = ("option", "ASR", f"median {attack.distance}", "fwd/bwd", "seconds", "times as fast")
    return Table(f"{type(attack).__name__} on {case} ({case.note})", columns, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="part of a model's name")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for name in (CIFAR, CNN, RESNET50):
        if arguments.only.lower() not in name.lower():
            continue
        large = name == RESNET50
        case = load(name, 4 if large else arguments.samples)
        steps = max(arguments.steps // SHORTER, 1) if large else arguments.steps
        for attack in (ALMA(steps=steps), DDN(steps=steps)):
            Console(width=120).print(measured(case, attack, arguments.rounds).rich())


if __name__ == "__main__":
    main()

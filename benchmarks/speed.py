"""What an attack's step costs beside the model's own passes, and its peak memory: `make bench`.

    python benchmarks/speed.py [--rounds 3] [--only NAME]

Every number is a ratio from one run on one machine: seconds per step of ALMA over seconds of a bare forward and
backward pass of the same model and batch, the two measured in turns (median over rounds). A step holds one
forward and one backward pass, so that 1.00 is the physical limit. Memory is the attack's peak beyond that of
the bare pass, in tensors of the input's size.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import minadv
from benchmarks.memory import peak
from minadv import ALMA

DISTANCES = ("l0", "l1", "l2", "linf", "ssim", "ciede2000", "lpips:trunk=demo")
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@dataclass(frozen=True)
class Case:
    """A model, a batch, and how many steps make one measurement."""

    name: str
    model: nn.Module
    inputs: Tensor
    steps: int

    @property
    def labels(self) -> Tensor:
        with torch.no_grad():
            return self.model(self.inputs).argmax(dim=1)


def cases() -> list[Callable[[], Case]]:
    def noise(*shape: int) -> Tensor:
        return torch.rand(shape, generator=torch.Generator().manual_seed(0))

    def cifar() -> Case:
        file = SHARED / "cifar_resnet4b.safetensors"
        weights = str(file) if file.is_file() else "random"
        model = minadv.models.load(f"zoo:cifar_resnet4b@{weights}")
        return Case(
            f"cifar_resnet4b ({'trained' if file.is_file() else 'random'}), 128", model, noise(128, 3, 32, 32), 20
        )

    def resnet50() -> Case:
        model = minadv.models.load("torchvision:resnet50@random")
        return Case("ResNet-50 at 224×224, 4", model, noise(4, 3, 224, 224), 4)

    return [cifar, resnet50]


def bare_pass(case: Case) -> None:
    leaf = case.inputs.clone().requires_grad_()
    logits = case.model(leaf)
    torch.autograd.grad(logits, leaf, grad_outputs=torch.ones_like(logits))


def bare_seconds(case: Case) -> float:
    seconds = []
    for _ in range(case.steps):
        start = time.perf_counter()
        bare_pass(case)
        seconds.append(time.perf_counter() - start)
    return median(seconds)


def step_seconds(case: Case, distance: str, labels: Tensor) -> float:
    """Median time between an attack's steps; the first, which also chooses the step size, is left out."""
    ticks: list[float] = []
    attack = ALMA(distance=distance, steps=case.steps + 2)
    attack(case.model, case.inputs, labels, on_step=lambda _: ticks.append(time.perf_counter()))
    return median(after - before for before, after in pairwise(ticks[1:]))


def measure(case: Case, rounds: int) -> dict[str, tuple[float, float]]:
    """Ratio of time and extra memory of each distance."""
    labels = case.labels
    ratios: dict[str, list[float]] = {distance: [] for distance in DISTANCES}
    bare_pass(case)
    for _ in range(rounds):
        for distance in DISTANCES:
            bare = bare_seconds(case)
            ratios[distance].append(step_seconds(case, distance, labels) / bare)
    own = peak(lambda: bare_pass(case))
    size = case.inputs.numel() * case.inputs.element_size()
    memory = {
        distance: (peak(lambda name=distance: ALMA(distance=name, steps=3)(case.model, case.inputs, labels)) - own)
        / size
        for distance in DISTANCES
    }
    return {distance: (median(ratios[distance]), memory[distance]) for distance in DISTANCES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="part of a model's name")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    table = Table(
        "model, batch", *DISTANCES, title="ALMA: seconds per step / bare forward+backward (extra memory)"
    )
    for build in cases():
        case = build()
        if arguments.only.lower() not in case.name.lower():
            continue
        rows = measure(case, arguments.rounds)
        table.add_row(case.name, *(f"{ratio:.2f} ({memory:.0f})" for ratio, memory in rows.values()))
    console = Console(width=140)
    console.print(table)
    console.print(
        f"{arguments.threads} threads, median of {arguments.rounds} rounds; LPIPS also runs its own features. "
        "In brackets: peak memory beyond the bare pass, in tensors of the input's size."
    )


if __name__ == "__main__":
    main()

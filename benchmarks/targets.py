"""ALMA with the paper's settings on public robust models: medians over the first 100 correct test images.

    python benchmarks/targets.py [--data DIR] [--samples 100] [--only cifar]

Prints one row per target beside what a reference implementation measured on the same images. The folder of
models and images is ../shared/data or --data.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import minadv
from minadv import ALMA


@dataclass(frozen=True)
class Target:
    """A model, an attack, and the median that a reference implementation reached."""

    model: str
    data: str
    attack: ALMA
    label: str
    reference: float
    bound: float


def targets() -> list[Target]:
    cifar, at, kw = "cifar_resnet4b", "mnist_lenet5_linf_at", "mnist_kw"
    rows = (
        (cifar, "l2", 100, 0.509, 0.525),
        (cifar, "l2", 1000, 0.485, 0.500),
        (cifar, "l1", 100, 6.43, 6.7),
        (cifar, "l1", 1000, 4.93, 5.1),
        (at, "l2", 100, 1.69, 1.75),
        (at, "l2", 1000, 1.55, 1.60),
        (at, "l1", 1000, 5.85, 6.1),
        (kw, "l2", 100, 1.81, 1.87),
        (cifar, "ciede2000", 100, 1.16, 1.20),
    )
    files = {cifar: "cifar10_test_1000", at: "mnist_test", kw: "mnist_test"}
    return [
        Target(model, files[model], ALMA.paper(distance, steps), f"ALMA.paper({distance!r}, {steps})", *numbers)
        for model, distance, steps, *numbers in rows
    ]


def first_correct(model: torch.nn.Module, data: str, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first `count` images that the model classifies correctly."""
    inputs, labels = minadv.data.load(data).tensors(limit=min(3 * count, 1000))
    with torch.no_grad():
        correct = torch.cat([model(part).argmax(dim=1) for part in inputs.split(250)]) == labels
    return inputs[correct][:count], labels[correct][:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=shared)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--only", default="", help="part of a model's name")
    arguments = parser.parse_args()
    table = Table("model", "attack", "median", "reference", "at most", "ASR", "fwd/bwd", "seconds")
    for target in targets():
        if arguments.only not in target.model:
            continue
        torch.manual_seed(0)
        model = minadv.models.load(f"zoo:{target.model}@{arguments.data / target.model}.safetensors")
        inputs, labels = first_correct(model, f"npz:{arguments.data / target.data}.npz", arguments.samples)
        start = time.perf_counter()
        result = minadv.evaluate(model, (inputs, labels), target.attack)
        table.add_row(
            target.model,
            target.label,
            f"{np.median(result.distances.numpy()):.4g}",
            f"{target.reference:g}",
            f"{target.bound:g}",
            f"{100 * result.asr:.0f} %",
            f"{int(result.forwards.max())}/{int(result.backwards.max())}",
            f"{time.perf_counter() - start:.0f}",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()

"""ALMA with the paper's settings on public robust models: lower medians over the first 100 correct test images.

    python benchmarks/targets.py [--data DIR] [--samples 100] [--only cifar] [--ours]

Prints one row per target beside what a reference implementation measured on the same images. The folder of
models and images is ../shared/data or --data. --ours shows ALMA's own defaults beside the paper's instead.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

import minadv
from minadv import ALMA

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
FILES = {
    "cifar_resnet4b": "cifar10_test_1000",
    "mnist_lenet5_linf_at": "mnist_test",
    "mnist_kw": "mnist_test",
}
Attackable = tuple[torch.nn.Module, torch.Tensor, torch.Tensor]  # a model, images, and their labels


@dataclass(frozen=True)
class Target:
    """A model, an attack, and the median that a reference implementation reached."""

    model: str
    attack: ALMA
    label: str
    reference: float
    bound: float


def targets() -> list[Target]:
    cifar, at, kw = FILES
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
    return [
        Target(model, ALMA.paper(distance, steps), f"ALMA.paper({distance!r}, {steps})", *numbers)
        for model, distance, steps, *numbers in rows
    ]


def load(name: str, folder: Path, count: int, images: str | None = None) -> Attackable:
    """Return a model and the first `count` images that it classifies correctly, with their labels."""
    model = minadv.models.load(f"zoo:{name}@{folder / name}.safetensors")
    file = folder / f"{images or FILES[name]}.npz"
    inputs, labels = minadv.data.load(f"npz:{file}").tensors(limit=min(3 * count, 1000))
    with torch.no_grad():
        correct = torch.cat([model(part).argmax(dim=1) for part in torch.split(inputs, 250)]) == labels
    return model, inputs[correct][:count], labels[correct][:count]


def by_the_paper(folder: Path, samples: int, only: str) -> Table:
    table = Table("model", "attack", "median", "reference", "at most", "ASR", "fwd/bwd", "seconds")
    for target in targets():
        if only not in target.model:
            continue
        model, inputs, labels = load(target.model, folder, samples)
        start = time.perf_counter()
        result = minadv.evaluate(model, (inputs, labels), target.attack)
        table.add_row(
            target.model,
            target.label,
            f"{result.median:.4g}",
            f"{target.reference:g}",
            f"{target.bound:g}",
            f"{100 * result.asr:.0f} %",
            f"{int(result.forwards.max())}/{int(result.backwards.max())}",
            f"{time.perf_counter() - start:.0f}",
        )
    return table


def beside_ours(folder: Path, samples: int, only: str, steps: int = 100) -> Table:
    """ALMA's own defaults beside the paper's settings, both scored on the same scale."""
    table = Table("model", "distance", "steps", "ALMA.paper: median (ASR)", "ALMA: median (ASR)")
    for model_name in FILES:
        if only not in model_name:
            continue
        model, inputs, labels = load(model_name, folder, samples)
        for name in ("l0", "l1", "l2", "linf", "ssim", "ciede2000"):
            if name == "ciede2000" and inputs.shape[1] != 3:
                continue
            distance = minadv.distances.get(name)
            results = [
                minadv.evaluate(model, (inputs, labels), attack)
                for attack in (ALMA.paper(distance, steps), ALMA(distance=distance, steps=steps))
            ]
            cells = (f"{result.median:.3g} ({100 * result.asr:.0f} %)" for result in results)
            table.add_row(model_name, name, str(steps), *cells)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--only", default="", help="part of a model's name")
    parser.add_argument("--ours", action="store_true", help="compare ALMA's own defaults instead")
    arguments = parser.parse_args()
    table = beside_ours if arguments.ours else by_the_paper
    Console(width=120).print(table(arguments.data, arguments.samples, arguments.only))


if __name__ == "__main__":
    main()

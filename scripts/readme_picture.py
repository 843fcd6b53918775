"""Make docs/distances.png, the picture at the top of the README: two images, seven distances.

    python scripts/readme_picture.py [--out docs/distances.png]

For a few demo images: the original, and under each distance the smallest change that `minimise` finds, with that
change magnified below it.
"""

import argparse
from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor

import minadv
from minadv.data.dataset import Data

DISTANCES = ("l0", "l1", "l2", "linf", "ssim", "ciede2000", "lpips:trunk=demo")
SAMPLES = (3, 27)
BUDGET = 300


def magnified(difference: Tensor) -> tuple[Tensor, float]:
    """Scale a difference until its largest entry just fits around mid-grey."""
    factor = 0.5 / max(difference.abs().max().item(), 1e-6)
    return 0.5 + factor * difference, factor


def name_of(data: Data, label: Tensor) -> str:
    return data.classes[int(label)].replace("_", " ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/distances.png"))
    out: Path = parser.parse_args().out
    model, data = minadv.models.load("demo"), minadv.data.load("demo")
    inputs, labels = data.batch(SAMPLES)
    results = {name: minadv.minimise(model, inputs, labels, distance=name, budget=BUDGET) for name in DISTANCES}

    figure = Figure(figsize=(1.12 * (len(DISTANCES) + 1), 2.75 * len(SAMPLES)))
    for row, part in enumerate(figure.subfigures(len(SAMPLES), 1, squeeze=False)[:, 0]):
        part.subplots_adjust(left=0.01, right=0.99, top=0.87, bottom=0.07, wspace=0.06, hspace=0.04)
        top, bottom = part.subplots(2, len(DISTANCES) + 1)
        for axes in (*top, *bottom):
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        top[0].imshow(inputs[row].permute(1, 2, 0))
        top[0].set_title(f"original\n{name_of(data, labels[row])}", fontsize=7)
        for column, result in enumerate(results.values(), start=1):
            change, factor = magnified(result.adversarials[row] - inputs[row])
            top[column].imshow(result.adversarials[row].permute(1, 2, 0))
            top[column].set_title(f"{result.distance}\n{name_of(data, result.predictions[row])}", fontsize=7)
            bottom[column].imshow(change.permute(1, 2, 0))
            bottom[column].set_xlabel(f"{result.distances[row]:.3g}  (×{factor:.3g})", fontsize=6, labelpad=2)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=150)


if __name__ == "__main__":
    main()

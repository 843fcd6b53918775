"""ALMA on linear models, beside the exact distance to the boundary that it reached: `python -m benchmarks.exact`.

Of each row: how many answers are farther than 2 %, and the median and the largest of distance / exact distance.
"""

import argparse
from collections.abc import Callable

import torch
from rich.console import Console
from torch import Tensor

from benchmarks.tables import Table
from minadv import ALMA, Attack

# entries, classes, standard deviation of the weights, width of the images' values around 0.5; three seeds each
MODELS = ((50, 6, 0.5, 0.3), (192, 4, 0.2, 0.1), (784, 10, 0.1, 1.0), (48, 4, 0.5, 1.0), (3072, 10, 0.05, 0.6))
SEEDS, IMAGES, HALVINGS, NEAR = range(3), 32, 60, 1.02
SETTINGS: dict[str, Callable[[str], Attack]] = {
    "ALMA, 1000": lambda distance: ALMA(distance=distance, steps=1000),
    "ALMA, 100": lambda distance: ALMA(distance=distance, steps=100),
    "ALMA.paper, 1000": lambda distance: ALMA.paper(distance, 1000),
    "ALMA.paper, 100": lambda distance: ALMA.paper(distance, 100),
}
DISTANCES = ("l1", "l2", "linf")
COLUMNS = ("", "answers", f"> {NEAR}", "median", "largest")


def exact(distance: str, x: Tensor, slopes: Tensor, gaps: Tensor) -> Tensor:
    """Distance from images in the box to where a linear function of them has fallen by so much, within the box.

    Args:
        distance: "l1", "l2" or "linf".
        x: (n, entries) in [0, 1].
        slopes: (n, entries) of each image's linear function.
        gaps: (n,) by how much it has to fall, no more than it can.
    """
    if distance == "l1":
        return _steepest_first(x, slopes, gaps)
    direction = slopes if distance == "l2" else slopes.sign()

    def moved(length: Tensor) -> Tensor:
        return (x - length[:, None] * direction).clamp(0, 1) - x

    low = torch.zeros_like(gaps)
    high = 1 / slopes.abs().masked_fill(slopes == 0, torch.inf).amin(dim=1)  # all are at the box by then
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        enough = -(moved(middle) * slopes).sum(dim=1) >= gaps
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    change = moved(high).abs()
    return change.square().sum(dim=1).sqrt() if distance == "l2" else change.amax(dim=1)


def _steepest_first(x: Tensor, slopes: Tensor, gaps: Tensor) -> Tensor:
    """ℓ1 pays for the steepest entries first, each as far as the box lets it go."""
    steep, order = slopes.abs().sort(dim=1, descending=True)
    room = torch.where(slopes > 0, x, 1 - x).gather(1, order)
    gains = steep * room
    left = gaps[:, None] - (gains.cumsum(dim=1) - gains)
    return torch.minimum(room, left.clamp_min(0) / steep.clamp_min(1e-300)).sum(dim=1)


def ratios(attack: Attack, distance: str, model: tuple[int, int, float, float], seed: int) -> Tensor:
    """(n,) distances over the exact ones to the boundary that was reached, of what was found."""
    (entries, classes, scale, width), generator = model, torch.Generator().manual_seed(seed)
    weight = scale * torch.randn(classes, entries, generator=generator)
    bias = 0.1 * torch.randn(classes, generator=generator)
    x = 0.5 + width * (torch.rand(IMAGES, entries, generator=generator) - 0.5)
    logits = x @ weight.T + bias
    labels = logits.argmax(dim=1)
    result = attack(lambda images: images @ weight.T + bias, x, labels)
    rows, reached = torch.arange(IMAGES), result.predictions
    slopes = (weight[labels] - weight[reached]).double()
    gaps = (logits[rows, labels] - logits[rows, reached]).double() + attack.confidence
    return (result.distances / exact(distance, x.double(), slopes, gaps))[result.success]


def table(distance: str) -> Table:
    """Measure one distance."""
    rows: list[tuple[str, ...]] = []
    for name, setting in SETTINGS.items():
        attack = setting(distance)
        found = torch.cat([ratios(attack, distance, model, seed) for model in MODELS for seed in SEEDS])
        far = f"{100 * (found > NEAR).double().mean().item():.1f} %"
        rows.append((name, str(len(found)), far, f"{found.median().item():.4f}", f"{found.max().item():.3g}"))
    return Table(f"{distance}: distance / exact distance to the boundary that was reached", COLUMNS, tuple(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=DISTANCES, nargs="+", default=DISTANCES, help="distances")
    for name in parser.parse_args().only:
        Console().print(table(name).rich())


if __name__ == "__main__":
    main()

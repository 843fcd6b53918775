"""Small models to attack: plain, adversarially and provably trained, on digits and on the embedded photographs.

Where the shared data are, MNIST's test images but for the first thousand train five more, on which little was
chosen (docs/auto.md says what). One thread and one seed: on one machine the same files each time.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import sklearn.datasets
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax

import minadv
from benchmarks.frontier import crops, interval, models, suites
from benchmarks.targets import SHARED
from minadv import files
from minadv.attacks import APGD

SEED, BATCH, HELD_OUT, JUDGED = 0, 64, 597, 200
UNSEEN = 1000
STORED = ("digits", "large")  # what nothing but `train` makes images of
Images = tuple[Tensor, Tensor]
Loss = Callable[[nn.Module, Tensor, Tensor, float], Tensor]


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Attributes:
        build: the network to begin with.
        data: "digits", "demo", "mnist" or "large".
        loss: of a network, images, labels and how much of the training is done, in [0, 1].
        epsilon, distance: within which it should be robust; 0 is not at all.
        provable: whether bounds, not an attack, say how robust it is.
    """

    name: str
    build: Callable[[], nn.Module]
    data: str
    epochs: int
    rate: float
    loss: Loss
    epsilon: float = 0.0
    distance: str = "linf"
    provable: bool = False


def worst_nearby(network: nn.Module, x: Tensor, labels: Tensor, epsilon: float, p: str, steps: int) -> Tensor:
    """Return images within `epsilon` (ℓ2 or ℓ∞) of `x` of large loss, by projected gradient ascent."""
    noise = torch.empty_like(x).uniform_(-1, 1)
    delta = _within(noise * epsilon / (1 if p == "linf" else x[0].numel() ** 0.5), x, epsilon, p)
    length = (1.25 if steps == 1 else 2.5 / steps) * epsilon
    for _ in range(steps):
        delta.requires_grad_()
        (slope,) = torch.autograd.grad(cross_entropy(network(x + delta), labels), delta)
        unit = slope.sign() if p == "linf" else slope / _length(slope)
        delta = _within(delta.detach() + length * unit, x, epsilon, p)
    return x + delta


def _within(delta: Tensor, x: Tensor, epsilon: float, p: str) -> Tensor:
    delta = delta.clamp(-epsilon, epsilon) if p == "linf" else delta * (epsilon / _length(delta)).clamp_max(1)
    return (x + delta).clamp(0, 1) - x


def _length(x: Tensor) -> Tensor:
    """ℓ2 norms of a batch, of shape (batch, 1, …)."""
    lengths = cast("Tensor", torch.linalg.vector_norm(x.flatten(1), dim=1))
    return lengths.clamp_min(1e-12).view(-1, *(1,) * (x.ndim - 1))


def plain(network: nn.Module, x: Tensor, labels: Tensor, _done: float) -> Tensor:
    return cross_entropy(network(x), labels)


def adversarial(epsilon: float, p: str, steps: int) -> Loss:
    """Return the loss at the worst points that a few steps find, within a radius that grows first."""

    def loss(network: nn.Module, x: Tensor, labels: Tensor, done: float) -> Tensor:
        return cross_entropy(network(worst_nearby(network, x, labels, _grown(epsilon, done), p, steps)), labels)

    return loss


def _grown(epsilon: float, done: float) -> float:
    return epsilon * min(1.0, 3 * done + 0.1)


def trades(epsilon: float, p: str, steps: int, weight: float) -> Loss:
    """Return the loss of TRADES (Zhang et al., ICML 2019), its worst points those of `adversarial`."""

    def loss(network: nn.Module, x: Tensor, labels: Tensor, done: float) -> Tensor:
        clean, worst = network(x), network(worst_nearby(network, x, labels, _grown(epsilon, done), p, steps))
        apart = kl_div(log_softmax(worst, 1), log_softmax(clean, 1), reduction="batchmean", log_target=True)
        return cross_entropy(clean, labels) + weight * apart

    return loss


def provable(epsilon: float) -> Loss:
    """Return the loss of interval bounds, which count more and reach further in the first half."""

    def loss(network: nn.Module, x: Tensor, labels: Tensor, done: float) -> Tensor:
        grown = min(1.0, 2 * done)
        return interval.loss(network, x, labels, epsilon * grown, 0.5 * grown)

    return loss


RECIPES = (
    Recipe("digits_mlp", models.mlp, "digits", 60, 2e-3, plain),
    Recipe("digits_l2_at", models.cnn, "digits", 60, 3e-3, adversarial(0.8, "l2", 5), 0.8, "l2"),
    Recipe("digits_linf_at", models.cnn, "digits", 60, 3e-3, adversarial(0.15, "linf", 5), 0.15),
    Recipe("digits_ibp", models.cnn, "digits", 120, 3e-3, provable(0.1), 0.1, provable=True),
    # from the weights of the demo model: one step an image is enough then
    Recipe(
        "demo_linf_at",
        lambda: minadv.models.load("demo").requires_grad_(True),
        "demo",
        3,
        1e-3,
        adversarial(4 / 255, "linf", 1),
        4 / 255,
    ),
    Recipe("unseen_l2_at", models.pooled, "mnist", 6, 3e-3, adversarial(1.5, "l2", 4), 1.5, "l2"),
    Recipe("unseen_linf_at", models.pooled, "mnist", 12, 2e-3, adversarial(0.3, "linf", 5), 0.3),
    Recipe("unseen_ibp", models.strided, "mnist", 30, 2e-3, provable(0.2), 0.2, provable=True),
    Recipe("unseen_trades", models.residual, "mnist", 6, 5e-3, trades(0.2, "linf", 3, 4.0), 0.2),
    Recipe("unseen_vit", models.Attending, "mnist", 12, 2e-3, plain),
    Recipe("large_std", models.large, "large", 20, 3e-3, plain),
    Recipe("large_l2_at", models.large, "large", 20, 3e-3, adversarial(1.5, "l2", 2), 1.5, "l2"),
)


def digits() -> tuple[Images, Images]:
    """Return scikit-learn's 8×8 digits as (images in [0, 1], labels): those to train with, those held out."""
    known = cast("Any", sklearn.datasets.load_digits())
    images = torch.from_numpy(known.images).float().unsqueeze(1) / 16
    labels = torch.from_numpy(known.target).long()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(SEED))
    train, test = order[HELD_OUT:], order[:HELD_OUT]
    return (images[train], labels[train]), (images[test], labels[test])


def photographs() -> tuple[Images, Images]:
    return minadv.data.load("demo:train").tensors(), minadv.data.load("demo").tensors()


def large() -> tuple[Images, Images]:
    return crops.tensors(48, training=True), crops.tensors(5, training=False)


def mnist() -> tuple[Images, Images]:
    """Return all but the first of MNIST's test images, to train with, and these.

    Raises:
        FileNotFoundError: where the shared data are not at hand.
    """
    images, labels = minadv.data.load(f"npz:{SHARED / suites.MNIST}").tensors()
    return (images[UNSEEN:], labels[UNSEEN:]), (images[:UNSEEN], labels[:UNSEEN])


DATA: dict[str, Callable[[], tuple[Images, Images]]] = {
    "digits": digits,
    "demo": photographs,
    "mnist": mnist,
    "large": large,
}


def fit(network: nn.Module, recipe: Recipe, images: Tensor, labels: Tensor) -> None:
    """Train in place with AdamW and one cycle of the learning rate."""
    generator = torch.Generator().manual_seed(SEED)
    total = recipe.epochs * (len(images) // BATCH)
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=total)
    network.train()
    for step, rows in enumerate(_batches(len(images), recipe.epochs, generator)):
        optimiser.zero_grad()
        recipe.loss(network, images[rows], labels[rows], step / total).backward()
        optimiser.step()
        schedule.step()
    network.eval().requires_grad_(False)


def _batches(count: int, epochs: int, generator: torch.Generator) -> Iterator[Tensor]:
    for _ in range(epochs):
        yield from torch.randperm(count, generator=generator)[: count // BATCH * BATCH].split(BATCH)


def judged(network: nn.Module, recipe: Recipe, test: Images) -> str:
    """Return accuracy on held-out images, and robust accuracy on the first of them."""
    images, labels = test
    clean = (network(images).argmax(1) == labels).float().mean().item()
    text = f"accuracy {100 * clean:.1f} %"
    if not recipe.epsilon:
        return text
    images, labels = images[:JUDGED], labels[:JUDGED]
    within = f"within {recipe.distance} {recipe.epsilon:.3g}"
    attack = APGD(distance=recipe.distance, radius=recipe.epsilon, steps=20)
    robust = 1 - attack(network, images, labels).success.float().mean().item()
    text += f", {100 * robust:.1f} % {within} (APGD, 20 steps)"
    if recipe.provable:
        text += f", {100 * interval.certified(network, images, labels, recipe.epsilon):.1f} % proven"
    return text


def weights(out: Path, recipe: Recipe) -> Path:
    """Return the file that a recipe's weights are written to."""
    return out / f"{recipe.name}.safetensors"


def made(out: Path, recipes: tuple[Recipe, ...] = RECIPES) -> Iterator[str]:
    """Train, write `out`/NAME.safetensors and, of `STORED` data, the held-out images; yield a line about each.

    Recipes whose images are not at hand are left out.
    """
    out.mkdir(parents=True, exist_ok=True)
    for recipe in recipes:
        started = time.perf_counter()
        try:
            train, test = DATA[recipe.data]()
        except FileNotFoundError as error:
            yield f"{recipe.name}: left out, {error}"
            continue
        if recipe.data in STORED:
            pixels = test[0].permute(0, 2, 3, 1)
            np.savez_compressed(out / f"{recipe.data}.npz", images=pixels.numpy(), labels=test[1].numpy())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            network = recipe.build()
            fit(network, recipe, *train)
        files.save(weights(out, recipe), network.state_dict())
        seconds = time.perf_counter() - started
        yield f"{recipe.name}: {judged(network, recipe, test)}, {seconds:.0f} s"

"""Can the answers be believed: small checks of ours and other packages, on the embedded demo.

    python -m benchmarks.trust [--out FILE]

Each package is called as its documentation has it. `make parity` installs the others; "–" stands where a package
has no such attack, or is not installed.
"""

import argparse
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor, nn

import minadv
from benchmarks.answers import (
    Answers,
    Attack,
    carlini_wagner,
    decoupled,
    elastic_net,
    fast_minimum_norm,
    lagrangian,
    predictions,
    wrong,
)
from benchmarks.peers import installed, there
from benchmarks.tables import Table, written
from benchmarks.targets import Attackable

PACKAGES = ("minadv", "adv-lib", "foolbox", "torchattacks")
SAMPLES, FEW = 64, 16
SAME = 1e-3  # relative difference of distances that is still one answer
ABSENT = "–"


def black(attack: Attack, model: nn.Module, x: Tensor, y: Tensor) -> str:
    """Count answers that are black images, and those of them that are called adversarial."""
    answers = attack(model, x, y)
    failed = dark(answers.images)
    return f"{int(failed.sum())} / {int((failed & answers.called).sum())}"


def dark(images: Tensor) -> Tensor:
    return (images == 0).flatten(1).all(dim=1)


def company(attack: Attack, model: nn.Module, x: Tensor, y: Tensor) -> str:
    """Count samples whose answer is another one when they are attacked alone."""
    x, y = x[:FEW], y[:FEW]
    together = distances(attack(model, x, y), x)
    alone = torch.cat([distances(attack(model, x[i : i + 1], y[i : i + 1]), x[i : i + 1]) for i in range(FEW)])
    same = (together == alone) | ((together - alone).abs() <= SAME * alone)
    return str(int((~same).sum()))


def found_from_extremes(attack: Attack, model: nn.Module, x: Tensor, _: Tensor) -> str:
    """Count answers, but black images, for inputs of which every entry is 0 or 1."""
    x = x[:FEW].round()
    answers = attack(model, x, predictions(model, x))
    return str(int((answers.called & ~dark(answers.images)).sum()))


def on_the_boundary(attack: Attack, model: nn.Module, x: Tensor, y: Tensor) -> str:
    """Return the least number of logits beyond the boundary, and how many answers are so in bfloat16."""
    answers = attack(model, x, y)
    images, labels = answers.images[answers.called], y[answers.called]
    with torch.no_grad():
        logits = model(images)
    label = logits.gather(1, labels[:, None]).squeeze(1)
    best = logits.scatter(1, labels[:, None], -torch.inf).amax(dim=1)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        coarse = model(images).argmax(dim=1) != labels
    return f"{(best - label).min():.1g}, {int(coarse.sum())} of {len(images)}"


def stored(attack: Attack, model: nn.Module, x: Tensor, y: Tensor) -> str:
    """Count the answers that are still adversarial after they were rounded to 8 bits."""
    answers = attack(model, x, y)
    rounded = (answers.images.clamp(0, 1) * 255).round() / 255
    return f"{int((answers.called & wrong(model, rounded, y)).sum())} of {int(answers.called.sum())}"


def left_behind(attack: Attack, model: nn.Module, x: Tensor, y: Tensor) -> str:
    """Name what an attack changes: gradients of parameters, modes of layers, PyTorch's random state."""
    modes, state = [part.training for part in model.modules()], torch.get_rng_state()
    attack(model, x[:FEW], y[:FEW])
    changes = {
        "gradients": any(p.grad is not None for p in model.parameters()),
        "modes": modes != [part.training for part in model.modules()],
        "random state": not torch.equal(state, torch.get_rng_state()),
    }
    return ", ".join(name for name, changed in changes.items() if changed) or "nothing"


def message(attack: Attack, model: nn.Module, x: Tensor, y: Tensor) -> str:
    """Return what an attack says, or that it says nothing."""
    try:
        attack(model, x[:FEW], y[:FEW])
    except Exception as error:
        return f"{type(error).__name__}: {str(error) or '(no text)'}"
    return "no error"


def distances(answers: Answers, x: Tensor) -> Tensor:
    return minadv.distances.get("l2")(answers.images.double(), x.double()).where(answers.called, torch.inf)


def as_it_is(model: nn.Module, x: Tensor, y: Tensor) -> Attackable:
    return model, x, y


@dataclass(frozen=True)
class Check:
    """A question, the attack that each package is asked with, and how its answers are looked at."""

    question: str
    attacks: dict[str, Attack]
    look: Callable[[Attack, nn.Module, Tensor, Tensor], str]
    prepare: Callable[[nn.Module, Tensor, Tensor], Attackable] = as_it_is

    def row(self, model: nn.Module, x: Tensor, y: Tensor) -> tuple[str, ...]:
        return (self.question, *(self._cell(package, model, x, y) for package in PACKAGES))

    def _cell(self, package: str, model: nn.Module, x: Tensor, y: Tensor) -> str:
        if package not in self.attacks or not there(package):
            return ABSENT
        torch.manual_seed(0)
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            return self.look(self.attacks[package], *self.prepare(model, x.clone(), y.clone()))


def checks() -> Iterator[Check]:
    """Yield the questions, those first whose answers make a number wrong."""
    few = carlini_wagner(3, 20)
    yield Check("C&W of 3 × 20: black images / of these, called adversarial", few, black)
    yield Check("EAD of 3 × 20: the same", elastic_net(3, 20), black)
    alone = f"C&W of 5 × 40: of {FEW}, whose answer depends on the batch"
    yield Check(alone, carlini_wagner(5, 40), company)
    yield Check("EAD of 5 × 40: the same", elastic_net(5, 40), company)
    yield Check("DDN of 100: the same", decoupled(100, None), company)
    extremes = f"C&W of 5 × 200 on images of 0 and 1 alone: found of {FEW}"
    yield Check(extremes, carlini_wagner(5, 200), found_from_extremes)
    margins = "FMN ℓ2 of 100: least margin of an answer, still adversarial in bfloat16"
    yield Check(margins, fast_minimum_norm(100), on_the_boundary)
    yield Check("DDN of 100: the same", decoupled(100, None), on_the_boundary)
    yield Check("DDN of 100, rounded to 8 bits: still adversarial", decoupled(100, None), stored)
    yield Check("DDN of 100 with 256 levels: the same", decoupled(100, 256), stored)
    yield Check("C&W leaves behind, on a model in training with a frozen layer", few, left_behind, partly_frozen)
    yield Check("C&W on images from 0 to 255", few, message, out_of_range)
    yield Check("ALMA on images from 0 to 255", lagrangian(20), message, out_of_range)
    yield Check("ALMA on a model of two classes", lagrangian(20), message, two_classes)
    yield Check("C&W of 1 × 5", carlini_wagner(1, 5), message)


def out_of_range(model: nn.Module, x: Tensor, y: Tensor) -> Attackable:
    return model, 255 * x, y


def partly_frozen(model: nn.Module, x: Tensor, y: Tensor) -> Attackable:
    """Return a model in training, with a layer of batch normalisation that is not."""
    norm = nn.BatchNorm1d(10)
    model = nn.Sequential(model, norm).train()
    norm.eval()
    return model, x, y


def two_classes(model: nn.Module, x: Tensor, _: Tensor) -> Attackable:
    """Return a model that tells the first five classes from the others."""
    halves = nn.Linear(10, 2, bias=False)
    halves.weight.data = torch.eye(2).repeat_interleave(5, dim=1)
    model = nn.Sequential(model, halves.requires_grad_(False)).eval()
    return model, x, predictions(model, x)


def table(model: nn.Module, x: Tensor, y: Tensor) -> Iterator[Table]:
    """Yield the table after every row."""
    rows: list[tuple[str, ...]] = []
    columns = ("", *(installed(package) for package in PACKAGES))
    note = f"First {SAMPLES} correctly classified images of the demo, its model."
    for check in checks():
        rows.append(check.row(model, x, y))
        yield Table("Can the answers be believed?", columns, tuple(rows), note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="Markdown file to write the table to, row by row")
    arguments = parser.parse_args()
    model = minadv.models.load("demo")
    x, y = minadv.data.load("demo").tensors()
    right = ~wrong(model, x, y)
    results = list[Table]()
    for result in written(table(model, x[right][:SAMPLES], y[right][:SAMPLES]), arguments.out):
        print(result.rows[-1], flush=True)
        results.append(result)
    Console(width=200).print(results[-1].rich())


if __name__ == "__main__":
    main()

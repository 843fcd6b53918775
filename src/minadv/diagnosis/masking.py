"""Gradient masking, by experiment: attacks with and without this model's gradients, on the same samples."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from minadv.attacks.alma import ALMA
from minadv.diagnosis.comparisons import beaten_findings, more_steps_findings, soft_findings
from minadv.diagnosis.decisions import Decisions
from minadv.diagnosis.finding import Finding
from minadv.diagnosis.gradients import gradient_of
from minadv.diagnosis.random_search import random_search
from minadv.diagnosis.subject import Subject, examined
from minadv.goals import constraint_for
from minadv.guard import Model
from minadv.models.softened import Softened
from minadv.probe import Step
from minadv.result import Result
from minadv.verification import Settings

MORE = 10
QUERIES = 300
# minimal adversarials of another model seldom transfer as they are: up to 2³ times as far along the same line
DOUBLINGS = 3
DISTANCE = "l2"


@dataclass(frozen=True, eq=False)
class Distances:
    """ℓ2 distances of the attacked samples by each search: inf where it found nothing, NaN where it failed.

    Attributes:
        samples: numbers of the attacked samples, those classified correctly.
        steps: of the white-box attack; `many` has `MORE` times as many.
        few, many: ALMA with these steps.
        random: the random search.
        soft: ALMA with `steps`, its backward passes through soft gates (`Softened`).
        transfer: by the name of the other model.
    """

    samples: tuple[int, ...]
    steps: int
    few: Float[Tensor, " samples"]
    many: Float[Tensor, " samples"]
    random: Float[Tensor, " samples"]
    soft: Float[Tensor, " samples"]
    transfer: Mapping[str, Float[Tensor, " samples"]] = field(default_factory=dict[str, Tensor])

    @property
    def white_box(self) -> Float[Tensor, " samples"]:
        """Smaller distance of few and many steps."""
        return torch.fmin(self.few, self.many)


def white_box(samples: Subject, steps: int, seed: int, on: Callable[[float], None]) -> Tensor:
    """Distances of ALMA; all inf for a model without gradients, which the check of gradients reports."""
    if isinstance(gradient_of(samples, samples.goal.margin), str):
        return torch.full_like(samples.clean[:, 0], torch.inf)
    return _attack(samples, steps, seed, on).distances


def through_soft_gates(samples: Subject, steps: int, seed: int, on: Callable[[float], None]) -> Tensor:
    """Distances of ALMA whose backward passes go through soft gates."""
    return white_box(replace(samples, logits=Softened(samples.logits)), steps, seed, on)


def without_gradients(samples: Subject, pool: Tensor, seed: int) -> Tensor:
    """Distances of the random search, started from `pool`."""
    inputs, labels = samples.inputs, samples.labels
    return random_search(samples.logits, inputs, labels, pool=pool, queries=QUERIES, seed=seed).distances


def transferred(samples: Subject, other: Model, steps: int, seed: int, on: Callable[[float], None]) -> Tensor:
    """Distances, on this model, of another model's adversarials moved along the line from the originals.

    Raises:
        ValueError: when the other model has another number of classes, or is of no use for these inputs.
    """
    with examined(other, samples.inputs, samples.labels, samples.name) as theirs:
        classes, needed = theirs.clean.shape[1], samples.clean.shape[1]
        if classes != needed:
            raise ValueError(f"the other model has {classes} classes, this one {needed}: they must be the same")
        ends = _attack(theirs, steps, seed, on).adversarials
    decisions = Decisions(samples.logits, samples.inputs, samples.goal, Settings(seed=seed))
    answers, found = decisions.along(ends, doublings=DOUBLINGS)
    return decisions.result(answers, found, samples.clean).distances


def _attack(samples: Subject, steps: int, seed: int, on: Callable[[float], None]) -> Result:
    constraint = constraint_for(samples.goal, samples.clean.shape[1])
    # by the model's own gradients, which are what is examined
    attack = ALMA(distance=DISTANCE, steps=steps, seed=seed, constraint=constraint, soft_gates=False)

    def on_step(step: Step) -> None:
        on(step.index / step.steps)

    return attack(samples.logits, samples.inputs, samples.labels, on_step=on_step)


def random_search_findings(name: str, distances: Distances) -> tuple[Finding, ...]:
    """Random search beats the white-box attack."""
    return beaten_findings(
        "random search",
        name,
        (_best(distances), distances.white_box),
        (f"a random search of {QUERIES} queries without gradients", distances.random),
        "Do not believe white-box distances of this model; look at the findings about gradients, attack through a "
        "differentiable stand-in, try other losses and step sizes, and report the best of gradient-free and "
        "gradient attacks per sample.",
    )


def steps_findings(name: str, distances: Distances) -> tuple[Finding, ...]:
    """More steps make it worse."""
    few, many = (f"ALMA {DISTANCE} {steps}" for steps in (distances.steps, MORE * distances.steps))
    return more_steps_findings(name, (few, distances.few), (many, distances.many))


def soft_gates_findings(name: str, distances: Distances) -> tuple[Finding, ...]:
    """Soft gates beat the white-box attack."""
    return soft_findings(
        name,
        (_best(distances), distances.white_box),
        (f"ALMA {DISTANCE} with {distances.steps} steps, its backward passes through soft gates,", distances.soft),
        "Attack with Auto or ALMA, which go through soft gates by themselves where gradients are masked, or any "
        "other attack on minadv.models.Softened(model) (docs/recipes.md); do not believe other distances.",
    )


def transfer_findings(name: str, other: str, distances: Distances) -> tuple[Finding, ...]:
    """Adversarials of another model beat the white-box attack."""
    return beaten_findings(
        "transfer",
        name,
        (_best(distances), distances.white_box),
        (f"a perturbation made on {other}, scaled along its line,", distances.transfer[other]),
        "Do not believe white-box distances of this model; attack it through the other model as a stand-in, and "
        "report the best per sample.",
    )


def _best(distances: Distances) -> str:
    return f"ALMA {DISTANCE} (the better of {distances.steps} and {MORE * distances.steps} steps)"

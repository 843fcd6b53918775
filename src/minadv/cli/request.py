"""What the words of `minadv attack` stand for: the attack, the model, and which samples."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import JsonValue
from torch import Tensor, nn

import minadv
from minadv import hyper_parameters
from minadv.attacks.base import Attack
from minadv.bench import places
from minadv.cli.own_code import own_code
from minadv.data.dataset import class_number, tell_of_one_class
from minadv.report import pictures
from minadv.validation import usable_device
from minadv.verification import Precision


@dataclass(frozen=True)
class Request:
    """The words of one `minadv attack`."""

    model: str
    data: str
    samples: int | None
    target: str | None
    attack: str
    distance: str
    options: Mapping[str, int | float | None]
    assignments: tuple[str, ...]
    paper: bool
    files: tuple[Path, ...]
    out: Path
    overwrite: bool
    png: bool
    trace: bool
    quiet: bool
    batch_size: int | None
    device: str
    threads: int | None
    precision: Precision | None
    channels_last: bool


@dataclass(frozen=True, eq=False)
class Work:
    """What the words of a request stand for.

    Attributes:
        target: class to reach, None when untargeted.
        samples: numbers of the samples to attack.
        left_out: how many of the target class are not among them.
        originals: (samples, ...).
        labels: (samples,).
    """

    request: Request
    device: torch.device
    attack: Attack
    classes: tuple[str, ...]
    target: int | None
    samples: list[int]
    left_out: int
    originals: Tensor
    labels: Tensor
    model: nn.Module


def understood(request: Request) -> Work:
    """Build the attack, load data and model, and choose the samples."""
    device = usable_device(request.device, "--device {}")
    distance = hyper_parameters.distance_for(request.distance, request.model)
    with own_code(request.model, distance):
        attack = hyper_parameters.build_attack(
            request.attack, distance, request.options, request.assignments, request.paper
        )
    if request.target is not None:
        attack.check_targeted()
    data = minadv.data.load(places.data_spec(request.data, request.files))
    target = None if request.target is None else class_number(request.target, data.classes)
    samples, left_out = choose(data.labels, request.samples, target)
    if target is None:
        tell_of_one_class(data, samples)
    originals, labels = data.batch(samples)
    if request.png:
        pictures.check(originals)
    spec = places.model_spec(request.model, request.files)
    with own_code(request.model):
        model = minadv.models.load(spec, device=device, files=request.files)
    return Work(request, device, attack, data.classes, target, samples, left_out, originals, labels, model)


def choose(labels: Tensor, limit: int | None, target: int | None) -> tuple[list[int], int]:
    """Return the numbers of the samples to attack, and how many of the target class were left out."""
    if not len(labels):
        raise ValueError("there is nothing to attack: the data hold no samples")
    kept = torch.ones_like(labels, dtype=torch.bool) if target is None else labels != target
    numbers = [int(number) for number in torch.nonzero(kept).flatten()[:limit]]
    if not numbers:
        raise ValueError(f"there is nothing to attack: all {len(labels)} samples are of the target class {target}")
    return numbers, numbers[-1] + 1 - len(numbers)


def passes(request: Request) -> dict[str, JsonValue]:
    """Return how the model was searched, where it was asked for: part of a run's settings."""
    asked: dict[str, JsonValue] = {"precision": request.precision, "channels_last": request.channels_last}
    return {name: value for name, value in asked.items() if value}

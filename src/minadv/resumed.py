"""What an earlier evaluation found, held against the one that goes on from it: one pass over its images."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from minadv.attacks.base import Attack
from minadv.distances import Distance, resolve
from minadv.errors import listed
from minadv.goals import Goal, Targeted, Untargeted
from minadv.guard import Model, alike, by_batch, guarded
from minadv.logit_scale import deciding_or_usual, differ
from minadv.memory import or_none
from minadv.result import Result, Status
from minadv.samples import Dataset, Pair, take
from minadv.verification import ROUNDING_SLACK, Settings, classify, measured

ROWS_AT_ONCE = 64
# Devices and batches round differently, by less than this share of a distance or of the logits that decide.
ROUNDING = 1e-3


def check_attack(finished: Result, attack: Attack, total: int, trace: bool) -> None:
    """Raise ValueError where results cannot be of the first of `total` samples, of `attack`, or lack a trace."""
    if len(finished) > total:
        raise ValueError(f"finished must be of the first of {total} samples, got {len(finished)}")
    if trace and finished.trace is None:
        raise ValueError(
            "finished must have a trace, as trace=True asks for that of every sample, got none: leave trace out, "
            "or attack these samples again"
        )
    given, needed = (finished.distance, finished.confidence), (resolve(attack.distance).name, attack.confidence)
    if given != needed:
        raise ValueError(
            "finished must be of the same attack, which minimises {} with confidence={}, got {} with "
            "confidence={}: attack these samples again".format(*needed, *given)
        )


def check_samples(
    finished: Result,
    model: Model,
    data: Dataset | Pair,
    targets: Tensor | None,
    distance: Distance,
    device: torch.device,
    batch_size: int,
) -> None:
    """Check that results are of the first of these samples, of this model and of these classes to reach.

    Args:
        finished: the results, on the CPU.
        model: on `device`.
        data: the samples.
        targets: (samples,) classes to reach; None untargeted.
        distance: what was minimised.
        device: where to compute.
        batch_size: most samples on it; fewer when memory runs out.

    Raises:
        ValueError: where an answer is not as far from its original, or as many logits beyond the boundary, as it
            was. A model whose logits change by themselves is not held to them.
        MemoryError: when memory does not even suffice for one sample.
    """
    start, size = 0, min(batch_size, ROWS_AT_ONCE)
    while start < len(finished):
        numbers = range(start, min(start + size, len(finished)))
        done = or_none(partial(_check, finished, model, data, targets, distance, device, numbers, size))
        if done is None and size == 1:
            raise MemoryError(f"not enough memory on {device} to look at even one sample at a time")
        if done is None:
            size //= 2
        else:
            start = done


def _check(
    finished: Result,
    model: Model,
    data: Dataset | Pair,
    targets: Tensor | None,
    distance: Distance,
    device: torch.device,
    numbers: range,
    size: int,
) -> int:
    """Check some samples, `size` at a time; return the number of the next."""
    inputs, labels = take(data, numbers)
    rows = slice(numbers.start, numbers.stop)
    answers = finished.adversarials[rows]
    if answers.shape != inputs.shape:
        shapes = f"shape {tuple(inputs.shape[1:])}, got {tuple(answers.shape[1:])}"
        raise ValueError(f"finished must be of these samples, of {shapes}: attack these samples again")
    inputs, answers = inputs.to(device), answers.to(device)
    found = torch.tensor([status == Status.FOUND for status in finished.status[rows]], device=device)
    away = _away(distance, answers, inputs, found)
    told = finished.distances[rows].to(away).where(found, 0.0)
    _refuse(numbers, ~torch.isclose(away, told, rtol=ROUNDING), "they are not as far from these images")
    goal: Goal = Untargeted(labels.to(device)) if targets is None else Targeted(targets[rows].to(device))
    # fewer rows at a time may be all that fit, and are not filled up
    moved = _moved(model, answers, goal, finished.margins[rows].to(device), filled=size == ROWS_AT_ONCE)
    _refuse(numbers, moved, "their logits are others, or their labels or targets")
    return numbers.stop


def _away(distance: Distance, answers: Tensor, inputs: Tensor, found: Tensor) -> Tensor:
    """(batch,) distances of what was found; the rest are originals and at 0, or else infinitely far."""
    away = inputs.new_zeros(len(inputs)).masked_fill((answers != inputs).flatten(1).any(dim=1), torch.inf)
    if found.any():
        away[found] = measured(distance, answers[found], inputs[found]).to(away.dtype)
    return away


def _moved(model: Model, answers: Tensor, goal: Goal, margins: Tensor, filled: bool) -> Tensor:
    """(batch,) which answers have margins that differ from the given ones by more than rounding."""
    settings = Settings(fill_up=filled and not by_batch(model))
    with guarded(model, answers) as looked_at:
        look = alike(looked_at)
        logits = classify(look, answers, settings)
        now = goal.margin(logits)
        slack = ROUNDING_SLACK + ROUNDING * deciding_or_usual(logits, now)
        moved = (now - margins).abs() > slack
        rows = torch.nonzero(moved).flatten()
        if len(rows):
            # what is random, or depends on its batch, differs here, too
            again = classify(look, answers[rows], settings)
            moved[rows] = ~differ(logits[rows], again, ROUNDING, slack[rows])
    return moved


def _refuse(numbers: Sequence[int], bad: Tensor, why: str) -> None:
    if bad.any():
        samples = [numbers[int(row)] for row in torch.nonzero(bad).flatten()]
        raise ValueError(
            f"finished must be of these samples and this model, got others for {len(samples)} of samples "
            f"{numbers[0]} to {numbers[-1]} ({listed(samples)}), as {why}: attack these samples again"
        )

"""All checks of a model, in order: `diagnose` with experiments, `static_findings` without."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor

from minadv.attacks.base import require, whole
from minadv.diagnosis import masking
from minadv.diagnosis.accuracy import accuracy
from minadv.diagnosis.attempts import Ran, attempt
from minadv.diagnosis.finding import Finding
from minadv.diagnosis.gradients import gradients
from minadv.diagnosis.masking import Distances
from minadv.diagnosis.outputs import probabilities, saturation, scale
from minadv.diagnosis.repeatability import batch_dependence, randomness
from minadv.diagnosis.subject import Subject, examined
from minadv.diagnosis.training import training_mode
from minadv.guard import Model
from minadv.validation import check_classes, check_inputs

Progress = Callable[[str, float], None]

# in the order in which they are run and shown; training mode comes before them, on the model as it is
STATIC: Mapping[str, Callable[[Subject], tuple[Finding, ...]]] = {
    "accuracy": accuracy,
    "probabilities": probabilities,
    "scale": scale,
    "randomness": randomness,
    "batch dependence": batch_dependence,
    "gradients": gradients,
    "saturation": saturation,
}


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What was looked at, and what was found.

    Attributes:
        model: what findings call it.
        samples: how many samples were looked at.
        correct: how many of them are classified correctly; attacks start from those.
        checks: what ran, in order, with what each found.
        distances: of the experiments; None when there were none.
    """

    model: str
    samples: int
    correct: int
    checks: tuple[Ran, ...]
    distances: Distances | None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What all checks found."""
        return tuple(finding for check in self.checks for finding in check.findings)

    @property
    def problems(self) -> tuple[Finding, ...]:
        """Findings by which results can be wrong."""
        return tuple(finding for finding in self.findings if finding.severity == "problem")


def diagnose(
    model: Model,
    inputs: Tensor,
    labels: Tensor,
    *,
    name: str = "model",
    transfer: Mapping[str, Model] | Sequence[Model] = (),
    steps: int = 100,
    seed: int = 0,
    attack: bool = True,
    progress: Progress | None = None,
) -> Diagnosis:
    """Look for what makes robustness results of a model doubtful.

    Args:
        model: from inputs in [0, 1] to logits; it is left as it was.
        inputs: (batch, ...) floating point in [0, 1]; 32 samples are enough for most purposes.
        labels: (batch,) int64 true classes.
        name: what findings call the model.
        transfer: other models for the same classes, by name or numbered, whose adversarials are tried on this one.
        steps: of the white-box attack, which also runs with 10 times as many.
        seed: of every random number.
        attack: whether to look for gradient masking by experiment, which costs about 12·steps + 300 forwards and
            12·steps backwards per sample.
        progress: called with what is being done and which share of it, in [0, 1], is done.

    Raises:
        TypeError, ValueError: for bad inputs or labels, or outputs that no attack could work with.
        Exception: what the model raises for the clean inputs; what it raises later is a finding.
    """
    require("steps", steps, whole(steps) and steps >= 1, "a whole number ≥ 1")
    require("seed", seed, whole(seed), "a whole number")
    several = not isinstance(transfer, torch.nn.Module | str)  # whose parts would be taken for models
    require("transfer", cast("object", transfer), several, "other models, by name or in a list, e.g. [model]")
    say = progress or _silent
    training = _ran("training mode", name, partial(training_mode, model, name))
    with examined(model, inputs, labels, name) as subject:
        say("checks", 0.0)
        checks = [training, *(_ran(check, name, partial(run, subject)) for check, run in STATIC.items())]
        distances = None
        if attack:
            others = transfer if isinstance(transfer, Mapping) else _numbered(transfer)
            experiments, distances = _experiments(subject, others, steps, seed, say)
            checks.extend(experiments)
        return Diagnosis(name, len(subject), int(subject.correct.sum()), tuple(checks), distances)


def diagnose_or_finding(
    load: Callable[[], Model],
    inputs: Tensor,
    labels: Tensor,
    *,
    name: str,
    transfer: Mapping[str, Model],
    progress: Progress | None = None,
    attack: bool = True,
) -> tuple[Ran, ...]:
    """Load and diagnose a model; one that raises for the clean inputs is a finding, so that a benchmark goes on.

    Args:
        load: returns the model.
        inputs: as for `diagnose`, and so are the others.
        labels: likewise.
        name: likewise.
        transfer: likewise.
        progress: likewise.
        attack: likewise.
    """
    done = attempt(
        "forward",
        name,
        lambda: diagnose(load(), inputs, labels, name=name, transfer=transfer, progress=progress, attack=attack),
    )
    return (done,) if isinstance(done, Ran) else done.checks


def static_findings(model: Model, inputs: Tensor, labels: Tensor, name: str) -> tuple[Finding, ...]:
    """Run the checks that need no attack: a few passes of each sample, some with gradients.

    A model that raises, or returns no logits, is a finding, so that a benchmark goes on.

    Raises:
        TypeError, ValueError: for inputs or labels of a wrong type, shape or range.
    """
    check_classes("labels", labels, check_inputs(inputs))
    ran = diagnose_or_finding(lambda: model, inputs, labels, name=name, transfer={}, attack=False)
    return tuple(finding for check in ran for finding in check.findings)


def _experiments(
    subject: Subject, others: Mapping[str, Model], steps: int, seed: int, say: Progress
) -> tuple[tuple[Ran, ...], Distances | None]:
    """Attack the correctly classified samples in every way, then compare."""
    name = subject.name
    rows = torch.nonzero(subject.correct).flatten()
    if not len(rows):
        return (), None  # the accuracy says so
    samples = subject.select(rows)
    failed: list[Ran] = []

    def measure(check: str, what: str, run: Callable[[Callable[[float], None]], Tensor]) -> Tensor:
        say(what, 0.0)
        found = attempt(check, name, lambda: run(partial(say, what)))
        if isinstance(found, Ran):
            failed.append(found)
            return torch.full_like(samples.clean[:, 0], torch.nan)
        return found

    def white_box(factor: int) -> Tensor:
        count = factor * steps
        return measure(
            "more steps", f"ALMA, {count} steps", lambda on: masking.white_box(samples, count, seed, on)
        )

    few, many = white_box(1), white_box(masking.MORE)
    distances = Distances(
        samples=tuple(int(number) for number in samples.numbers),
        steps=steps,
        few=few,
        many=many,
        random=measure(
            "random search",
            "random search",
            lambda _on: masking.without_gradients(samples, subject.inputs[subject.finite], seed),
        ),
        soft=measure(
            "soft gates",
            "soft gates",
            lambda on: masking.through_soft_gates(samples, steps, seed, on),
        ),
        transfer={
            other: measure(
                f"transfer from {other}",
                f"transfer from {other}",
                lambda on, model=model: masking.transferred(samples, model, steps, seed, on),
            )
            for other, model in others.items()
        },
    )
    compared: dict[str, Callable[[], tuple[Finding, ...]]] = {
        "random search": partial(masking.random_search_findings, name, distances),
        "more steps": partial(masking.steps_findings, name, distances),
        "soft gates": partial(masking.soft_gates_findings, name, distances),
        **{
            f"transfer from {other}": partial(masking.transfer_findings, name, other, distances)
            for other in others
        },
    }
    without = {ran.check for ran in failed}
    ran = (_ran(check, name, run) for check, run in compared.items() if check not in without)
    return (*failed, *ran), distances


def _ran(check: str, model: str, function: Callable[[], tuple[Finding, ...]]) -> Ran:
    found = attempt(check, model, function)
    return found if isinstance(found, Ran) else Ran(check, found)


def _numbered(models: Sequence[Model]) -> dict[str, Model]:
    return {f"model {number}": model for number, model in enumerate(models, 1)}


def _silent(_what: str, _share: float) -> None:
    pass

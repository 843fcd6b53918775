"""The shortest way to an answer: Auto, in one call."""

from collections.abc import Callable
from dataclasses import fields
from inspect import signature
from typing import Any

from torch import Tensor

from minadv.attacks.auto import Auto
from minadv.distances import Distance
from minadv.errors import unknown
from minadv.guard import Model
from minadv.result import Result


def minimise(
    model: Model,
    inputs: Tensor,
    labels: Tensor,
    distance: str | Distance | Callable[..., Tensor] = "l2",
    budget: int = 1000,
    *,
    targets: Tensor | None = None,
    **options: Any,
) -> Result:
    """Find the smallest perturbations of a batch that a budget buys.

    Args:
        model: from inputs (batch, ...) in [0, 1] to logits (batch, classes), in evaluation mode.
        inputs: (batch, ...) floating point in [0, 1].
        labels: (batch,) int64 true classes.
        distance: what to minimise: a name, a Distance, or a differentiable function `(x, x0) -> (batch,)`.
        budget: most forwards, and most backwards, of the model per sample.
        targets: (batch,) int64 classes to reach; None for any class but the label.
        **options: other hyper-parameters of `Auto`, e.g. seed, levels or confidence, and options of a call, e.g.
            trace, on_step or precision (`Attack.__call__`).

    Raises:
        TypeError, ValueError: for bad input; the message names the argument, its value and the remedy.
    """
    calls = list(signature(Auto.__call__).parameters)[4:]  # but the attack, the model, inputs and labels
    known = [*(field.name for field in fields(Auto)), *calls]
    for option in options:
        if option not in known:
            raise unknown("option of minimise", option, known)
    attack = Auto(distance=distance, budget=budget, **{k: v for k, v in options.items() if k not in calls})
    return attack(model, inputs, labels, targets=targets, **{k: v for k, v in options.items() if k in calls})

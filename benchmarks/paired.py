"""Seconds of an attack's step over those of a bare forward and backward pass of the same model and batch.

They are measured in two ways. Over bare passes by themselves, in a process that has done nothing else before the
attack: what a step costs beside the user's own loop. And in turns, as the machine is noisy: a bare pass runs at
every forward of the attack, right before it, and a step, from one forward to the next, is compared with the two
around it; these share the attack's heap, where passes can be faster. Peers are measured in the same ways, as
nothing but the model is touched.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.cases import Case

Run = Callable[[nn.Module, Tensor, Tensor], object]
Bare = Callable[[Tensor], object]
Clock = Callable[[], float]

# the first step chooses step sizes, the last forward is the verification's
SKIPPED = 1
# bare passes by themselves, of which the first ones prepare what is kept
ALONE, PREPARING = 10, 2


class Paired(nn.Module):
    """A model that runs a bare pass before every forward, and knows how long that and the steps between took."""

    def __init__(self, model: nn.Module, bare: Bare, clock: Clock = time.perf_counter) -> None:
        super().__init__()
        self.model, self.bare, self.clock = model, bare, clock
        self.train(model.training)
        self.visits: list[tuple[float, float]] = []  # when an attack came, and when the bare pass was over

    def forward(self, x: Tensor) -> Any:
        came = self.clock()
        self.bare(x)
        self.visits.append((came, self.clock()))
        return self.model(x)

    @property
    def steps(self) -> list[float]:
        """Seconds of all steps, without the bare passes."""
        return [came - began for (_, began), (came, _) in pairwise(self.visits)]

    @property
    def ratios(self) -> list[float]:
        """Of all steps, each over the mean of the bare passes before and after it."""
        return [
            2 * step / ((began - came) + (next_began - next_came))
            for step, ((came, began), (next_came, next_began)) in zip(
                self.steps, pairwise(self.visits), strict=True
            )
        ]


def differentiated(function: Callable[[Tensor], Sequence[Tensor]], x: Tensor) -> None:
    """One forward and one backward, to a leaf of its own."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        outputs = function(leaf)
        torch.autograd.grad(outputs, leaf, grad_outputs=[torch.ones_like(output) for output in outputs])


def bare_pass(model: nn.Module, x: Tensor) -> None:
    differentiated(lambda leaf: (model(leaf),), x)


@dataclass(frozen=True)
class Ratios:
    """A step over bare passes by themselves, and over those in turns with it."""

    alone: float
    in_turns: float


def ratios(warm_up: Run, run: Run, case: Case, bare: Bare, clock: Clock = time.perf_counter) -> Ratios:
    """Medians over the steps of two runs, without the first step and the last; in a process of its own."""
    times = [clock()]
    for _ in range(ALONE):
        bare(case.inputs)
        times.append(clock())
    alone = median(after - before for before, after in pairwise(times[PREPARING:]))
    warm_up(case.model, case.inputs, case.labels)
    timed = Paired(case.model, lambda _: None, clock)
    run(timed, case.inputs, case.labels)
    return Ratios(median(timed.steps[SKIPPED:-1]) / alone, ratio(run, case, bare, clock))


def ratio(run: Run, case: Case, bare: Bare, clock: Clock = time.perf_counter) -> float:
    """Median over the steps of one run, without the first one and the last."""
    paired = Paired(case.model, bare, clock)
    run(paired, case.inputs, case.labels)
    return median(paired.ratios[SKIPPED:-1])

"""Seconds of an attack's step over those of a bare forward and backward pass of the same model and batch.

The machine is noisy, so they are measured in pairs: a bare pass runs at every forward of the attack, right before
it, and a step, from one forward to the next, is compared with the two bare passes around it. Peers are measured in
the same way, as nothing but the model is touched.
"""

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.cases import Case

Run = Callable[[nn.Module, Tensor, Tensor], object]
Bare = Callable[[Tensor], object]

# the first step chooses step sizes, the last forward is the verification's
SKIPPED = 1


class Paired(nn.Module):
    """A model that runs a bare pass before every forward, and knows how long that and the steps between took."""

    def __init__(self, model: nn.Module, bare: Bare, clock: Callable[[], float] = time.perf_counter) -> None:
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
    def ratios(self) -> list[float]:
        """Of all steps, each over the mean of the bare passes before and after it."""
        return [
            2 * (next_came - began) / ((began - came) + (next_began - next_came))
            for (came, began), (next_came, next_began) in pairwise(self.visits)
        ]


def differentiated(function: Callable[[Tensor], Sequence[Tensor]], x: Tensor) -> None:
    """One forward and one backward, to a leaf of its own."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        outputs = function(leaf)
        torch.autograd.grad(outputs, leaf, grad_outputs=[torch.ones_like(output) for output in outputs])


def bare_pass(model: nn.Module, x: Tensor) -> None:
    differentiated(lambda leaf: (model(leaf),), x)


def ratio(run: Run, case: Case, bare: Bare, clock: Callable[[], float] = time.perf_counter) -> float:
    """Median over the steps of one run, without the first one and the last."""
    paired = Paired(case.model, bare, clock)
    run(paired, case.inputs, case.labels)
    return median(paired.ratios[SKIPPED:-1])

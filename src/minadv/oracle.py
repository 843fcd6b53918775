"""The only door from an attack to the model.

The oracle counts forwards and backwards per sample, checks every candidate that it sees against the goal and
the box, keeps the best adversarial of each sample, ends the search when a budget is spent, and verifies what
it returns by a separate forward pass.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from minadv import random
from minadv.distances import Anchored, Distance, anchor
from minadv.distances.base import per_sample
from minadv.goals import Goal
from minadv.result import Result, Trace
from minadv.validation import check_logits, check_range
from minadv.verification import Outcome, Settings, quantise, verify


class BudgetSpentError(Exception):
    """Raised inside a search when the next propagation would exceed the budget; `Attack` catches it."""


@dataclass(frozen=True)
class Step:
    """Progress of a search, for callbacks. The tensors live on the device: reading them costs a transfer."""

    index: int
    steps: int
    distances: Tensor


@dataclass(frozen=True, eq=False)
class Probe:
    """One forward pass of the attacked samples at `x`.

    Attributes:
        logits: (batch, classes), part of the graph that `Oracle.gradient` differentiates.
        adversarial: (batch,) bool, beyond the boundary by the confidence.
        distance: (batch,) distance of `x` to the originals.
        distance_gradient: its gradient (of its surrogate, if it has one), where it was asked for.
    """

    x: Tensor
    logits: Tensor
    adversarial: Tensor
    distance: Tensor
    distance_gradient: Tensor | None
    leaf: Tensor
    rows: Tensor | None = None


class Oracle:
    """Access to one batch of an attacked model.

    Samples that are adversarial from the start cost one forward and are left out: everything that an attack
    sees (`originals`, `goal`, `distance`, probes) is about the remaining ones.
    """

    def __init__(
        self,
        model: Callable[[Tensor], Tensor],
        inputs: Tensor,
        classes: Mapping[str, Tensor],
        goal: Goal,
        distance: Distance,
        settings: Settings,
        on_step: Callable[[Step], None] | None = None,
    ) -> None:
        """Look at the clean inputs (one forward each); `classes` are the caller's class indices, by name.

        Raises:
            ValueError: for logits that are none, or classes that the model does not have.
        """
        # one memory layout, as kernels round differently in others (indexing does not keep a layout)
        inputs = (inputs.clone() if inputs.is_inference() else inputs.detach()).contiguous()
        self._model, self._inputs, self._goal, self._distance = model, inputs, goal, distance
        self._settings, self._on_step = settings, on_step
        filled = settings.fill(torch.arange(len(inputs), device=inputs.device), inputs)
        leaf = (inputs[filled] if len(filled) > len(inputs) else inputs.view_as(inputs)).requires_grad_()
        logits = model(leaf.clone())  # a copy: the model may work in place
        check_logits(logits[: len(inputs)] if len(logits) == len(leaf) else logits, inputs)
        for name, values in classes.items():
            check_range(name, values, logits.shape[1])
        self.clean_logits = logits.detach()[: len(inputs)]
        self._already = goal.margin(self.clean_logits, settings.confidence) < 0
        self._forwards = torch.ones(len(inputs), dtype=torch.int64, device=inputs.device)
        self._backwards = torch.zeros_like(self._forwards)

        untouched = not bool(self._already.any())
        self._rows = filled if untouched else settings.fill(torch.nonzero(~self._already).flatten(), inputs)
        self._copies = torch.zeros_like(self._rows, dtype=torch.bool)
        self._copies[1:] = self._rows[1:] == self._rows[:-1]
        self.originals = leaf.detach() if untouched else inputs[self._rows]
        self.goal = goal.select(self._rows)
        self.distance = anchor(distance, self.originals)
        # a distance without a useful gradient (ℓ0) is descended through its surrogate, and still tracked itself
        self.surrogate: Anchored = getattr(self.distance, "surrogate", self.distance)
        self._clean = Probe(
            x=self.originals,
            logits=logits if untouched else logits[self._rows],
            adversarial=self._already[self._rows],
            distance=torch.zeros_like(self.originals.flatten(1)[:, 0]),
            distance_gradient=None,
            leaf=leaf,
            rows=None if untouched else self._rows,
        )
        self._spent = 1
        self._best = self.originals.clone()
        self._best_distance = torch.full_like(self._clean.distance, torch.inf)
        self._non_finite = torch.zeros_like(self._clean.adversarial)
        self._trace: list[tuple[Tensor, Tensor]] = []

    @cached_property
    def keys(self) -> Tensor:
        """Per-sample keys for `minadv.random`, from each sample's content and the seed."""
        return random.keys(self.originals, self._settings.seed)

    @property
    def best_distance(self) -> Tensor:
        """(batch,) distance of the best adversarial so far, inf where there is none."""
        return self._best_distance

    def steps(self, count: int) -> Iterator[int]:
        """Count an attack's steps: 0, 1, … `count` − 1, fewer when the budget ends before."""
        for index in range(count):
            if self._on_step is not None:
                self._on_step(Step(index, count, self._best_distance))
            yield index

    def project(self, x: Tensor) -> Tensor:
        """Nearest image that counts: clipped to [0, 1], and on the grid of `levels` when that is set."""
        return quantise(x.clamp(0, 1), self._settings.levels)

    def probe(self, x: Tensor, distance_gradient: bool = False) -> Probe:
        """Classify `x` (one forward) and remember each sample's best adversarial.

        The clean images themselves were already seen, and cost nothing again while that pass is remembered
        (until another point is probed).
        """
        remembered, self._clean = self._clean, None
        if x is self.originals and remembered is not None:
            self._record(remembered.distance)
            return remembered
        del remembered  # frees the clean pass's graph before the next one is built
        # the distance first: its own intermediates are gone before the model's graph takes memory
        if distance_gradient:
            distance, slope = self.surrogate.value_and_gradient(x)
            distance = distance if self.surrogate is self.distance else self.distance(x)
        else:
            with torch.no_grad():
                distance, slope = self.distance(x), None
        self._spend()
        self._forwards[self._rows] += 1
        leaf = x.detach().requires_grad_()
        logits = self._model(leaf.clone())
        margin = self.goal.margin(logits.detach(), self._settings.confidence)
        self._non_finite |= ~margin.isfinite()
        low, high = x.flatten(1).aminmax(dim=1)
        adversarial = (margin < 0) & (low >= 0) & (high <= 1)
        self._keep_best(x, distance, adversarial)
        self._record(distance)
        return Probe(x, logits, adversarial, distance, slope, leaf)

    def gradient(self, probe: Probe, values: Tensor, weights: Tensor | None = None) -> Tensor:
        """Gradient of Σ weights·values, functions of `probe.logits`, with respect to `probe.x` (one backward).

        Rows with a non-finite gradient come back as zeros, so that a sample's other steps survive.

        Raises:
            ValueError: when the model's logits do not depend differentiably on its inputs.
        """
        self._spend()
        self._backwards[self._rows] += 1
        found = None
        if values.requires_grad:
            weights = torch.ones_like(values) if weights is None else weights
            if probe.rows is not None:  # a copied row must not add its gradient to its original's
                weights = torch.where(self._copies, 0.0, weights)
            (found,) = torch.autograd.grad(values, probe.leaf, grad_outputs=weights, allow_unused=True)
        if found is None:
            raise ValueError(
                "model returned logits without a gradient to its inputs: gradient attacks need a differentiable "
                "model; look for .detach(), .data, .numpy(), argmax or torch.no_grad() in its forward"
            )
        gradient = found if probe.rows is None else found[probe.rows]
        broken = ~gradient.flatten(1).sum(dim=1).isfinite()
        self._non_finite |= broken
        return gradient.masked_fill(per_sample(broken, gradient), 0)

    def result(self) -> Result:
        """Verify the best answers by a separate forward pass and return them."""
        self._clean = None
        outcome = Outcome(
            inputs=self._inputs,
            answers=self._scatter(self._inputs.clone(), self._best),
            found=self._scatter(torch.zeros_like(self._already), self._best_distance < torch.inf),
            already=self._already,
            non_finite=self._scatter(torch.zeros_like(self._already), self._non_finite),
        )
        verified = verify(self._model, outcome, self._goal, self._distance, self._settings)
        return Result(
            **verified,
            forwards=self._forwards,
            backwards=self._backwards,
            clean_predictions=self.clean_logits.argmax(dim=1),
            distance=self._distance.name,
            confidence=self._settings.confidence,
            trace=self._traces(),
        )

    def _scatter(self, whole: Tensor, attacked: Tensor) -> Tensor:
        """Put the attacked rows back among all rows of the batch."""
        whole[self._rows] = attacked
        return whole

    def _spend(self) -> None:
        """Count one propagation of every attacked sample against the budget."""
        if self._settings.budget is not None and self._spent >= self._settings.budget:
            raise BudgetSpentError
        self._spent += 1

    def _keep_best(self, x: Tensor, distance: Tensor, adversarial: Tensor) -> None:
        better = adversarial & (distance < self._best_distance)
        self._best_distance = torch.where(better, distance, self._best_distance)
        torch.where(per_sample(better, x), x.detach(), self._best, out=self._best)

    def _record(self, distance: Tensor) -> None:
        if self._settings.trace:
            spent = torch.full_like(distance, self._spent, dtype=torch.int64)
            self._trace.append((spent, self._best_distance.clone()))

    def _traces(self) -> Trace | None:
        """Traces over the whole batch: already adversarial samples are at 0 from the first query on."""
        if not self._settings.trace:
            return None
        shape = (max(len(self._trace), 1), len(self._inputs))
        spent = torch.ones(shape, dtype=torch.int64, device=self._inputs.device)
        distances = torch.zeros(shape, dtype=self._best_distance.dtype, device=self._inputs.device)
        if self._trace:
            spent[:, self._rows] = torch.stack([spent for spent, _ in self._trace])
            distances[:, self._rows] = torch.stack([best for _, best in self._trace])
        return Trace(spent, distances)

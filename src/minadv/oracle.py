"""The only door from an attack to the model.

The oracle counts forwards and backwards per sample, checks every candidate that it sees against the goal and
the box, keeps the best adversarial of each sample, ends the search when a budget is spent, and verifies what
it returns by a separate forward pass.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from minadv import random
from minadv.attacked import first_look
from minadv.box import Box
from minadv.distances import Distance
from minadv.distances.base import Selectable
from minadv.gates import SoftGates
from minadv.goals import Goal
from minadv.guard import alike
from minadv.incumbents import Incumbents, Rank
from minadv.ledger import Ledger
from minadv.masks import clear, or_else
from minadv.parts import Part, Parts
from minadv.precision import LOOKS, called, handicap, land, search_budget, searched
from minadv.probe import Probe, Step
from minadv.progress import Progress
from minadv.result import Result, assemble
from minadv.troubles import Troubles
from minadv.verification import Outcome, Settings, quantise, verify


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
        on_step: Callable[[Step], object] | None = None,
    ) -> None:
        """Look at the clean inputs (one forward each); `classes` are the caller's class indices, by name.

        Raises:
            ValueError: for logits that are none, classes that the model does not have, or a distance that is none.
        """
        model = alike(model)
        self._model, self._goal, self._distance = model, goal, distance  # of the whole batch
        self._settings, self._progress = settings, Progress(on_step)
        as_called = called(model, settings)
        self._searched = searched(as_called, settings)
        self._batch, clean = first_look(as_called, inputs, classes, goal, distance, settings)
        self.originals, self.goal, self.distance = self._batch.originals, self._batch.goal, self._batch.distance
        # a distance without a useful gradient (ℓ0) is descended through its surrogate, and still tracked itself
        self.surrogate: Selectable = getattr(self.distance, "surrogate", self.distance)
        device = self.originals.device
        self._parts = Parts(
            self.distance, self.surrogate, lambda rows: settings.fill(rows.to(device), self._batch.inputs)
        )
        self._handicap = handicap(self.goal, clean.logits, settings)
        if self._handicap is not None:
            clean = replace(clean, logits=clean.logits + self._handicap)
        self._clean: Probe | None = clean
        self._clean_logits = clean.logits.detach()
        self._ledger = Ledger(len(self.originals), search_budget(settings))
        self._best = Incumbents.before(self.originals)
        self._troubles = Troubles.none(clean.adversarial)
        self._box = Box(settings.levels)
        self._directions: tuple[int, Tensor] | None = None  # the last ones that were asked for, and their stream
        self._trace: list[tuple[Tensor, Tensor]] = []

    @cached_property
    def keys(self) -> Tensor:
        """Per-sample keys for `minadv.random`, from each sample's content and the seed."""
        return random.keys(self.originals, self._settings.seed)

    def directions(self, stream: int = 0) -> Tensor:
        """(batch, ...) random unit directions (ℓ2) for samples without a gradient; others in each stream."""
        if self._directions is None or self._directions[0] != stream:
            self._directions = stream, random.unit(self.keys, self.originals, stream)
        return self._directions[1]

    @property
    def reserved(self) -> int:
        """Forwards that `result` will take of each sample's account."""
        return 0 if self._settings.lower is None else LOOKS

    @property
    def logits_of_originals(self) -> Tensor:
        """(batch, classes) clean logits of the attacked samples, without a graph."""
        return self._clean_logits

    @property
    def best_distance(self) -> Tensor:
        """(batch,) distance of the best adversarial so far, inf where there is none."""
        return self._best.distance

    @property
    def copies(self) -> Tensor:
        """(batch,) which rows are copies that fill up the batch, for what sums over it."""
        return self._batch.copies

    @property
    def best(self) -> Tensor:
        """(batch, ...) best adversarial so far, the original where there is none."""
        return self._best.x

    def rank_by(self, rank: Rank) -> None:
        """Keep the adversarial of smallest `rank(x, distance)`, (batch,), instead of smallest distance."""
        self._best.by = rank

    def steps(self, count: int) -> Iterator[int]:
        """Count an attack's steps: 0, 1, … `count` − 1, fewer when the budget ends before."""
        return self._progress.steps(count, self._distances)

    def rounds(self, count: int) -> Iterator[int]:
        """Count the rounds of a nested search, so that `steps` inside reports progress over all of them."""
        return self._progress.rounds(count)

    def snap(self, x: Tensor) -> Tensor:
        """Nearest point of the grid of `levels`, if that is set, for images in [0, 1]; originals stay as is."""
        return x if x is self.originals else quantise(x, self._settings.levels)

    def project(self, x: Tensor) -> Tensor:
        """Nearest image that counts: clipped to [0, 1], and on the grid of `levels` when that is set."""
        return self._box.project(x)

    def project_(self, x: Tensor) -> Tensor:
        """`project` in the memory of `x`."""
        return self._box.project_(x)

    def clip_(self, x: Tensor) -> Tensor:
        """`project_` without the grid, for a search that goes on between its points."""
        return self._box.clip_(x)

    def probe(
        self,
        x: Tensor,
        live: Tensor | None = None,
        distance_gradient: bool = False,
        answers: bool = True,
        differentiate: bool = True,
        widths: Tensor | None = None,
    ) -> Probe:
        """Classify `x` (one forward) and remember each sample's best adversarial.

        The clean images themselves were already seen, and cost nothing again while that pass is remembered:
        until another point is probed, or again if the last `gradient` there kept its graph.

        Args:
            x: (batch, ...) like `originals`.
            live: (batch,) bool, the samples to look at; the others leave the batch and cost nothing. Never changed
                in place: the oracle knows a mask again and gathers its rows once.
            distance_gradient: also compute the gradient of the distance.
            answers: whether these points may be answers; an attack may look at others on the way.
            differentiate: False where `gradient` will not be asked: nothing is kept for it.
            widths: (batch,) of the soft gates that `gradient` takes ReLUs for, see `minadv.gates`; None for the
                ReLUs themselves, and so where the clean pass is remembered.
        """
        remembered, self._clean = self._clean, None
        if x is self.originals and live is None and remembered is not None:
            self._ledger.use_clean_pass()
            self._record()
            return remembered
        del remembered  # frees the clean pass's graph before the next one is built
        rows = self._ledger.solvent(self._parts.rows(live))
        part = None if rows is None else self._parts.of(rows)
        # the distance first: its own intermediates are gone before the model's graph takes memory
        seen = x if part is None else part.gather(x)
        distance, slope = self._parts.measure(seen, part, distance_gradient, samples=len(x))
        self._ledger.forward(rows)
        leaf = seen.detach().requires_grad_()
        logits = self._clean_logits
        if part is None:
            logits = self._look(leaf, None, differentiate, widths)
        elif len(part.rows):
            logits = part.scatter(self._look(leaf, part, differentiate, widths), logits)
        margin = self.goal.margin(logits.detach(), self._settings.confidence)
        if self._troubles.looked(margin, distance):
            # one bad answer of the model must not poison a search for good
            logits = or_else(logits, self._clean_logits)
        # an attack may look at images outside the box on the way
        adversarial = self._box.among(x, margin < 0)
        if answers:
            self._best.take(x, distance, adversarial)
        self._record()
        return Probe(x, logits, adversarial, distance, slope, leaf, part)

    def able(self, live: Tensor) -> Tensor:
        """Which of the `live` samples, (batch,), can afford another propagation: without a budget, these."""
        rows = self._parts.rows(live)
        payers = self._ledger.solvent(rows)
        if payers is rows or payers is None:
            return live
        return torch.zeros_like(live).index_fill(0, payers.to(live.device), True)

    def reaches(self, x: Tensor, live: Tensor | None = None) -> Tensor:
        """Whether each image is adversarial, (batch,): a `probe` that is not going to be differentiated."""
        return self.probe(x, live, differentiate=False).adversarial

    def gradient(
        self,
        probe: Probe,
        values: Tensor,
        weights: Tensor | None = None,
        live: Tensor | None = None,
        again: bool = False,
    ) -> Tensor:
        """Gradient of Σ weights·values, functions of `probe.logits`, with respect to `probe.x` (one backward).

        Rows with non-finite logits come back as zeros, so that a sample's other steps survive; so do rows that
        the probe left out, that are not `live` any more, or that cannot afford it, and single entries that are
        NaN or infinite, as that of √x is where a pixel is black.
        `again` keeps the graph for further gradients. The result is the caller's own, to be overwritten.

        Raises:
            ValueError: when the model's logits do not depend differentiably on its inputs, or only once.
        """
        rows = None if probe.part is None else probe.part.rows
        payers = self._ledger.solvent(rows if live is None else self._parts.rows(live))
        if payers is not None and not len(payers):
            return torch.zeros_like(probe.x)
        self._ledger.backward(payers)
        weights = torch.ones_like(values) if weights is None else weights
        if probe.gathered is not None:  # a copied row must not add its gradient to its original's
            weights = torch.where(self.copies, 0.0, weights)
        gradient = probe.differentiate(values, weights, again).contiguous()
        if probe.x is self.originals and probe.part is None:
            self._clean = probe if again else None
        gradient = self._troubles.differentiated(probe, gradient)
        if payers is not rows and payers is not None:
            unpaid = torch.ones_like(self.copies).index_fill(0, payers.to(self.copies.device), False)
            gradient = clear(gradient, unpaid)
        return gradient

    def result(self) -> Result:
        """Verify the best answers by a separate forward pass and return them."""
        self._clean = None
        if self._settings.lower is not None:
            self._land()
        batch = self._batch

        def marked(rows: Tensor) -> Tensor:
            return batch.scatter(torch.zeros_like(batch.already), rows)

        outcome = Outcome(
            inputs=batch.inputs,
            answers=batch.scatter(batch.inputs.clone(), self._best.x),
            found=marked(self._best.found),
            already=batch.already,
            non_finite=marked(self._troubles.non_finite),
            unmeasured=marked(self._troubles.unmeasured),
            flat=marked(self._troubles.flat),
            kept=self._troubles.kept,
        )
        device = batch.inputs.device
        forwards, backwards = self._ledger.forwards.to(device), self._ledger.backwards.to(device)
        verified = verify(self._model, outcome, self._goal, self._distance, self._settings)
        return Result(
            **verified,
            forwards=batch.scatter(torch.ones_like(batch.already, dtype=torch.int64), forwards),
            backwards=batch.scatter(torch.zeros_like(batch.already, dtype=torch.int64), backwards),
            clean_predictions=batch.logits.argmax(dim=1),
            distance=self._distance.name,
            confidence=self._settings.confidence,
            trace=assemble(self._trace, batch.rows, batch.inputs) if self._settings.trace else None,
        )

    def _look(self, leaf: Tensor, part: Part | None, differentiate: bool, widths: Tensor | None) -> Tensor:
        before = leaf._version
        if widths is not None and part is not None:
            widths = part.gather(widths)
        soft = None if widths is None or not differentiate else SoftGates(widths)
        with torch.set_grad_enabled(differentiate), soft or nullcontext():
            logits = self._searched(leaf.clone() if self._batch.in_place else leaf)
        self._troubles.kept |= soft is not None and soft.kept
        if leaf._version != before:
            raise ValueError(
                "model changed its input in place, which it did not with the clean images: clone the input in its "
                "forward, or don't let what it does depend on the values"
            )
        if self._handicap is None:
            return logits
        return logits + (self._handicap if part is None else part.gather(self._handicap))

    def _land(self) -> None:
        best = self._best
        rows = torch.nonzero(best.found).flatten()
        if not len(rows):
            return
        x0, goal = self.originals[rows], self.goal.select(rows)
        best.x[rows] = land(self._model, x0, best.x[rows], goal, self._settings)
        distance, _ = self._parts.measure(best.x, None, gradient=False, samples=len(best.x))
        best.distance = torch.where(best.found, distance, best.distance)
        for _ in range(LOOKS):
            self._ledger.forward(rows.cpu())
        self._record()

    def _distances(self) -> Tensor:
        """Return the distances of the best answers so far, (inputs,), of the caller's whole batch."""
        best = self._best.distance
        return self._batch.scatter(best.new_zeros(len(self._batch.inputs)), best)

    def _record(self) -> None:
        if self._settings.trace:
            spent = self._ledger.spent.to(self._best.distance.device, copy=True)
            self._trace.append((spent, self._best.distance.clone()))

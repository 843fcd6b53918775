"""What there is to attack in a batch: one look at the clean inputs, before any search."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from minadv.distances import Distance, anchor, family
from minadv.distances.base import Selectable
from minadv.goals import Goal
from minadv.logit_scale import check_scale
from minadv.masks import or_else
from minadv.probe import Probe
from minadv.validation import (
    check_distance,
    check_independence,
    check_logits,
    check_range,
    tell_inputs,
)
from minadv.verification import Settings


@dataclass(frozen=True, eq=False)
class Attacked:
    """A batch, and the part of it that is attacked: the samples that are not adversarial from the start.

    Attributes:
        inputs: (inputs, ...) the whole batch.
        logits: (inputs, classes) of it.
        already: (inputs,) which are adversarial from the start.
        in_place: whether the model works in place, and has to get copies.
        rows: (batch,) numbers of the others in the whole batch, and of the last of them again: as many as round
            like a large batch.
        copies: (batch,) which rows are there again.
        originals, goal, distance: (batch, ...) of these.
    """

    inputs: Tensor
    logits: Tensor
    already: Tensor
    in_place: bool
    rows: Tensor
    copies: Tensor
    originals: Tensor
    goal: Goal
    distance: Selectable

    def scatter(self, whole: Tensor, attacked: Tensor) -> Tensor:
        """Put the attacked rows, without copies, back among all rows of the batch, in the memory of `whole`."""
        whole[self.rows[: self._count]] = attacked[: self._count]
        return whole

    @cached_property
    def _count(self) -> int:
        """How many rows are no copies: these come last."""
        return int((~self.copies).sum())


def first_look(
    model: Callable[[Tensor], Tensor],
    inputs: Tensor,
    classes: Mapping[str, Tensor],
    goal: Goal,
    distance: Distance,
    settings: Settings,
) -> tuple[Attacked, Probe]:
    """Classify the clean inputs (one forward each): what there is to attack, and what is known of it.

    `classes` are the caller's class indices, by name. The probe holds the pass's graph.

    Raises:
        ValueError: for logits that are none, classes that the model does not have, or a distance that is none.

    Warns:
        UserWarning: when the logits look like probabilities, or hardly differ.
    """
    # one memory layout, as kernels round differently in others (indexing does not keep a layout)
    inputs = (inputs.clone() if inputs.is_inference() else inputs.detach()).contiguous()
    if len(inputs) and not family(distance):
        _try_out(distance, inputs)  # before the model's graph takes memory
    filled = settings.fill(torch.arange(len(inputs), device=inputs.device), inputs)
    leaf = (inputs[filled] if len(filled) > len(inputs) else inputs.view_as(inputs)).requires_grad_()
    copy = leaf.clone()
    before = copy._version
    try:
        logits = model(copy)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, AssertionError) as error:  # as layers, and torch._assert, refuse shapes
        tell_inputs(error, inputs, len(leaf))
        raise
    in_place = copy._version != before or not torch.equal(copy, leaf)
    check_logits(logits[: len(inputs)] if len(logits) == len(leaf) else logits, inputs)
    for name, values in classes.items():
        check_range(name, values, logits.shape[1])
    clean_logits = logits.detach()[: len(inputs)]
    asked = settings.confidence != Settings.confidence
    check_scale(clean_logits, goal.margin(clean_logits), settings.confidence, asked)
    already = goal.margin(clean_logits, settings.confidence) < 0

    untouched = not bool(already.any())
    rows = filled if untouched else settings.fill(torch.nonzero(~already).flatten(), inputs)
    copies = torch.zeros_like(rows, dtype=torch.bool)
    copies[1:] = rows[1:] == rows[:-1]
    originals = leaf.detach() if untouched else inputs[rows]
    anchored = anchor(distance, originals)
    attacked = Attacked(
        inputs, clean_logits, already, in_place, rows, copies, originals, goal.select(rows), anchored
    )
    clean = Probe(
        x=originals,
        logits=or_else(logits if untouched else logits[rows], None),
        adversarial=already[rows],
        distance=torch.zeros_like(originals.flatten(1)[:, 0]),
        distance_gradient=None,
        leaf=leaf,
        gathered=None if untouched else rows,
    )
    return attacked, clean


@torch.no_grad()
def _try_out(distance: Distance, inputs: Tensor) -> None:
    """Look at what the caller's own distance says of images and themselves, and of others far off."""
    anchored = anchor(distance, inputs.clone())  # what changes its images in place changes no caller's
    far = anchored((inputs < 0.5).to(inputs.dtype))
    check_distance(distance.name, anchored(inputs.clone()), far)
    # the nearest again, beside another on its way: a mean, sum, maximum or minimum over the batch differs there
    row = far.argmin()[None]
    one = inputs[row]
    opposite = (one < 0.5).to(one.dtype)
    again = anchor(distance, torch.cat((one, one)))(torch.cat((opposite, (one + opposite) / 2)))
    check_independence(distance.name, float(far[row]), float(again[0]))

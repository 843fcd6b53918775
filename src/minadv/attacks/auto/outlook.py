"""A look at the boundaries of several classes from one point: how far each is, and how steep."""

from typing import NamedTuple

import torch
from torch import Tensor

from minadv.attacks.auto.coordinates import Coordinates
from minadv.attacks.boundary import boundaries, labels_of, others_by_logit
from minadv.attacks.directions import TINY, inner, norm
from minadv.oracle import Oracle

# Slopes are vague: none counts as flatter than this share of the steepest.
FLATTEST = 0.1


class Outlook(NamedTuple):
    """Boundaries of some classes, linearised at one point; (batch, classes) each.

    `ways`: ℓp way from the original to each; negative where the linearisation has the original beyond, ∞ for
    other classes and the label. `slopes`: ‖∇(z_k − z_y)‖_q, at least a tenth of the largest; the largest for all
    other classes, so that nothing speaks for them but their logit. Where all vanish, they are taken for equal.
    """

    ways: Tensor
    slopes: Tensor


def outlook(
    oracle: Oracle,
    at: Tensor,
    q: float,
    confidence: float,
    most: int,
    coordinates: Coordinates | None = None,
) -> Outlook:
    """Linearise the boundaries of the `most` likeliest classes at a point: a forward, and a backward for each.

    `coordinates` are what slopes are measured in; None are the entries. At the originals the pass stays
    remembered, so that a search which starts there does not pay for it again.
    """
    probe, again = oracle.probe(at), at is oracle.originals
    likeliest = others_by_logit(probe.logits, labels_of(oracle))[:, :most]
    ways = torch.full_like(oracle.logits_of_originals, torch.inf)
    slopes = torch.zeros_like(ways)
    for boundary in boundaries(oracle, probe, likeliest, confidence, differences=True, again=again):
        value = boundary.value + inner(boundary.slope, oracle.originals - at)
        measured = boundary.slope if coordinates is None else coordinates.slope(boundary.slope.clone())
        slope = norm(measured, q).clamp_min(TINY)
        ways.scatter_(1, boundary.classes[:, None], (-value / slope)[:, None])
        slopes.scatter_(1, boundary.classes[:, None], slope[:, None])
    largest = slopes.amax(dim=1, keepdim=True)
    largest = torch.where(largest > TINY, largest, 1.0)
    return Outlook(ways, torch.where(slopes > 0, torch.maximum(slopes, FLATTEST * largest), largest))

"""Fewer entries: between an exploration and its refinement, some are left out at once."""

import torch
from torch import Tensor

from minadv.attacks.auto.refinement import Refined
from minadv.attacks.directions import TINY
from minadv.masks import overwrite
from minadv.oracle import Oracle

# Fewer entries are tried so much farther from the original: the next steps come back to the boundary.
OUTWARD = 1.1


def concentrated(x: Tensor, x0: Tensor, kept: float, farther: float = 1.0) -> Tensor:
    """Leave a perturbation the fewest entries that hold the share `kept` of its squares, at `farther` of its norm.

    Where an entry counts only beyond a threshold t, as where gradients are masked, min Σδ² has entries of 2t, but
    more of them that are smaller are stationary as well: refinement slides along a face and leaves none out.
    """
    squares = (x - x0).flatten(1).square_()
    largest, order = squares.sort(dim=1, descending=True)
    whole = largest.sum(dim=1, keepdim=True).clamp_min(TINY)
    before = largest.cumsum(dim=1).sub_(largest)
    few = torch.zeros_like(squares).scatter_(1, order, (before < kept * whole).to(squares.dtype))
    factor = (whole / (few * squares).sum(dim=1, keepdim=True).clamp_min(TINY)).sqrt_().mul_(farther)
    return (x - x0).mul_(few.mul_(factor).reshape(x0.shape)).add_(x0).clamp_(0, 1)


def leave_out(oracle: Oracle, end: Refined, kept: float, live: Tensor | None = None) -> Refined:
    """Go on from fewer entries, a little farther out, where that is adversarial: a forward, in `end`'s memory.

    Where it is not, the face that the search hovers around needs what was left out.
    """
    for _ in oracle.steps(1):
        few = oracle.snap(concentrated(end.point, oracle.originals, kept, OUTWARD))
        probe = oracle.probe(few, live, differentiate=False)
        overwrite(end.point, probe.adversarial, few)
        nearer = torch.minimum(end.reached, probe.distance)
        end = end._replace(reached=torch.where(probe.adversarial, nearer, end.reached))
    return end

"""One fixed set of choices per family of distances: how Auto explores and what it takes for the nearest point."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from minadv.attacks.auto.coordinates import Per
from minadv.attacks.auto.exploration import Pull, Stride
from minadv.attacks.auto.refinement import GATE, Across
from minadv.attacks.directions import TINY, norm
from minadv.shapes import per_sample

# Widths of soft gates in short searches at ℓ0 and ℓ1, where few entries are looked for, and all may seem off.
AJAR = 0.08, 0.008

By = Literal["norm", "weights", "metric", "secants", "count"]


@dataclass(frozen=True)
class Member:
    """A kind of round.

    Attributes:
        by: what the nearest point is found by.
        pull: direction back to the original in the exploration; None is the distance's own gradient.
        advantage: first logits of the constraint's weight, of the round's explorations in turn.
        p: order of the norm, for `by` "norm" and "count".
    """

    by: By
    pull: Pull | None
    advantage: tuple[float, ...] = (3.0,)
    p: float = 2


@dataclass(frozen=True)
class Family:
    """The rounds that are taken in turn.

    Attributes:
        members: kinds of rounds.
        lagrangian: smallest budget at which an augmented Lagrangian (ALMA) explores in the first round.
        share: of the budget that this round then takes, once the budget is more than a few rounds.
        explored: shares of a round's steps for explorations of other classes and from other starts.
        alone: share of every other round's only exploration, where there are several otherwise.
        settled: share of its steps that explores on from the end of each of several, or of the only one, in short
            steps.
        tried: share of its steps that then refines each of several: the nearest is refined on.
        kept: share of the nearest one's squares whose fewest entries take over the rest, before it is refined on.
        homeward: first and last share of the way to the nearest point that the refinement takes.
        bolder: factor on the first of these where gradients can be trusted, see `Exploration`.
        aimed: explorations that aim at a class that none has reached, by round and number in it; rounds with a
            single one do so to their end.
        scaled: coordinates of equal distance that explorations step in, those of a round in turn, and rounds in
            turn: by the Hessian's diagonal at the original, as random directions tell it ("sampled") or as the
            distance does ("entry"), by its blocks per "pixel", by a filter where it is one and else by the sampled
            diagonal ("shape"), or by nothing ("filter"). Empty and "plain" are the entries.
        briefly: those of budgets that are too small for two tries; None are those of others.
        looks: at the distance, for its Hessian at the original; per channel, for blocks.
        softness: of explorations' steps in the first round, see `Exploration`.
        across: where a refinement's steps to the boundary go, see `Refinement`.
        gated: smallest budget at which backward passes go through soft gates where gradients are masked.
        ajar: first and last width of these in refinements of budgets that are too small for two tries, which begin
            farther from the boundary.
        moved: share of the rounds, the last ones, in whose place the best answer is moved at random (`moves.py`)
            where gradients cannot be trusted.
    """

    members: tuple[Member, ...]
    lagrangian: float = math.inf
    share: float = 0.5
    explored: tuple[float, ...] = (0.7,)
    alone: float = 0.7
    settled: float = 0.0
    tried: float = 0.0
    kept: float = 1.0
    homeward: tuple[float, float] = (0.5, 0.15)
    bolder: float = 1.0
    aimed: tuple[tuple[int, int], ...] = ((0, 1), (1, 0), (3, 0))
    scaled: tuple[tuple[Per, ...], ...] = ()
    briefly: tuple[Per, ...] | None = None
    looks: int = 8
    softness: float = 0.0
    across: Across = "normal"
    gated: float = 0
    ajar: tuple[float, float] = GATE
    moved: float = 0.0

    def bold(self, stride: Stride | None) -> Tensor | None:
        """(batch,) factor on first steps home, 1 where gradients cannot be trusted; None is 1 for all."""
        return None if self.bolder == 1 or stride is None else 1 + (self.bolder - 1) * stride.trusted


def of(family: str) -> Family:
    """Return a family by its name (`distances.family`); what is not known is any differentiable function."""
    return _KNOWN.get(family, ANY)


def _share(delta: Tensor) -> Tensor:
    """|δ|, relative to the sample's largest entry."""
    largest = per_sample(norm(delta, math.inf).clamp_min(TINY), delta)
    return delta.abs().div_(largest)


def sparse(delta: Tensor) -> Tensor:
    """Gradient of Σ|δ|^{3/2}, up to a factor: towards few entries, but smooth at 0."""
    root = delta.abs().add_(TINY).sqrt_()
    return torch.div(delta, root, out=root)


def straight(delta: Tensor) -> Tensor:
    """Gradient of Σδ², up to a factor."""
    return delta


def flat(delta: Tensor) -> Tensor:
    """Gradient of Σδ⁸, up to a factor: towards equal entries, from all that are large and not from one."""
    share = _share(delta)
    square = share.square()
    return square.mul(square).mul_(square).mul_(share).mul_(delta.sign())


ANY = Family(
    (Member("secants", None, (1.0, 0.0)),),
    explored=(0.15, 0.15),
    tried=0.14,
    kept=0.8,
    homeward=(0.4, 0.15),
    scaled=(("shape", "filter"),),
    briefly=("sampled",),
)
_KNOWN = {
    # which entries matter is chance where gradients are masked: two tries, and long to do with fewer
    "l0": Family(
        (Member("count", sparse, p=0),), explored=(0.2, 0.2), settled=0.1, tried=0.1, ajar=AJAR, moved=0.2
    ),
    # every other round stays longer beyond the boundary: that finds other minima where gradients are masked
    "l1": Family(
        (Member("norm", sparse, (1.5, 3.0), p=1), Member("norm", sparse, (4.0,), p=1)),
        explored=(0.2, 0.2),
        tried=0.18,
        alone=0.6,
        kept=0.9,
        homeward=(0.3, 0.1),
        softness=0.4,
        across="few",
        gated=8,  # what soft gates say of many entries takes time to leave again
        ajar=AJAR,
        moved=0.2,
    ),
    "l2": Family(
        (Member("norm", straight, (1.0, 2.0)), Member("norm", straight, (4.0,))),
        explored=(0.2, 0.2),
        settled=0.15,
        tried=0.075,
        kept=0.7,
        softness=0.4,
        moved=0.2,
    ),
    "linf": Family(
        (Member("norm", flat, (1.0, 2.0), math.inf),),
        explored=(0.2, 0.2),
        tried=0.15,
        alone=0.6,
        homeward=(0.8, 0.15),
        across="home",
        moved=0.34,
    ),
    # windows that are cropped make the border's entries nearly free: found sooner when they count as that, but
    # masked gradients are escaped from by steps that move all entries, and what is nearly free at the original is
    # not so far from it: every other round of two tries has one in plain entries
    "ssim": Family(
        (Member("weights", None, (2.0, 1.0)),),
        explored=(0.23, 0.17),
        tried=0.18,
        homeward=(0.3, 0.15),
        bolder=4.0,
        scaled=(("sampled", "entry"), ("sampled",), ("sampled", "plain"), ("sampled",)),
        looks=2,
    ),
    # ALMA first pays in long runs on networks that are not masked, which is where LPIPS is asked for
    "lpips": replace(ANY, lagrangian=500),
    "ciede2000": Family(
        (Member("metric", straight, (0.0,)),),
        lagrangian=500,
        share=0.3,
        explored=(0.25, 0.25),
        tried=0.1,
        scaled=(("pixel",),),
        looks=1,
    ),
}

"""ADMM attack: distance and misclassification split into two variables, coupled by a multiplier.

P. Zhao, S. Liu, Y. Wang, X. Lin, *An ADMM-Based Universal Framework for Adversarial Attacks on Deep Neural
Networks*, ACM Multimedia 2018.
"""

import math
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

import torch
from torch import Tensor

from minadv import proximal
from minadv.attacks.base import Attack, counts, positive
from minadv.attacks.constant import Constant
from minadv.attacks.directions import inner
from minadv.attacks.tanh import TanhSpace
from minadv.distances import Distance, resolve
from minadv.masks import overwrite
from minadv.oracle import Oracle
from minadv.shapes import per_sample

# the authors' code, by norm; a single c, as for all but ℓ2, depends on the scale of the logits
PUBLISHED: dict[str, dict[str, Any]] = {
    "l2": {"searches": 8, "c": 1e-3, "rate": 2e-2, "warm": False},
    "l1": {"searches": 1, "c": 2.0, "rate": 1e-1, "warm": False},
    "l0": {"searches": 1, "c": 200.0, "rate": 1e-2, "warm": True},
    "linf": {"searches": 1, "c": 0.1, "rate": 1e-3, "warm": True},
}

# what does well in a thousand steps on robust MNIST and CIFAR-10 networks, by norm: ρ and rate
USUAL = {0: (20.0, 0.3), 1: (20.0, 0.1), 2: (5.0, 0.03), math.inf: (0.3, 0.03)}


@dataclass(frozen=True, kw_only=True)
class ADMM(Attack):
    """Minimise D(δ) + c·max(0, margin(x + z) + confidence) under δ = z, in turns; D is ‖δ‖₂², or ‖δ‖_p for p ≠ 2.

    Candidates are x + z; for ℓ0, and here for ℓ1 too, without the entries that the proximal step would set to 0.

    Source: Zhao, Liu, Wang and Lin, *An ADMM-Based Universal Framework for Adversarial Attacks on Deep Neural
    Networks*, ACM Multimedia 2018.

    Args:
        distance: "l0", "l1", "l2" or "linf".
        outer: turns T: a proximal step for δ, a search for z, a step of the multiplier.
        searches: weights S tried in each search for z, found per sample, as C&W does.
        steps: M, steps of Adam for each weight; each costs two forwards and a backward.
        c: first weight of every turn; it grows tenfold until one succeeds.
        rho: weight of the coupling ‖δ − z + u‖₂²; the larger, the less a proximal step shrinks. None is 20 (ℓ0 and
            ℓ1), 5 (ℓ2) or 0.3 (ℓ∞).
        rate: step size of Adam, in tanh space; None is 0.3 (ℓ0), 0.1 (ℓ1) or 0.03 (ℓ2, ℓ∞).
        warm: start Adam where it stopped before, which lets black and white pixels leave the flat ends of tanh;
            False starts at the original each time, as the authors' code does for ℓ1 and ℓ2.

    Of every attack: `distance`, what to minimise; `confidence`, logits beyond the boundary; `levels`, 256 for
    8-bit images; `budget`, most propagations per sample; `seed`.
    """

    outer: int = 10
    searches: int = 4
    steps: int = 25
    c: float = 1.0
    rho: float | None = None
    rate: float | None = None
    warm: bool = True

    name: ClassVar[str] = "admm"

    def __post_init__(self) -> None:
        super().__post_init__()
        counts(self, "outer", "searches", "steps")
        positive(self, "c")
        positive(self, "rho", "rate", or_none=True)

    @classmethod
    def paper(cls, distance: str | Distance | None = None, steps: int | None = None, **others: Any) -> "ADMM":
        """Return the settings of the authors' driver script, 10×8×1000 for ℓ2: see `Attack.paper`.

        For ℓ0 they search ρ instead of c, of which this keeps the first, 20.
        """
        distance = distance or "l2"
        settings: dict[str, Any] = {"outer": 10, "rho": 20.0, **PUBLISHED.get(resolve(distance).name, {})}
        return cls(distance=distance, steps=1000 if steps is None else steps, **settings | others)

    def search(self, oracle: Oracle) -> None:
        """Run section 13 of attacks.md."""
        z = u = torch.zeros_like(oracle.originals)
        images = TanhSpace.around(oracle.originals)
        rounds = oracle.rounds(self.outer * self.searches)
        for _ in range(self.outer):
            u = self._shrink(z - u).add_(u)  # δ + u: what the inner problem keeps z near
            # of one c alone: with several, the objective is smallest for a c too small to matter
            chosen, found = z, torch.zeros_like(oracle.best_distance, dtype=torch.bool)
            c = Constant.starting_at(self.c, oracle.best_distance)
            for _ in islice(rounds, self.searches):
                images = images.again() if self.warm else TanhSpace.around(oracle.originals)
                last, success = self._approach(oracle, u, c.value, images)
                # the smallest c that succeeded comes last of those that did; where none did, the last
                chosen = torch.where(per_sample(success | ~found, z), last, chosen)
                found, c = found | success, c.after(success)
                del last
            z, u = chosen, u - chosen

    def _approach(self, oracle: Oracle, near: Tensor, c: Tensor, images: TanhSpace) -> tuple[Tensor, Tensor]:
        """Minimise c·hinge + ρ/2·‖z − near‖₂²; return the best z, and where an adversarial was seen."""
        x0, z, rate = oracle.originals, near.clone(), self.rate or USUAL[self.p][1]
        smallest = torch.full_like(c, torch.inf)
        success = torch.zeros_like(c, dtype=torch.bool)
        for _ in oracle.steps(self.steps):
            x = oracle.project_(images.x) if images.moved else x0
            probe = oracle.probe(x)
            hinge = oracle.goal.margin(probe.logits, self.confidence)
            h = oracle.gradient(probe, hinge, c * (hinge.detach() > 0))
            hinge = hinge.detach()
            del probe  # free before more is taken
            gap = (x - x0).sub_(near)
            objective = c * hinge.clamp_min(0) + self._rho / 2 * inner(gap, gap)
            overwrite(z, objective < smallest, x - x0)
            smallest = torch.minimum(objective, smallest)
            del x
            images.descend(h.add_(gap.mul_(self._rho)), rate)
            del gap, h
            candidate = oracle.reaches(oracle.project_(self._keep(images.x.sub_(x0)).add_(x0)))
            success = success | candidate
        return z, success

    @property
    def _rho(self) -> float:
        return self.rho or USUAL[self.p][0]

    def _shrink(self, v: Tensor) -> Tensor:
        """Proximal step of D with weight 1/ρ."""
        if self.p == 2:
            return self._rho / (self._rho + 2) * v
        return proximal.of(resolve(self.distance).name)(v, torch.full_like(v.flatten(1)[:, 0], 1 / self._rho))

    def _keep(self, z: Tensor) -> Tensor:
        """Drop entries that the proximal step would, as is published for ℓ0 (for ℓ2 and ℓ∞ there are none)."""
        return z if self.p in (2, math.inf) else torch.where(self._shrink(z) == 0, 0.0, z)

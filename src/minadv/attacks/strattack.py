"""StrAttack: perturbations that are sparse in groups of pixels, by linearised ADMM.

K. Xu, S. Liu, P. Zhao, P.-Y. Chen, H. Zhang, Q. Fan, D. Erdogmus, Y. Wang, X. Lin, *Structured Adversarial Attack:
Towards General Implementation and Better Interpretability*, ICLR 2019.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from minadv import proximal
from minadv.attacks.base import Attack, counts, positive, within
from minadv.attacks.constant import Constant
from minadv.oracle import Oracle
from minadv.probe import Probe

# factor by which c grows while nothing was found
GROWTH = 5.0
# share of the non-zero entries of an answer, the smallest ones, that the refinement freezes at 0
FROZEN = 0.03


@dataclass(frozen=True, kw_only=True)
class StrAttack(Attack):
    """Minimise c·max(0, margin + confidence) + γ‖δ‖₂² + τ·Σ_groups ‖δ_group‖₂, then ‖δ‖₂ on the pixels found.

    The defaults are those of the library port; `paper` returns those of the authors' code.

    Source: Xu et al., *Structured Adversarial Attack: Towards General Implementation and Better Interpretability*,
    ICLR 2019.

    Args:
        distance: "l2".
        steps: of one search; each costs two forwards and a backward. The refinement has its own.
        more_steps: added for each further search (the authors' code: 1000).
        searches: runs, each with another c, found per sample; a run starts from zero, as the authors' code does.
        c: first weight of the penalty.
        rho: weight of the couplings between the model's variable and those of the other terms.
        alpha: first proximal weight of the linearised penalty, an inverse step size; it grows with √(k + 1).
        tau: weight of the group term.
        gamma: weight of ‖δ‖₂².
        group: side of the square patches, in pixels, and their stride; None is the authors' choice: 2 for images
            up to 32 pixels wide, 13 for larger ones.
        refine_rounds: searches of the refinement, which freezes zeros and the smallest entries of the answer.
        refine_steps: of one search of the refinement; each costs a forward and a backward.
        refine_c: first c of the refinement.
        derived: update as a straight derivation gives; False doubles the weight of the ℓ2 term's coupling (and of
            ρ in the refinement's denominator) as published.

    Of every attack: `distance`, what to minimise; `confidence`, logits beyond the boundary; `levels`, 256 for
    8-bit images; `budget`, most propagations per sample; `seed`.
    """

    steps: int = 2000
    more_steps: int = 0
    searches: int = 6
    c: float = 1.0
    rho: float = 1.0
    alpha: float = 5.0
    tau: float = 2.0
    gamma: float = 1.0
    group: int | None = None
    refine_rounds: int = 8
    refine_steps: int = 400
    refine_c: float = 1.0
    derived: bool = False

    name: ClassVar[str] = "strattack"
    published: ClassVar[Mapping[str, Any]] = {
        "rho": 15.0,
        "alpha": 5.0,
        "tau": 3.0,
        "gamma": 2.0,
        "refine_c": 5.0,
        "steps": 1000,
        "more_steps": 1000,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        counts(self, "steps", "searches", "refine_steps")
        counts(self, "group", or_none=True)
        counts(self, "more_steps", "refine_rounds", least=0)
        positive(self, "c", "rho", "alpha", "refine_c")
        within(self, "tau", "gamma", inside=lambda value: value >= 0, needed="≥ 0")

    def search(self, oracle: Oracle) -> None:
        """Run section 12 of attacks.md.

        Raises:
            ValueError: for inputs that are no images: pixels are grouped.
        """
        if oracle.originals.ndim != 4:
            shape = ", ".join(map(str, oracle.originals.shape[1:]))
            raise ValueError(
                f"strattack groups pixels of images (batch, channels, height, width), got shape (batch, {shape})"
            )
        c = Constant.starting_at(self.c, oracle.best_distance, GROWTH)
        for search in oracle.rounds(self.searches):
            c = c.after(self._run(oracle, c.value, search))
        free = _largest(oracle.best - oracle.originals)
        # where all entries are as large as each other, as on a coarse grid, none is left to refine
        found = (oracle.best_distance < torch.inf) & free.flatten(1).any(dim=1)
        if not found.any():
            return
        c = Constant.starting_at(self.refine_c, oracle.best_distance, GROWTH)
        for _ in oracle.rounds(self.refine_rounds):
            c = c.after(self._refine(oracle, c.value, found, free))

    def _run(self, oracle: Oracle, c: Tensor, search: int) -> Tensor:
        """Search with one c per sample; return where it succeeded."""
        rho, x0 = self.rho, oracle.originals
        weight = torch.full_like(c, self.tau / rho)
        group = self.group or (2 if max(x0.shape[-2:]) <= 32 else 13)
        double = 1 if self.derived else 2
        success = torch.zeros_like(c, dtype=torch.bool)
        z = u = v = s = torch.zeros_like(x0)
        for k in oracle.steps(self.steps + search * self.more_steps):
            delta = rho / (rho + 2 * self.gamma) * (z - u)
            w = (z - s).clamp(-x0, 1 - x0)
            y = proximal.groups(z - v, weight, group)
            # no answer even where it is adversarial: its groups are not sparse
            probe = oracle.probe(oracle.project(x0 + z) if k else x0, answers=False)
            g = self._hinge(oracle, probe, c)
            eta = self.alpha * math.sqrt(k + 1)
            pull = rho * (double * (delta + u) + (w + s) + (y + v))
            z = (eta * z + pull - g) / (eta + (double + 2) * rho)
            u, v, s = u + delta - z, v + y - z, s + w - z
            success = success | oracle.reaches(oracle.project(x0 + y))
        return success

    def _refine(self, oracle: Oracle, c: Tensor, live: Tensor, free: Tensor) -> Tensor:
        """Search on the free entries alone, without the group term; return where it succeeded."""
        rho, x0 = self.rho, oracle.originals
        success = torch.zeros_like(live)
        z, u = (oracle.best - x0) * free, torch.zeros_like(x0)
        for _ in oracle.steps(self.refine_steps):
            delta = (rho / (rho + self.gamma / 100) * (z - u)).clamp(-x0, 1 - x0)
            probe = oracle.probe(oracle.project(x0 + delta), live)
            success = success | probe.adversarial
            g = self._hinge(oracle, probe, c) * free
            z = (self.alpha * z + rho * (delta + u) - g) / (self.alpha + (1 if self.derived else 2) * rho)
            u = u + delta - z
        return success

    def _hinge(self, oracle: Oracle, probe: Probe, c: Tensor) -> Tensor:
        """Gradient of c·max(0, margin + confidence)."""
        hinge = oracle.goal.margin(probe.logits, self.confidence)
        return oracle.gradient(probe, hinge, c * (hinge.detach() > 0))


def _largest(delta: Tensor) -> Tensor:
    """Which entries exceed, in magnitude, the 3rd percentile of their sample's non-zero ones."""
    size = delta.abs()
    rows = size.flatten(1)
    ordered = torch.where(rows > 0, rows, torch.inf).sort(dim=1).values
    place = FROZEN * ((rows > 0).sum(dim=1, keepdim=True) - 1).clamp_min(0)
    below, above = (ordered.gather(1, index.long()) for index in (place.floor(), place.ceil()))
    percentile = torch.lerp(below, above, (place - place.floor()).to(rows.dtype)).nan_to_num(torch.inf)
    return (rows > percentile).reshape(delta.shape)

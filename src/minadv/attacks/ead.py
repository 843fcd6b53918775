"""EAD: Elastic-net Attack to Deep neural networks.

P.-Y. Chen, Y. Sharma, H. Zhang, J. Yi, C.-J. Hsieh, *EAD: Elastic-Net Attacks to Deep Neural Networks via
Adversarial Examples*, AAAI 2018.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from minadv.attacks.abort import Compat, Stall
from minadv.attacks.base import Attack, among, counts, positive
from minadv.attacks.constant import Constant
from minadv.attacks.constant_search import Searches
from minadv.attacks.directions import norm
from minadv.distances import Distance
from minadv.masks import overwrite, possibly_any
from minadv.oracle import Oracle
from minadv.shapes import per_sample


@dataclass(frozen=True, kw_only=True)
class EAD(Attack):
    """Minimise c·max(0, margin + confidence) + ‖δ‖₂² + β‖δ‖₁ by accelerated proximal gradient steps.

    Source: Chen et al., *EAD: Elastic-Net Attacks to Deep Neural Networks via Adversarial Examples*, AAAI 2018.

    Args:
        distance: "l1".
        steps: backwards of one run, at most; each costs two forwards.
        searches: runs, each with another c, found per sample.
        c: first weight of the penalty.
        rate: first step size; it falls with √(1 − i/M).
        beta: weight of ‖δ‖₁, and the threshold below which entries stay as they are.
        rule: which adversarial is best: "l1" by ‖δ‖₁, "en" by β‖δ‖₁ + ‖δ‖₂² as the paper's tables do.
        abort_early: give up a run that makes no progress for some tenths of its steps, and go on with the next c;
            at once if its c is too small to leave the original at all (unless `compat` is "batch").
        patience: for how many tenths of its steps a run may make no progress, with `abort_early`; 1 as published.
        compat: "sample" gives up runs for each sample alone; "batch" by the batch's sum as the published code,
            so that results depend on the batch.

    Of every attack: `distance`, what to minimise; `confidence`, logits beyond the boundary; `levels`, 256 for
    8-bit images; `budget`, most propagations per sample; `seed`.
    """

    distance: str | Distance | Callable[..., Tensor] = "l1"
    steps: int = 1000
    searches: int = 9
    c: float = 1e-3
    rate: float = 1e-2
    beta: float = 1e-2
    rule: Literal["l1", "en"] = "l1"
    abort_early: bool = True
    patience: int = 2
    compat: Compat = "sample"

    name: ClassVar[str] = "ead"
    published: ClassVar[Mapping[str, Any]] = {"rule": "en", "compat": "batch", "patience": 1}

    def __post_init__(self) -> None:
        super().__post_init__()
        counts(self, "steps", "searches", "patience")
        positive(self, "c", "rate", "beta")
        among(self, "rule", "l1", "en")
        among(self, "compat", "sample", "batch")

    def search(self, oracle: Oracle) -> None:
        """Run section 5 of attacks.md."""
        S, M, x0 = self.searches, self.steps, oracle.originals
        if self.rule == "en":
            oracle.rank_by(lambda x, distance: self.beta * distance + norm(x - x0, 2).square())
        together = self.compat == "batch"
        everyone = ~oracle.reaches(x0)
        c = Constant.starting_at(self.c, oracle.best_distance)
        progress = Stall.start(c.value, "sum" if together else "each")
        patience = self.patience if self.abort_early else None
        runs = Searches.of(everyone, c, progress, searches=S, steps=M, period=math.ceil(M / 10), patience=patience)
        rates = x0.new_tensor([self.rate * math.sqrt(1 - i / M) for i in range(M)])
        u = v = x0
        for _ in oracle.steps(S * M):
            # the published code's answers are points u; by ℓ1, the extrapolated v is often a closer one
            probe = oracle.probe(v, runs.live, answers=self.rule == "l1")
            hinge = oracle.goal.margin(probe.logits, self.confidence)
            active, delta = hinge.detach().clamp_min(0), v - x0
            loss = runs.c.value * active + norm(delta, 2).square()
            h = oracle.gradient(probe, hinge, runs.c.value * (active > 0)).add_(delta, alpha=2)
            last, u = u, self._shrink(v - per_sample(rates[runs.age], h) * h, x0)
            v = torch.addcmul(u, per_sample(runs.age.to(u.dtype) / (runs.age + 3), u), u - last)
            gave_up = runs.check(loss.masked_fill(oracle.copies, 0) if together else loss)
            if self.abort_early and not together and possibly_any(runs.age == 0):
                gave_up = gave_up | self._stuck(u, runs, x0)
            runs.success = runs.success | oracle.reaches(oracle.project(u), runs.going_on(gave_up))
            ended = runs.advance(gave_up)
            overwrite(u, ended, x0)
            overwrite(v, ended, x0)
            if runs.over:
                break

    @staticmethod
    def _stuck(u: Tensor, runs: Searches, x0: Tensor) -> Tensor:
        """(batch,) whose run's first step, its longest, did not leave the original: no later one will."""
        return runs.live & (runs.age == 0) & (u == x0).flatten(1).all(dim=1)

    def _shrink(self, x: Tensor, x0: Tensor) -> Tensor:
        """Soft-threshold x − x0 by β (not step·β, as published) and clip to the box, in place."""
        delta = x.sub_(x0)
        return delta.sub_(delta.clamp(-self.beta, self.beta)).add_(x0).clamp_(0, 1)

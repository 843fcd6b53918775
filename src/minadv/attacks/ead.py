"""EAD: Elastic-net Attack to Deep neural networks.

P.-Y. Chen, Y. Sharma, H. Zhang, J. Yi, C.-J. Hsieh, *EAD: Elastic-Net Attacks to Deep Neural Networks via
Adversarial Examples*, AAAI 2018.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from minadv.attacks.abort import Compat, Progress
from minadv.attacks.base import Attack, among, counts, positive
from minadv.attacks.constant import Constant
from minadv.attacks.directions import inner, norm
from minadv.distances import Distance
from minadv.oracle import Oracle


@dataclass(frozen=True, kw_only=True)
class EAD(Attack):
    """Minimise c·max(0, margin + confidence) + ‖δ‖₂² + β‖δ‖₁ by accelerated proximal gradient steps.

    Args:
        distance: "l1".
        steps: backwards of one run, at most; each costs two forwards.
        searches: runs, each with another c, found per sample.
        c: first weight of the penalty.
        rate: first step size; it falls with √(1 − i/M).
        beta: weight of ‖δ‖₁, and the threshold below which entries stay as they are.
        rule: which adversarial is best: "l1" by ‖δ‖₁, "en" by β‖δ‖₁ + ‖δ‖₂² as the paper's tables do.
        abort_early: give up a run that makes no progress for some tenths of its steps, and go on with the next c.
        patience: for how many tenths; 1 as published.
        compat: "sample" decides that for each sample alone; "batch" by the batch's sum as the published code,
            so that results depend on the batch.
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
            oracle.rank_by(lambda x: self.beta * norm(x - x0, 1) + inner(x - x0, x - x0))
        together = self.compat == "batch"
        everyone = ~oracle.reaches(x0)
        c = Constant.starting_at(self.c, oracle.best_distance)
        for search in oracle.rounds(S):
            c = c.best() if search == S - 1 and S >= 10 else c
            u = v = x0
            live, success = everyone, ~everyone
            progress = Progress.start(c.value, "sum" if together else "each")
            for i in oracle.steps(M):
                probe = oracle.probe(v, live)
                hinge = oracle.goal.margin(probe.logits, self.confidence)
                delta = v - x0
                loss = c.value * hinge.detach().clamp_min(0) + inner(delta, delta)
                h = oracle.gradient(probe, hinge, c.value * (hinge.detach() > 0))
                last, u = u, self._shrink(v - self.rate * math.sqrt(1 - i / M) * (h + 2 * delta), x0)
                v = u + i / (i + 3) * (u - last)
                if self.abort_early and i % math.ceil(M / 10) == 0:
                    progress = progress.after(loss.masked_fill(oracle.copies, 0) if together else loss)
                    live = live & ~progress.stalled(self.patience)
                    if not live.any():
                        break
                success = success | oracle.reaches(oracle.project(u), live)
            c = c.after(success)

    def _shrink(self, x: Tensor, x0: Tensor) -> Tensor:
        """Soft-threshold x − x0 by β (not step·β, as published) and clip to the box."""
        delta = x - x0
        return (delta - delta.clamp(-self.beta, self.beta) + x0).clamp(0, 1)

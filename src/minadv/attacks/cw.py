"""C&W: penalised distance in tanh space, with a search for the penalty's weight; any differentiable distance.

N. Carlini, D. Wagner, *Towards Evaluating the Robustness of Neural Networks*, IEEE S&P 2017. With CIEDE2000:
Z. Zhao, Z. Liu, M. Larson, *Towards Large yet Imperceptible Adversarial Image Perturbations with Perceptual
Color Distance*, CVPR 2020.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from minadv.attacks.abort import Compat, Progress
from minadv.attacks.base import Attack, among, counts, positive
from minadv.attacks.constant import Constant
from minadv.attacks.tanh import TanhSpace
from minadv.distances.base import per_sample
from minadv.oracle import Oracle
from minadv.verification import quantise


@dataclass(frozen=True, kw_only=True)
class CW(Attack):
    """Minimise D² + c·max(0, margin + confidence) for several c, found per sample.

    Args:
        steps: forwards and backwards of one run, at most.
        searches: runs, each with another c.
        c: first weight.
        rate: step size of Adam.
        squared: minimise D² as the original does, or D as PerC-C&W does (with c = 10).
        abort_early: give up a run that makes no progress for a tenth of its steps, and go on with the next c.
        patience: for how many tenths.
        compat: "sample" decides that for each sample alone; "batch" as the published code, which goes on until no
            sample of the batch makes progress, so that results depend on the batch.
    """

    steps: int = 1000
    searches: int = 9
    c: float = 1e-3
    rate: float = 0.01
    squared: bool = True
    abort_early: bool = True
    patience: int = 1
    compat: Compat = "sample"

    name: ClassVar[str] = "cw"
    published: ClassVar[Mapping[str, Any]] = {"compat": "batch"}

    def __post_init__(self) -> None:
        super().__post_init__()
        counts(self, "steps", "searches", "patience")
        positive(self, "c", "rate")
        among(self, "compat", "sample", "batch")

    def search(self, oracle: Oracle) -> None:
        """Run sections 2, 3 and 4 of attacks.md."""
        S, M, x0 = self.searches, self.steps, oracle.originals
        # ℓ0 is descended through its surrogate ℓ1, whose own square this is not
        squared = self.squared and oracle.surrogate is oracle.distance
        everyone = torch.ones_like(oracle.best_distance, dtype=torch.bool)
        c, images = Constant.starting_at(self.c, oracle.best_distance), TanhSpace.around(x0)
        for search in oracle.rounds(S):
            c = c.best() if search == S - 1 and S >= 10 else c
            images.restart()
            live, success = everyone, ~everyone
            progress = Progress.start(c.value, "all" if self.compat == "batch" else "each")
            for i in oracle.steps(M):
                x = quantise(images.x, self.levels) if i else x0
                probe = oracle.probe(x, live if search or i else None, bool(i))
                success = success | probe.adversarial
                hinge = oracle.goal.margin(probe.logits, self.confidence)
                if self.abort_early and i % max(M // 10, 1) == 0:
                    D = probe.distance
                    loss = (D * D if squared else D) + c.value * hinge.detach().clamp_min(0)
                    progress = progress.after(loss)
                    live = live & ~progress.stalled(self.patience)
                    if not live.any():
                        del probe, hinge  # or the next search's first graph would stand beside this one
                        break
                h = oracle.gradient(probe, hinge, c.value * (hinge.detach() > 0), live)
                if probe.distance_gradient is not None:  # ∇D² = 2D·∇D, which is 0 at the original
                    weight = 2 * probe.distance if squared else torch.ones_like(probe.distance)
                    h.addcmul_(per_sample(weight, h), probe.distance_gradient)
                del probe, hinge, x  # free before the step takes memory
                images.descend(h, self.rate)
                del h
            c = c.after(success)

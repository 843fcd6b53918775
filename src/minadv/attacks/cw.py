"""C&W: penalised distance in tanh space, with a search for the penalty's weight; any differentiable distance.

N. Carlini, D. Wagner, *Towards Evaluating the Robustness of Neural Networks*, IEEE S&P 2017. With CIEDE2000:
Z. Zhao, Z. Liu, M. Larson, *Towards Large yet Imperceptible Adversarial Image Perturbations with Perceptual
Color Distance*, CVPR 2020.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from minadv.attacks.abort import Compat, Stall
from minadv.attacks.base import Attack, among, counts, positive, within
from minadv.attacks.constant import LARGEST, Constant
from minadv.attacks.constant_search import Searches
from minadv.attacks.tanh import SHRINK, TanhSpace
from minadv.oracle import Oracle
from minadv.shapes import per_sample


@dataclass(frozen=True, kw_only=True)
class CW(Attack):
    """Minimise D² + c·max(0, margin + confidence) for several c, found per sample.

    Source: Carlini and Wagner, *Towards Evaluating the Robustness of Neural Networks*, IEEE S&P 2017; for
    CIEDE2000 (PerC-C&W) Zhao, Liu and Larson, *Towards Large yet Imperceptible Adversarial Image Perturbations
    with Perceptual Color Distance*, CVPR 2020.

    Args:
        steps: forwards and backwards of one run, at most.
        searches: runs, each with another c.
        c: first weight, at most 1e10, where weights stop growing.
        rate: step size of Adam.
        shrink: how far inside the ends of tanh black and white begin, from 1e-6 to below 1: at 1e-6, as published,
            they stay where they are for hundreds of steps. Colours farther inside stay as they are.
        squared: minimise D² as the original does, or D as PerC-C&W does (with c = 10).
        abort_early: give up a run that makes no progress for a tenth of its steps, and go on with the next c.
        patience: for how many tenths of its steps a run may make no progress, with `abort_early`.
        compat: "sample" gives up runs for each sample alone; "batch" as the published code, which goes on until
            no sample of the batch makes progress, so that results depend on the batch.

    Of every attack: `distance`, what to minimise; `confidence`, logits beyond the boundary; `levels`, 256 for
    8-bit images; `budget`, most propagations per sample; `seed`.
    """

    steps: int = 1000
    searches: int = 9
    c: float = 1e-3
    rate: float = 0.01
    shrink: float = 0.01
    squared: bool = True
    abort_early: bool = True
    patience: int = 1
    compat: Compat = "sample"

    name: ClassVar[str] = "cw"
    published: ClassVar[Mapping[str, Any]] = {"compat": "batch", "shrink": SHRINK}

    def __post_init__(self) -> None:
        super().__post_init__()
        counts(self, "steps", "searches", "patience")
        positive(self, "rate")
        within(self, "c", inside=lambda value: 0 < value <= LARGEST, needed=f"> 0 and at most {LARGEST:g}")
        within(self, "shrink", inside=lambda value: SHRINK <= value < 1, needed=f"from {SHRINK:g} to below 1")
        among(self, "compat", "sample", "batch")

    def search(self, oracle: Oracle) -> None:
        """Run sections 2, 3 and 4 of attacks.md."""
        S, M, x0 = self.searches, self.steps, oracle.originals
        counted = oracle.surrogate is not oracle.distance
        if counted:
            warnings.warn(
                "in tanh space no entry stays as it was, so that cw at l0 counts nearly all: auto, alma, fmn, "
                "pdpgd and sigma_zero look for few",
                UserWarning,
                stacklevel=3,
            )
        # ℓ0 is descended through its surrogate ℓ1, whose own square this is not
        squared = self.squared and not counted
        c, images = Constant.starting_at(self.c, oracle.best_distance), TanhSpace.around(x0, M, self.shrink)
        progress = Stall.start(c.value, "all" if self.compat == "batch" else "each")
        patience = self.patience if self.abort_early else None
        everyone = torch.ones_like(oracle.best_distance, dtype=torch.bool)
        runs = Searches.of(everyone, c, progress, searches=S, steps=M, period=max(M // 10, 1), patience=patience)
        for i in oracle.steps(S * M):
            x = oracle.project_(images.x) if i else x0
            probe = oracle.probe(x, runs.live if i else None, bool(i))
            runs.success = runs.success | probe.adversarial
            hinge = oracle.goal.margin(probe.logits, self.confidence)
            D, active = probe.distance, hinge.detach().clamp_min(0)
            gave_up = runs.check((D * D if squared else D) + runs.c.value * active)
            h = oracle.gradient(probe, hinge, runs.c.value * (active > 0), runs.going_on(gave_up))
            if probe.distance_gradient is not None:  # ∇D² = 2D·∇D, which is 0 at the original
                pull = (2 * D if squared else torch.ones_like(D)) * (runs.age > 0)
                h.addcmul_(per_sample(pull, h), probe.distance_gradient)
            del probe, hinge, x  # free before the step takes memory
            images.descend(h, self.rate, runs.age)
            del h
            images.restart(runs.advance(gave_up))
            if runs.over:
                break

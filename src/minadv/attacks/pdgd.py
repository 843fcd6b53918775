"""PDGD and PDPGD: primal-dual (proximal) gradient descent.

A. Matyasko, L.-P. Chau, *PDPGD: Primal-Dual Proximal Gradient Descent Adversarial Attack*, 2021
(arXiv 2106.01538).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from minadv import proximal
from minadv.attacks.adam import Adam
from minadv.attacks.base import Attack, among, counts, positive, shares, within
from minadv.attacks.directions import TINY, norm
from minadv.attacks.schedules import geometric, linear
from minadv.masks import overwrite, possibly_any
from minadv.oracle import Oracle
from minadv.rounding import steady
from minadv.shapes import per_sample

Prox = Callable[[Tensor, Tensor], Tensor]
PROXIMAL_STEPS = 5
CONVERGED = 1e-2


@dataclass(frozen=True, eq=False)
class Dual:
    """Weights of the distance and of the misclassification loss: smoothed softmax of (0, ascent on a logit)."""

    logit: Tensor
    distance: Tensor
    loss: Tensor

    @classmethod
    def starting_at(cls, ratio: float, like: Tensor) -> "Dual":
        """Start with the distance at about `ratio` of the loss's weight."""
        logit = torch.full_like(like, -math.log(ratio))
        loss = steady(torch.sigmoid, logit)
        return cls(logit, 1 - loss, loss)

    def after(self, margin: Tensor, rate: float, smoothing: float, least: float) -> "Dual":
        """Ascend: more weight for the loss where the margin is positive, less where it is negative."""
        logit = (self.logit + rate * margin.sign()).clamp(math.log(least), -math.log(least))
        distance, loss = steady(lambda u: torch.sigmoid(-u), logit), steady(torch.sigmoid, logit)
        return Dual(logit, distance.lerp(self.distance, smoothing), loss.lerp(self.loss, smoothing))


@dataclass(frozen=True, kw_only=True)
class PrimalDual:
    """Hyper-parameters of both attacks, which explain them: Adam against dual ascent on the weights."""

    steps: int = 500
    rate: float = 0.1
    final_rate: float = 0.01
    dual_rate: float = 0.1
    final_dual_rate: float = 0.1
    smoothing: float = 0.9
    first_ratio: float = 0.01
    least_ratio: float = 1e-6

    def check(self) -> None:
        """Raise ValueError for a hyper-parameter out of its range."""
        counts(self, "steps")
        positive(self, "rate", "dual_rate")
        shares(self, "final_rate", "final_dual_rate", "first_ratio", "least_ratio")
        within(self, "smoothing", inside=lambda value: 0 <= value < 1, needed="in [0, 1)")

    def play(self, oracle: Oracle, confidence: float, shrink: Prox | None) -> None:
        """Run section 15 of attacks.md: the distance by its gradient, or by a proximal step."""
        N, x0 = self.steps, oracle.originals
        x, adam = x0, Adam.like(x0)
        dual = Dual.starting_at(self.first_ratio, oracle.best_distance)
        for i in oracle.steps(N):
            probe = oracle.probe(x if i == 0 else oracle.project(x), distance_gradient=i > 0 and shrink is None)
            margin = oracle.goal.margin(probe.logits, confidence)
            m = margin.detach()
            pull = steady(torch.sigmoid, m)  # the derivative of softplus
            h = oracle.gradient(probe, margin, pull * dual.loss if shrink is None else pull)
            if probe.distance_gradient is not None:
                h += per_sample(dual.distance, h) * probe.distance_gradient
            rate = geometric(i, N, self.rate, self.rate * self.final_rate)
            x = (x + adam.step(h, rate)).clamp_(0, 1)
            if shrink is not None:
                x = proximal_step(x, x0, adam.metric(), rate * dual.distance / dual.loss, shrink)
            dual_rate = linear(i, N, self.dual_rate, self.dual_rate * self.final_dual_rate)
            dual = dual.after(m, dual_rate, self.smoothing, self.least_ratio)


def proximal_step(x: Tensor, x0: Tensor, metric: Tensor, weight: Tensor, shrink: Prox) -> Tensor:
    """argmin_q weight·norm(q − x0) + ½‖q − x‖² in the metric of Adam, by a few proximal gradient steps."""
    largest = norm(metric, math.inf)
    nu, scale = weight / largest, metric.div_(per_sample(largest, metric))
    r = x - x0
    q, length, done = r, norm(r, 2), torch.zeros_like(nu, dtype=torch.bool)
    for i in range(PROXIMAL_STEPS):
        descended = r if i == 0 else torch.addcmul(q, scale, r - q)
        ahead = shrink(descended, nu).add_(x0).clamp_(0, 1).sub_(x0)
        change = norm(ahead - q, 2) / length.clamp_min(TINY)
        overwrite(ahead, done, q)
        q, done = ahead, done | (change <= CONVERGED)
        if not possibly_any(~done):
            break
        length = norm(q, 2)
    return x0 + q


@dataclass(frozen=True, kw_only=True)
class PDGD(PrimalDual, Attack):
    """Adam on λ₀·D + λ₁·softplus(margin), and dual ascent on the weights.

    Source: Matyasko and Chau, *PDPGD: Primal-Dual Proximal Gradient Descent Adversarial Attack*, 2021 (arXiv
    2106.01538).

    Args:
        steps: forwards and backwards.
        rate: first step size of Adam; it falls geometrically.
        final_rate: last step size of Adam, as a share of the first.
        dual_rate: first step size of the dual ascent; it falls linearly.
        final_dual_rate: last step size of the dual ascent, as a share of the first.
        smoothing: of the weights over the steps.
        first_ratio: first weight of the distance, relative to the loss.
        least_ratio: smallest weight of the distance relative to the loss, and of the loss relative to it.

    Of every attack: `distance`, what to minimise; `confidence`, logits beyond the boundary; `levels`, 256 for
    8-bit images; `budget`, most propagations per sample; `seed`.
    """

    name: ClassVar[str] = "pdgd"

    def __post_init__(self) -> None:
        Attack.__post_init__(self)
        self.check()

    def search(self, oracle: Oracle) -> None:
        """Run section 15 of attacks.md."""
        self.play(oracle, self.confidence, None)


@dataclass(frozen=True, kw_only=True)
class PDPGD(PrimalDual, Attack):
    """Adam on softplus(margin), a proximal step of the norm, and dual ascent on the weights.

    Source: Matyasko and Chau, *PDPGD: Primal-Dual Proximal Gradient Descent Adversarial Attack*, 2021 (arXiv
    2106.01538).

    Args:
        l0: how ℓ0 is shrunk: "l23" by its surrogate ℓ_{2/3}, "l0" by pixels.
        steps: forwards and backwards.
        rate: first step size of Adam; it falls geometrically.
        final_rate: last step size of Adam, as a share of the first.
        dual_rate: first step size of the dual ascent; it falls linearly.
        final_dual_rate: last step size of the dual ascent, as a share of the first.
        smoothing: of the weights over the steps.
        first_ratio: first weight of the distance, relative to the loss.
        least_ratio: smallest weight of the distance relative to the loss, and of the loss relative to it.

    Of every attack: `distance`, what to minimise; `confidence`, logits beyond the boundary; `levels`, 256 for
    8-bit images; `budget`, most propagations per sample; `seed`.
    """

    l0: Literal["l23", "l0"] = "l23"

    name: ClassVar[str] = "pdpgd"

    def __post_init__(self) -> None:
        Attack.__post_init__(self)
        self.check()
        among(self, "l0", "l23", "l0")

    def search(self, oracle: Oracle) -> None:
        """Run section 15 of attacks.md."""
        norms: dict[float, Prox] = {1: proximal.l1, 2: proximal.l2, math.inf: proximal.linf}
        norms[0] = proximal.l23 if self.l0 == "l23" else proximal.l0_pixels
        self.play(oracle, self.confidence, norms[self.p])

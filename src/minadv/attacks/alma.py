"""ALMA: Augmented Lagrangian Method for Adversarial attacks.

J. Rony, E. Granger, M. Pedersoli, I. Ben Ayed, *Augmented Lagrangian Adversarial Attacks*, ICCV 2021.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from minadv import distances, penalties
from minadv.attacks.base import Attack, among, counts, positive, require, whole, within
from minadv.attacks.directions import TINY, nonzero
from minadv.attacks.gating import narrowing, trust, untrusted
from minadv.attacks.momentum import Momentum
from minadv.attacks.pace import Pace, constraint_of
from minadv.bisection import bisect, bracket
from minadv.distances import Distance
from minadv.goals import Constraint
from minadv.oracle import Oracle
from minadv.penalties import Penalty
from minadv.shapes import per_sample

MU_RANGE = (1e-6, 1e12)
# The first step under a distance of your own: so much of the way to where the boundary seems to be, which is no
# farther than this in any entry.
FIRST_SHARE, FAR = 0.2, 0.3
# First and last width of soft gates.
GATE = 0.06, 0.006

# Distance that the first step should reach, by the distance's label or its part before the bracket.
# The paper's table 3, and the values of its public scripts where they differ.
TABLE_3 = {"l1": 0.5, "l2": 0.1, "ssim": 3e-5, "ciede2000[paper]": 0.05, "lpips": 1e-3}
SCRIPTS = TABLE_3 | {"ssim": 1e-4, "lpips": 1e-2}
SCRIPTS_IMAGENET = SCRIPTS | {"ciede2000[paper]": 0.03}
# Our defaults: for distances that the paper does not use, for proximal steps, which can be longer, and where
# longer first steps did better on the demo and on cifar_resnet4b (100 steps).
OURS = {"l0": 25.0, "l1": 8.0, "l2": 0.2, "linf": 0.01, "ciede2000": 2.0, "ssim": 3e-4, "lpips": 1e-2}
FIRST_DISTANCES = TABLE_3 | OURS


@dataclass(frozen=True, kw_only=True)
class ALMA(Attack):
    """Minimise a distance subject to a negative constraint by an augmented Lagrangian, one pass per step.

    Args:
        steps: forwards and backwards.
        penalty: P2, P3, P1 or PHR, by name or as a function.
        constraint: "dlr" (DLR⁺, scale-invariant; needs 3 classes, 4 when targeted) or "margin", that
            of the logits relative to the original's. None is the margin where targeted or in few steps (`pace`),
            else DLR⁺.
        alpha: smoothing of the multiplier; None, here and below, is our choice by distance and steps (`Pace`).
        alpha_rms: smoothing of the squared gradients that steps are divided by; None is `alpha`, if that is given.
        momentum: of the steps; None is `alpha`, if that is given.
        mu: first multiplier μ.
        rho: first penalty parameter ρ.
        check_every: every so many steps, ρ may grow.
        improvement: it does unless g fell below this share of its last checked value, or an adversarial was seen.
        rho_growth: factor that it grows by.
        final_step: step size at the end, relative to the first; the decay starts at the first adversarial.
        first_distance: the first step's distance, from which the step size follows; None is our choice for
            the distance (`FIRST_DISTANCES`), and a share of the way to the linearised boundary for your own.
        first_step_limit: the first step goes at most this share of the way to the linearised boundary, so that
            samples close to it are not overshot; until an adversarial is found, the step size then grows
            like ρ, but at every step, up to that of `first_distance`. None is no limit, as in the paper.
        exact_first_step: reach `first_distance` with the step really taken, not with the unpreconditioned
            gradient as the published code does.
        proximal: handle the kinks of ℓ1 and ℓ∞ by proximal steps instead of subgradients as in the paper: for
            ℓ1 that leaves entries exactly as they were, for ℓ∞ it moves many at once. ℓ0 is always searched
            that way, on a smooth count of entries. Other distances are smooth and don't change.
        soft_gates: backward passes see what ReLUs would pass if they were nearly on (`minadv.gates`), where few
            entries carry the gradient at the original: there it is masked. Others don't change.
    """

    steps: int = 1000
    penalty: str | Penalty = field(default=penalties.P2)
    constraint: Constraint | None = None
    alpha: float | None = None
    alpha_rms: float | None = None
    momentum: float | None = None
    mu: float | None = None
    rho: float = 1.0
    check_every: int = 10
    improvement: float = 0.95
    rho_growth: float | None = None
    final_step: float | None = None
    first_distance: float | None = None
    first_step_limit: float | None = 1.0
    exact_first_step: bool = False
    proximal: bool = True
    soft_gates: bool = True

    name: ClassVar[str] = "alma"

    def __post_init__(self) -> None:
        super().__post_init__()
        counts(self, "steps", "check_every")
        if self.constraint is not None:
            among(self, "constraint", "dlr", "margin")
        averages = "alpha", "alpha_rms", "momentum"
        within(self, *averages, inside=lambda value: 0 <= value < 1, needed="in [0, 1)", or_none=True)
        positive(self, "rho", "improvement")
        positive(self, "mu", "rho_growth", "final_step", or_none=True)
        positive(self, "first_distance", "first_step_limit", or_none=True)
        if isinstance(self.penalty, str):
            penalties.get(self.penalty)
        else:
            closed = hasattr(self.penalty, "derivative")
            require("penalty", self.penalty, closed, f"one of {', '.join(penalties.ALL)} or have a derivative")

    @classmethod
    def paper(
        cls,
        distance: str | Distance | None = None,
        steps: int | None = None,
        source: Literal["table", "scripts", "scripts-imagenet"] = "table",
        **others: Any,
    ) -> "ALMA":
        """Return exactly the settings of the paper's tables; ℓ0 and ℓ∞, which it has not, take our first distance.

        Args:
            distance: a name or a Distance. "ciede2000" is on the paper's scale and "lpips" without learned
                weights, as the paper optimises them.
            steps: 100 or 1000 in the tables.
            source: first distances of the paper's table 3, or of its public scripts where they differ, for
                ImageNet in colour as well.
            **others: further hyper-parameters, e.g. budget or seed.

        Raises:
            ValueError: for an unknown source or distance, steps below 1, or a hyper-parameter that ALMA has not.
        """
        sources = {"table": TABLE_3, "scripts": SCRIPTS, "scripts-imagenet": SCRIPTS_IMAGENET}
        require("source", source, source in sources, f"one of {', '.join(sources)}")
        resolved: str | Distance = distances.as_published(distance or "l2")
        first = _look_up(sources[source], resolved)
        steps = 1000 if steps is None else steps
        require("steps", steps, whole(steps) and steps >= 1, "a whole number ≥ 1")
        settings: dict[str, Any] = asdict(Pace.paper(steps))
        settings |= {"first_distance": first, "first_step_limit": None, "proximal": False, "soft_gates": False}
        settings["constraint"] = "dlr"
        if "alpha" in others:
            settings |= dict.fromkeys(("alpha_rms", "momentum"), others["alpha"])
        return cls(distance=resolved, steps=steps, **settings | others)

    def search(self, oracle: Oracle) -> None:
        """Run section 1 of attacks.md."""
        N, pace = self.steps, self._pace()
        classes = oracle.logits_of_originals.shape[1]
        kind = self.constraint or constraint_of(oracle.goal, classes, self.distance, N)
        own = not distances.family(self.distance)
        penalty = penalties.get(self.penalty) if isinstance(self.penalty, str) else self.penalty

        proximal = self.proximal or oracle.surrogate is not oracle.distance
        shrink = getattr(oracle.surrogate, "shrink", None) if proximal else None

        x = oracle.originals
        optimiser = Momentum.like(x, pace.alpha_rms, pace.momentum, shrink)
        mu, rho = (torch.full_like(oracle.best_distance, value) for value in (pace.mu, self.rho))
        first = torch.full_like(mu, N, dtype=torch.int64)  # step of the first adversarial, N while unseen
        # η r^{(i − first)/(N − first)} as a product: a table, as a vector's powers round by their place in it
        decays = x.new_tensor([pace.final_step ** (1 / (N - i)) for i in range(N)] + [1.0])
        reference = eta = longest = mu  # set at step 0
        masked, unit, clean = None, mu, mu

        for i in oracle.steps(N):
            # on a grid the search goes on between its points, or steps below half a cell would go nowhere
            widths = narrowing(GATE, masked, i, N)
            probe = oracle.probe(oracle.snap(x), distance_gradient=i > 0, widths=widths)
            constraint = oracle.goal.constraint(probe.logits, kind, self.confidence)
            if kind == "margin":  # as DLR⁺ is, whatever the scale of logits
                clean = constraint.detach().clamp_min(max(self.confidence, TINY)) if i == 0 else clean
                constraint = constraint / clean
            g = constraint.detach()
            if i == 0:
                reference = g
            elif (i + 1) % self.check_every == 0:
                stuck = (g >= self.improvement * reference) & (first == N)
                rho, reference = torch.where(stuck, pace.rho_growth * rho, rho), g
            if i > 0:
                mu = torch.lerp(penalty.derivative(g, rho, mu), mu, pace.alpha).clamp(*MU_RANGE)
            unseen = first == N
            first = first.masked_fill(probe.adversarial & unseen, i)
            unseen = unseen & ~probe.adversarial
            eta = torch.where(unseen, torch.minimum(pace.rho_growth * eta, longest), eta)

            weight = penalty.derivative(g, rho, mu)
            h = oracle.gradient(probe, constraint, weights=weight)
            if i == 0:  # the distance has no gradient at the original
                masked = untrusted(trust(h)) if self.soft_gates else None
                h = nonzero(h, oracle, below=1e-6)
                eta, longest = self._step_sizes(oracle, h, g * weight, pace.alpha_rms)
            slope = probe.distance_gradient
            if slope is not None and own:  # in units of its own, so that a mean is minimised as a sum is
                unit = positive_or_one(probe.distance / FIRST_SHARE) if i == 1 else unit
                slope = slope / per_sample(unit, slope)
            x = oracle.clip_(optimiser.step(x, h, slope, per_sample(eta, x)))
            eta = eta * decays.index_select(0, first)
            del probe, constraint, h, slope  # free before the next pass

    def _pace(self) -> Pace:
        """Return what was given, and our choice of the rest."""
        given = {one.name: getattr(self, one.name) for one in fields(Pace)}
        if self.alpha is not None:
            given |= {name: self.alpha for name in ("alpha_rms", "momentum") if given[name] is None}
        known = {name: value for name, value in given.items() if value is not None}
        return replace(Pace.ours(self.distance, self.steps), **known)

    def _step_sizes(self, oracle: Oracle, h: Tensor, slope: Tensor, alpha_rms: float) -> tuple[Tensor, Tensor]:
        """First and longest η: D(x, Π[x − ηh]) = ε gives the longest, by doubling, then bisection; no model pass.

        The first is limited by the linearised boundary g − η⟨∇g, h⟩ = 0. As h = P′·∇g, that is η = g·P′/‖h‖²,
        with `slope` = g·P′. Where ε is not known, both are a share of the way to that boundary.
        """
        distance, x = oracle.surrogate, oracle.originals
        boundary = slope / h.flatten(1).square().sum(dim=1)
        boundary = torch.where(boundary > 0, boundary, torch.inf)  # 0 would stay 0
        target = self.first_distance or _look_up(FIRST_DISTANCES, self.distance)
        if target is None:
            eta = FIRST_SHARE * torch.minimum(boundary, FAR / h.flatten(1).abs().amax(dim=1).clamp_min(TINY))
            return eta, eta
        step = h
        if self.exact_first_step:
            step = h / ((alpha_rms + (1 - alpha_rms) * h.square()).sqrt() + 1e-8)

        def below(eta: Tensor) -> Tensor:
            return distance(torch.addcmul(x, per_sample(eta, x), step, value=-1).clamp_(0, 1)) <= target

        with torch.no_grad():
            low, high = bisect(below, *bracket(below, torch.ones_like(boundary)), steps=20)
        longest = (low + high) / 2
        if self.first_step_limit is None:
            return longest, longest
        return torch.minimum(longest, self.first_step_limit * boundary), longest


def positive_or_one(values: Tensor) -> Tensor:
    """Return what can be divided by: 1 where a value is 0, infinite or NaN."""
    return torch.where((values > 0) & values.isfinite(), values, 1.0)


def _look_up(table: dict[str, float], distance: str | Distance | Callable[..., Tensor]) -> float | None:
    """Return the table's value for a distance; squared LPIPS gets the square of the root form's."""
    resolved, family = distances.resolve(distance), distances.family(distance)
    value = table.get(resolved.name, table.get(family)) if family else None
    squared = isinstance(resolved, distances.LPIPS) and not resolved.root
    return value**2 if value is not None and squared else value

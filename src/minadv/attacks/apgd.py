"""APGD and APGD^T in a ball of given radius, and made minimal by bisecting the radius per sample.

F. Croce, M. Hein, *Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
attacks*, ICML 2020.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from minadv import losses, random
from minadv.attacks.ascent import Ascent, Ball
from minadv.attacks.base import Attack, among, counts, positive, require
from minadv.attacks.boundary import labels_of, others_by_logit
from minadv.attacks.directions import farthest
from minadv.bisection import Bracket
from minadv.distances import Distance, family
from minadv.goals import Untargeted
from minadv.oracle import Oracle

Loss = Literal["dlr", "cross-entropy"]
TargetLoss = Literal["label", "target"]
RADII = {1: 12.0, 2: 0.5, math.inf: 8 / 255}
LARGEST = {"mnist": 5.0, "cifar10": 2.5, "imagenet": 10.0}
BISECTIONS = {"mnist": 13, "cifar10": 12, "imagenet": 14}


@dataclass(frozen=True, kw_only=True)
class Ascending:
    """Hyper-parameters of APGD and of its minimal form, which explain them."""

    steps: int = 100
    loss: Loss = "dlr"
    n_targets: int | None = None
    target_loss: TargetLoss = "label"
    restarts: int = 1

    def check(self) -> None:
        """Raise ValueError for a hyper-parameter out of its range."""
        counts(self, "steps", "restarts")
        counts(self, "n_targets", or_none=True)
        among(self, "loss", "dlr", "cross-entropy")
        among(self, "target_loss", "label", "target")

    def attempt(self, oracle: Oracle, ball: Ball, stream: int) -> Tensor:
        """Run in one ball per sample; return which samples were broken inside theirs."""
        broken = torch.zeros_like(ball.radius, dtype=torch.bool)
        for number, loss in enumerate(self._losses(oracle)):
            for restart in range(self.restarts):
                if broken.all():
                    return broken
                where = (stream * 1000 + number) * self.restarts + restart
                start = ball.start(_noise(oracle, ball.p, where))
                broken = broken | Ascent(oracle, loss, ~broken).run(ball, start, self.steps)
        return broken

    def _losses(self, oracle: Oracle) -> Iterator[Callable[[Tensor], Tensor]]:
        """Yield the losses that are increased one after the other."""
        if self.n_targets is None or not isinstance(oracle.goal, Untargeted):
            yield self._own_loss(oracle)
            return
        ranked = others_by_logit(oracle.probe(oracle.originals).logits, labels_of(oracle))
        for targets in ranked.T[: self.n_targets]:
            yield self._loss_towards(targets, labels_of(oracle))

    def _own_loss(self, oracle: Oracle) -> Callable[[Tensor], Tensor]:
        if self.loss == "cross-entropy":
            return oracle.goal.ascent
        return lambda logits: -oracle.goal.constraint(logits, "dlr")

    def _loss_towards(self, targets: Tensor, labels: Tensor) -> Callable[[Tensor], Tensor]:
        if self.loss == "cross-entropy":
            return lambda logits: -losses.cross_entropy(logits, targets)
        if self.target_loss == "target":
            return lambda logits: -losses.targeted_dlr_plus(logits, targets)
        return lambda logits: -losses.targeted_dlr(logits, labels, targets)


@dataclass(frozen=True, kw_only=True)
class APGD(Ascending, Attack):
    """Maximise a loss inside a ball of fixed radius (not minimal: the smallest adversarial seen is kept).

    Source: Croce and Hein, *Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks*, ICML 2020; for ℓ1 *Mind the box: ℓ1-APGD for sparse adversarial attacks on image
    classifiers*, ICML 2021.

    Args:
        radius: of the ball in the distance; None is a usual one: 8/255 (ℓ∞), 0.5 (ℓ2), 12 (ℓ1).
        steps: iterations of one run; each run looks once more often.
        loss: "dlr" (three classes; four when targeted) or "cross-entropy". Neither has a κ; with a raised
            `confidence`, cross-entropy finds more.
        n_targets: None runs once with an untargeted loss; a number makes it APGD^T, one run with a targeted loss
            for each of so many classes, those of largest clean logits, for samples not broken yet. Not used
            when the attack itself is targeted.
        target_loss: of APGD^T: "label" is AutoAttack's tDLR, z_t against z_y; "target" is −tDLR⁺, z_t against the
            best other class, with which the paper's rows were made.
        restarts: random starts for each run.

    Of every attack: `distance`, what to minimise; `confidence`, logits beyond the boundary; `levels`, 256 for
    8-bit images; `budget`, most propagations per sample; `seed`.
    """

    radius: float | None = None

    name: ClassVar[str] = "apgd"

    def __post_init__(self) -> None:
        Attack.__post_init__(self)
        self.check()
        positive(self, "radius", or_none=True)

    @property
    def fixed_radius(self) -> float:
        """Radius of the ball: the usual one where none was chosen."""
        return self.radius or RADII[self.p]

    def search(self, oracle: Oracle) -> None:
        """Run section 9 of attacks.md at one radius."""
        radius = torch.full_like(oracle.best_distance, self.fixed_radius)
        ball = Ball(oracle.originals, self.p, radius, self.levels)
        # the first runs of ℓ1 use larger balls: what they find there is no answer
        oracle.rank_by(lambda _x, distance: torch.where(ball.holds(distance), distance, torch.inf))
        self.attempt(oracle, ball, stream=0)


@dataclass(frozen=True, kw_only=True)
class MinimalAPGD(Ascending, Attack):
    """Bisect the radius at which APGD succeeds, per sample.

    Source: Croce and Hein, *Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks*, ICML 2020; for ℓ1 *Mind the box: ℓ1-APGD for sparse adversarial attacks on image
    classifiers*, ICML 2021.

    Args:
        n_targets: a number makes it APGD^T, one run with a targeted loss for each of so many classes, those of
            largest clean logits, for samples not broken yet (it needs four classes); None runs once with an
            untargeted loss. Not used when the attack itself is targeted.
        bisections: radii tried.
        largest: first radius tried, half of the largest one; None is half the distance to the farthest image. Of
            that, 13 bisections leave a 4096th, which for ℓ1 is coarse (0.3 at 32×32×3, 13 at 224×224×3): give one.
        steps: iterations of one run; each run looks once more often.
        loss: "dlr" (three classes; four when targeted) or "cross-entropy". Neither has a κ; with a raised
            `confidence`, cross-entropy finds more.
        target_loss: of APGD^T: "label" is AutoAttack's tDLR, z_t against z_y; "target" is −tDLR⁺, z_t against the
            best other class, with which the paper's rows were made.
        restarts: random starts for each run.

    Of every attack: `distance`, what to minimise; `confidence`, logits beyond the boundary; `levels`, 256 for
    8-bit images; `budget`, most propagations per sample; `seed`.
    """

    n_targets: int | None = 9
    bisections: int = 13
    largest: float | None = None

    name: ClassVar[str] = "minimal_apgd"

    def __post_init__(self) -> None:
        Attack.__post_init__(self)
        self.check()
        counts(self, "bisections")
        positive(self, "largest", or_none=True)

    @classmethod
    def paper(
        cls,
        distance: str | Distance | None = None,
        steps: int | None = None,
        data: Literal["mnist", "cifar10", "imagenet"] = "cifar10",
        **others: Any,
    ) -> "MinimalAPGD":
        """Return the settings of the tables for a data set: see `Attack.paper`.

        They are of ℓ2: radii of other norms are searched up to the largest that the box allows. The paper's port
        calls a run a success when it reaches its target; here any misclassification is one, so that fewer targets
        are tried.
        """
        require("data", data, data in LARGEST, f"one of {', '.join(LARGEST)}")
        settings: dict[str, Any] = {
            "largest": LARGEST[data] if family(distance or "l2") == "l2" else None,
            "bisections": BISECTIONS[data],
            "target_loss": "target",
        }
        return cls(distance=distance or "l2", steps=100 if steps is None else steps, **settings | others)

    def search(self, oracle: Oracle) -> None:
        """Run the minimal wrapper of section 9 of attacks.md."""
        zeros = torch.zeros_like(oracle.best_distance)
        most = farthest(oracle.originals, self.p) if self.largest is None else zeros + 2 * self.largest
        radii = Bracket(zeros, most)
        for trial in oracle.rounds(self.bisections):
            ball = Ball(oracle.originals, self.p, radii.middle, self.levels)
            broken = self.attempt(oracle, ball, stream=trial)
            confirmed = broken & oracle.reaches(oracle.best)
            # the answer is often smaller than its ball
            radii = radii.after(confirmed).below(oracle.best_distance)


def _noise(oracle: Oracle, p: float, stream: int) -> Tensor:
    """Gaussian noise, uniform in [−1, 1] for ℓ∞."""
    x0 = oracle.originals
    if p != math.inf:
        return random.normal(oracle.keys, x0, stream)
    uniform = random.uniform(oracle.keys, x0[0].numel(), stream)
    return (2 * uniform - 1).reshape(x0.shape).to(x0.dtype)

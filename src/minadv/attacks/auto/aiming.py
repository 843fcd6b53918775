"""Which class an exploration aims at, and the constraint that leads there.

Chances, (batch, classes), are what classes promise: the larger, the sooner one is aimed at. −∞ is not at all.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from minadv import losses
from minadv.attacks.auto.exploration import Constrain
from minadv.attacks.auto.outlook import Outlook
from minadv.goals import Constraint, Untargeted, constraint_for
from minadv.oracle import Oracle

# So much longer than to a class that was reached already may the way to another look, to be aimed at.
LONGER = 1.1
# A look's backwards come from the end of a refinement, of which they are at most one in so many steps.
SIGHTED = 3


@dataclass(frozen=True, eq=False)
class Aims:
    """What is known of the classes that explorations may end at.

    Attributes:
        able: whether they are told apart by their boundaries: untargeted, at least three, and asked for.
        chances: (batch, classes) of those that none has reached.
        view: of their boundaries from the originals; None without a look.
    """

    able: bool
    chances: Tensor
    view: Outlook | None = None

    @classmethod
    def of(cls, oracle: Oracle, asked: bool) -> "Aims":
        """Before any search."""
        return cls(asked and kind_of(oracle) == "dlr", chances(oracle))

    def affordable(self, most: int, refining: int) -> int:
        """How many classes to look at, where so many steps of a refinement are there to pay for it."""
        count = min(most, self.chances.shape[1] - 1, refining // SIGHTED)
        return count if self.able and count > 1 else 0

    def after(self, classes: Tensor) -> "Aims":
        """Without these classes, which were reached."""
        return replace(self, chances=reached(self.chances, classes))

    def again(self, oracle: Oracle, classes: Tensor, ways: Tensor) -> "Aims":
        """After another look at `ways` to classes; these were reached by the answers that it was from.

        An exploration's end that was not carried on is no reason to leave a class out.
        """
        return replace(self, chances=nearer(reached(chances(oracle), classes), ways))

    def at(self, place: tuple[int, int], aimed: tuple[tuple[int, int], ...]) -> Tensor | None:
        """Return the chances of classes to aim at, in this exploration of this round; None is to aim at none."""
        if not self.able or place not in aimed:
            return None
        return self.chances if place[0] or self.view is None else likely(self.chances, self.view.ways)

    def constrain(self, oracle: Oracle, number: int, aim: Tensor | None, confidence: float) -> Constrain:
        """Every other round goes by DLR⁺ and logits alone: neither way finds all that the other does.

        The others, and so the first, go by margins. DLR⁺ is bounded: far beyond the boundary, where the label is
        the third likeliest class or less, its gradient does not lead on.
        """
        if number % 2:
            return constrain(oracle, aim, confidence, kind_of(oracle))
        return constrain(oracle, aim, confidence, slopes=None if self.view is None else self.view.slopes)


def chances(oracle: Oracle) -> Tensor:
    """Before any search: a class's logit, and −∞ for the label."""
    logits, goal = oracle.logits_of_originals, oracle.goal
    own = goal.labels if isinstance(goal, Untargeted) else logits.argmax(dim=1)
    return logits.scatter(1, own[:, None], -torch.inf)


def reached(chances: Tensor, classes: Tensor) -> Tensor:
    """Without these classes, one per sample."""
    return chances.scatter(1, classes[:, None], -torch.inf)


def nearer(chances: Tensor, ways: Tensor) -> Tensor:
    """Chances by the ways to classes, (batch, classes), where none that was reached already is nearer."""
    return torch.where(_near(chances, ways, 1.0), -ways, -torch.inf)


def likely(chances: Tensor, ways: Tensor) -> Tensor:
    """Keep the chances where the way is at most a little longer than to a class that was reached already."""
    return torch.where(_near(chances, ways, LONGER), chances, -torch.inf)


def _near(chances: Tensor, ways: Tensor, longer: float) -> Tensor:
    unreached = chances.isfinite()
    limit = longer * ways.masked_fill(unreached, torch.inf).amin(dim=1, keepdim=True).clamp_min(0)
    return unreached & (ways <= limit)


def constrain(
    oracle: Oracle,
    chances: Tensor | None,
    confidence: float,
    kind: Constraint = "margin",
    slopes: Tensor | None = None,
) -> Constrain:
    """Leave the label for any class or, with `chances`, for the class of the best one where there is any.

    Any class is that of the largest logit or, with (batch, classes) `slopes` of the logits, the nearest one by
    (z_y − z_k)/slope: where the slopes of classes differ, the likeliest is not the one whose boundary is near.
    """
    goal = oracle.goal
    if not isinstance(goal, Untargeted):
        return lambda logits: goal.constraint(logits, kind, confidence)

    def anywhere(logits: Tensor) -> Tensor:
        if slopes is None:
            return goal.constraint(logits, kind, confidence)
        return losses.scaled_margin(logits, goal.labels, slopes, confidence)

    if chances is None:
        return anywhere
    best, targets = chances.max(dim=1)
    some, against = best > -torch.inf, losses.dlr_towards if kind == "dlr" else losses.margin_towards

    def towards(logits: Tensor) -> Tensor:
        return torch.where(some, against(logits, goal.labels, targets, confidence), anywhere(logits))

    return towards


def kind_of(oracle: Oracle) -> Constraint:
    """DLR⁺, or the margin where the model has too few classes for it, or the goal is a target."""
    return constraint_for(oracle.goal, oracle.logits_of_originals.shape[1])

"""The shape of every attack: hyper-parameters, and one method that searches through an oracle."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from numbers import Integral
from typing import Any, ClassVar, TypeVar, cast, final

import numpy as np
import torch
from torch import Tensor

from minadv.attacks.registry import REGISTRY, able
from minadv.distances import Distance, Lp, as_published, resolve
from minadv.distances import family as family_of
from minadv.errors import unknown
from minadv.goals import Goal, Targeted, Untargeted
from minadv.guard import Model, by_batch, guarded
from minadv.heap import kept
from minadv.ledger import BudgetSpentError
from minadv.oracle import Oracle
from minadv.precision import check_passes
from minadv.probe import Step
from minadv.result import Result
from minadv.validation import check_classes, check_inputs, check_targets
from minadv.verification import Precision, Settings

A = TypeVar("A", bound="Attack")


@dataclass(frozen=True, kw_only=True)
class Attack(ABC):
    """Hyper-parameters that all attacks share. Calling an attack validates, searches, verifies.

    Numbers may be numpy's; an attack has them as Python's.

    Args:
        distance: what to minimise: a name, a Distance, or a function `(x, x0) -> (batch,)`.
        confidence: how many logits beyond the boundary a point must be to count, in the search and (up to
            rounding) in the verification. Ties never count.
        levels: when set (256 for 8-bit images), only images whose values are multiples of 1/(levels − 1)
            count, so that results survive being saved.
        budget: most propagations (forwards plus backwards) per sample; the best answer so far is returned. A
            search is cut off there, not paced by it: fewer `steps` end nearer.
        seed: decides an attack's random numbers, together with each sample's own content.
    """

    distance: str | Distance | Callable[..., Tensor] = "l2"
    confidence: float = 1e-4
    levels: int | None = None
    budget: int | None = None
    seed: int = 0

    name: ClassVar[str]
    published: ClassVar[Mapping[str, Any]] = {}

    def __new__(cls: type[A], *given: Any, **hyper_parameters: Any) -> A:
        """Refuse hyper-parameters without a name, and those that it does not have, naming the nearest."""
        if given:
            raise TypeError(
                f"{cls.__name__} takes its hyper-parameters by name, e.g. {cls.__name__}(distance='l2'), "
                f"got {', '.join(map(repr, given))}"
            )
        known = [field.name for field in fields(cls)]
        for parameter in hyper_parameters:
            if parameter not in known:
                raise unknown(f"hyper-parameter of {getattr(cls, 'name', cls.__name__)}", parameter, known)
        return object.__new__(cls)

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.generic):  # a number that JSON has, with the same value
                object.__setattr__(self, field.name, value.item())
            if isinstance(field.default, bool):
                given = getattr(self, field.name)
                require(field.name, given, isinstance(given, bool), "True or False")
        self._check_distance()
        for argument in ("levels", "budget"):
            value = getattr(self, argument)
            require(argument, value, value is None or whole(value), "None or a whole number")
        require("seed", self.seed, whole(self.seed), "a whole number")
        within(self, "confidence", inside=lambda value: value >= 0, needed="≥ 0 logits")
        require("levels", self.levels, self.levels is None or self.levels >= 2, "None or ≥ 2 (256 for 8 bits)")
        require("budget", self.budget, self.budget is None or self.budget >= 1, "None or ≥ 1 propagations")

    @final
    def __call__(
        self,
        model: Model,
        inputs: Tensor,
        labels: Tensor,
        *,
        targets: Tensor | None = None,
        trace: bool = False,
        on_step: Callable[[Step], object] | None = None,
        fill_up: bool = True,
        precision: Precision | None = None,
        channels_last: bool = False,
    ) -> Result:
        """Search for the smallest perturbation of each input.

        Args:
            model: from inputs (batch, ...) in [0, 1] to logits (batch, classes), or an object with `.logits`.
            inputs: (batch, ...) floating point in [0, 1].
            labels: (batch,) int64 true classes.
            targets: (batch,) int64 classes to reach; None for any class but the label.
            trace: keep the best distance against propagations.
            on_step: called before every step of the search, which ends when it returns True.
            fill_up: on a CPU, fill small batches of small images up to a multiple of 4 with copies (not counted),
                so that a sample's rounding, and with it its result, does not depend on the batch.
            precision: of the model's passes in the search, by automatic mixed precision: "bfloat16" or "float16",
                which go further beyond the boundary, by what they round (docs/speed.md); "float32", under the
                caller's own autocast too; None, as the model is. With any, the pass over the clean images is in
                float32, as the verification always is.
            channels_last: show the model (batch, channels, height, width) images in channels-last memory layout;
                not in the pass over the clean images and the verification.

        Raises:
            TypeError, ValueError: for bad input; the message names the argument, its value and the remedy.
        """
        inputs = check_inputs(inputs)
        labels = check_classes("labels", labels, inputs)
        goal, classes = cast("Goal", Untargeted(labels)), {"labels": labels}
        if targets is not None:
            self.check_targeted()
            targets = check_classes("targets", targets, inputs)
            check_targets(targets, labels)
            goal, classes = Targeted(targets), classes | {"targets": targets}
        check_passes(precision, channels_last, inputs)
        fill_up = fill_up and not by_batch(model)
        kind = inputs.device.type
        settings = Settings(
            self.confidence,
            self.levels,
            self.propagations,
            self.seed,
            trace,
            fill_up,
            precision,
            channels_last,
            autocast=torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None,
        )
        # distances and updates are never rounded as the model's passes are
        with kept(inputs.device), guarded(model, inputs) as logits, torch.autocast(kind, enabled=False):
            oracle = Oracle(logits, inputs, classes, goal, resolve(self.distance), settings, on_step)
            if len(oracle.originals):
                with suppress(BudgetSpentError):
                    self.search(oracle)
            return oracle.result()

    @classmethod
    def paper(cls, distance: str | Distance | None = None, steps: int | None = None, **others: Any) -> "Attack":
        """Return the settings of the paper's tables, or those that the attack's authors published.

        Args:
            distance: a name or a Distance; None is the attack's usual one. "ciede2000" is on the paper's scale and
                "lpips" without learned weights, as the paper optimises them.
            steps: of the table's row; None is the attack's usual number.
            **others: further hyper-parameters, e.g. budget or seed.
        """
        given: dict[str, Any] = {} if steps is None else {"steps": steps}
        usual = next(field.default for field in fields(cls) if field.name == "distance")
        return cls(**{**cls.published, "distance": as_published(distance or usual), **given, **others})

    @property
    def propagations(self) -> int | None:
        """Most forwards plus backwards per sample; None is no limit."""
        return self.budget

    @property
    def fixed_radius(self) -> float | None:
        """Radius of the only ball that is searched; None where the distance is minimised."""
        return None

    @property
    def p(self) -> float:
        """Order of the ℓp distance that is minimised."""
        return cast("Lp", resolve(self.distance)).p

    def _check_distance(self) -> None:
        family = family_of(self.distance)
        card = REGISTRY.get(getattr(self, "name", ""))
        if card is not None and not card.minimises(family):
            given = family or f"a distance of your own ({resolve(self.distance).name})"
            raise ValueError(
                f"{self.name} minimises {', '.join(card.distances or ())}, not {given}: attacks that minimise "
                f"{family or 'any'} are {able(lambda other: other.minimises(family))}"
            )
        resolve(self.distance)  # its options, and what it needs

    def check_targeted(self) -> None:
        """Raise ValueError, naming attacks that can, unless the attack can be asked for a class."""
        card = REGISTRY.get(getattr(self, "name", ""))
        if card is not None and not card.targeted:
            raise ValueError(
                f"{self.name} cannot be targeted: leave targets (--target) out, or use an attack that can: "
                f"{able(lambda other: other.targeted)}"
            )

    @abstractmethod
    def search(self, oracle: Oracle) -> None:
        """Look for adversarials by probing the oracle, which keeps the best."""


def counts(settings: object, *arguments: str, least: int = 1, or_none: bool = False) -> None:
    """Raise ValueError unless the named hyper-parameters are whole numbers of at least `least` (or None)."""
    for argument in arguments:
        value = getattr(settings, argument)
        satisfied = or_none if value is None else whole(value) and value >= least
        require(argument, value, satisfied, f"{'None or ' if or_none else ''}a whole number ≥ {least}")


def within(
    settings: object, *arguments: str, inside: Callable[[float], bool], needed: str, or_none: bool = False
) -> None:
    """Raise ValueError unless the named hyper-parameters are finite numbers that are `inside` (or None)."""
    for argument in arguments:
        value = getattr(settings, argument)
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        satisfied = or_none if value is None else number and inside(value)
        require(argument, value, satisfied, f"{'None or ' if or_none else ''}{needed}")


def shares(settings: object, *arguments: str, or_none: bool = False) -> None:
    """Raise ValueError unless the named hyper-parameters are in (0, 1] (or None)."""
    within(settings, *arguments, inside=lambda value: 0 < value <= 1, needed="in (0, 1]", or_none=or_none)


def among(settings: object, argument: str, *choices: str) -> None:
    """Raise ValueError unless the named hyper-parameter is one of the choices."""
    value = getattr(settings, argument)
    require(argument, value, value in choices, " or ".join(map(repr, choices)))


def positive(settings: object, *arguments: str, or_none: bool = False) -> None:
    """Raise ValueError unless the named hyper-parameters are above 0 (or None)."""
    within(settings, *arguments, inside=lambda value: value > 0, needed="> 0", or_none=or_none)


def whole(value: object) -> bool:
    """Whether a value is a whole number."""
    return not isinstance(value, bool) and isinstance(value, Integral)


def require(argument: str, value: object, satisfied: bool, needed: str) -> None:
    """Raise ValueError, naming the argument, what it got and what it needs, unless satisfied."""
    if not satisfied:
        raise ValueError(f"{argument} must be {needed}, got {value!r}")

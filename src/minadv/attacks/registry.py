"""What attacks there are and what each can do. An attack joins by one line; nothing here imports torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

LP = ("l0", "l1", "l2", "linf")
CONVEX = ("l1", "l2", "linf")


@dataclass(frozen=True)
class Card:
    """Declaration of an attack: the capability table is made from it, and `Attack` enforces it.

    Attributes:
        attack: the class's name.
        about: what it is, in one line, with its source.
        distances: families it can minimise (without options); None is any differentiable distance.
        targeted: whether it can be asked for a class.
        classes: fewest classes, with its own defaults.
        gradients: whether it needs the model's gradient.
        module: where the class lives, if not in a module of the attack's name.
    """

    attack: str
    about: str
    distances: tuple[str, ...] | None
    targeted: bool = True
    classes: int = 2
    gradients: bool = True
    module: str = ""

    def minimises(self, family: str) -> bool:
        """Whether the attack can minimise distances of that family (a name without options)."""
        return self.distances is None or family in self.distances


REGISTRY: dict[str, Card] = {
    "alma": Card("ALMA", "augmented Lagrangian (Rony et al., ICCV 2021)", None, classes=3),
    "ddn": Card("DDN", "decoupled direction and norm (Rony et al., CVPR 2019)", ("l2",)),
    "fmn": Card("FMN", "fast minimum norm, adaptive radius (Pintor et al., NeurIPS 2021)", LP),
    "fab": Card("FAB", "fast adaptive boundary, and FAB^T (Croce and Hein, ICML 2020)", CONVEX, targeted=False),
    "cw": Card("CW", "penalty with a search for its constant, tanh space (Carlini and Wagner, S&P 2017)", None),
    "ead": Card("EAD", "elastic net by accelerated proximal gradient (Chen et al., AAAI 2018)", ("l1",)),
    "apgd": Card("APGD", "auto-PGD in a ball of given radius (Croce and Hein, ICML 2020)", CONVEX, classes=3),
    "minimal_apgd": Card(
        "MinimalAPGD", "APGD, the radius bisected per sample", CONVEX, classes=3, module="apgd"
    ),
}


def able(condition: Callable[[Card], bool], cards: Mapping[str, Card] = REGISTRY) -> str:
    """Names of the attacks that satisfy a condition, for error messages."""
    return ", ".join(name for name, card in cards.items() if condition(card)) or "none"

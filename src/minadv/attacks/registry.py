"""What attacks there are and what each can do; nothing here imports torch.

docs/code.md says how an attack joins.
"""

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
        usual: the distance it minimises unless told otherwise.
        targeted: whether it can be asked for a class.
        classes: fewest classes, with its own defaults.
        gradients: whether it needs the model's gradient.
        module: where the class lives, if not in a module of the attack's name.
    """

    attack: str
    about: str
    distances: tuple[str, ...] | None
    usual: str = "l2"
    targeted: bool = True
    classes: int = 2
    gradients: bool = True
    module: str = ""

    def minimises(self, family: str) -> bool:
        """Whether the attack can minimise distances of that family (a name without options)."""
        return self.distances is None or family in self.distances


REGISTRY: dict[str, Card] = {
    "alma": Card("ALMA", "augmented Lagrangian (Rony et al., ICCV 2021)", None, classes=3),
    "auto": Card("Auto", "explores, refines, starts again: the smallest answer that a budget buys", None),
    "ddn": Card("DDN", "decoupled direction and norm (Rony et al., CVPR 2019)", ("l2",)),
    "fmn": Card("FMN", "fast minimum norm, adaptive radius (Pintor et al., NeurIPS 2021)", LP),
    "fab": Card("FAB", "fast adaptive boundary, and FAB^T (Croce and Hein, ICML 2020)", CONVEX, targeted=False),
    "cw": Card("CW", "weighted penalty, the weight searched (Carlini and Wagner, S&P 2017)", None),
    "ead": Card("EAD", "elastic net by accelerated proximal gradient (Chen et al., AAAI 2018)", ("l1",), "l1"),
    "apgd": Card("APGD", "auto-PGD in a ball of given radius (Croce and Hein, ICML 2020)", CONVEX, classes=3),
    "minimal_apgd": Card("MinimalAPGD", "APGD, the radius bisected per sample", CONVEX, classes=4, module="apgd"),
    "percal": Card(
        "PerCAL", "colour distance, alternating losses (Zhao et al., CVPR 2020)", ("ciede2000",), "ciede2000"
    ),
    "pdgd": Card("PDGD", "primal-dual gradient descent (Matyasko and Chau, 2021)", ("l2",)),
    "pdpgd": Card("PDPGD", "primal-dual proximal gradient descent (the same)", LP, module="pdgd"),
    "deepfool": Card(
        "DeepFool",
        "steps to the nearest boundary (Moosavi-Dezfooli et al., CVPR 2016)",
        ("l2", "linf"),
        targeted=False,
    ),
    "superdeepfool": Card(
        "SuperDeepFool",
        "DeepFool, made orthogonal to the boundary (Abdollahpoorrostam et al., 2023)",
        ("l2",),
        targeted=False,
        module="deepfool",
    ),
    "sigma_zero": Card("SigmaZero", "σ-zero, smooth ℓ0 and a threshold (Cinà et al., ICLR 2025)", ("l0",), "l0"),
    "trust_region": Card(
        "TrustRegion", "trust region towards one class (Yao et al., CVPR 2019)", ("l2", "linf"), targeted=False
    ),
    "strattack": Card("StrAttack", "group-sparse perturbations by ADMM (Xu et al., ICLR 2019)", ("l2",)),
    "admm": Card("ADMM", "distance and penalty split by ADMM (Zhao et al., ACM MM 2018)", LP),
    "lpa": Card("LPA", "Lagrangian perceptual attack, bisected (Laidlaw et al., ICLR 2021)", ("lpips",), "lpips"),
    "pqp": Card(
        "PQP", "black box, led by SSIM (Gragnaniello et al., PRL 2021)", ("ssim",), "ssim", gradients=False
    ),
}


def able(condition: Callable[[Card], bool], cards: Mapping[str, Card] = REGISTRY) -> str:
    """Names of the attacks that satisfy a condition, for error messages."""
    return ", ".join(name for name, card in cards.items() if condition(card)) or "none"

"""PerC-AL: Perceptual Colour distance, Alternating Loss.

Z. Zhao, Z. Liu, M. Larson, *Towards Large yet Imperceptible Adversarial Image Perturbations with Perceptual
Color Distance*, CVPR 2020.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from minadv.attacks.base import Attack, counts, positive
from minadv.attacks.directions import TINY, norm, unit_
from minadv.attacks.schedules import cosine
from minadv.distances import Distance
from minadv.oracle import Oracle
from minadv.shapes import per_sample


@dataclass(frozen=True, kw_only=True)
class PerCAL(Attack):
    """Climb the cross-entropy while not adversarial, descend the colour distance while adversarial.

    Source: Zhao, Liu and Larson, *Towards Large yet Imperceptible Adversarial Image Perturbations with Perceptual
    Color Distance*, CVPR 2020.

    Args:
        distance: "ciede2000".
        steps: each costs two forwards and a backward; one forward more looks at the original.
        levels: the rounded image is what counts (the search goes on between the levels); 256 as published.
        step: first length (ℓ2) of the steps that climb; it falls to a hundredth.
        colour_step: first length of the steps that descend; it falls to a tenth.

    Of every attack: `distance`, what to minimise; `confidence`, logits beyond the boundary; `levels`, 256 for
    8-bit images; `budget`, most propagations per sample; `seed`.
    """

    distance: str | Distance | Callable[..., Tensor] = "ciede2000"
    levels: int | None = 256
    steps: int = 1000
    step: float = 1.0
    colour_step: float = 0.5

    name: ClassVar[str] = "percal"

    @classmethod
    def paper(cls, distance: str | Distance | None = None, steps: int | None = None, **others: Any) -> "PerCAL":
        """Return the settings of the tables, see `Attack.paper`: "ciede2000" is on its true scale.

        That is what its authors minimise; the paper scores its answers on another scale.
        """
        settings: dict[str, Any] = {} if steps is None else {"steps": steps}
        return cls(distance=distance or "ciede2000", **settings | others)

    def __post_init__(self) -> None:
        super().__post_init__()
        counts(self, "steps")
        positive(self, "step", "colour_step")

    def search(self, oracle: Oracle) -> None:
        """Run section 10 of attacks.md."""
        N, x = self.steps, oracle.originals
        adversarial = oracle.reaches(x)
        for i in oracle.steps(N):
            probe = oracle.probe(x, distance_gradient=True)
            climb = unit_(oracle.gradient(probe, oracle.goal.ascent(probe.logits)), oracle)
            climb *= cosine(i, N, self.step, self.step / 100)
            colour_step = cosine(i, N, self.colour_step, self.colour_step / 10)
            descent = probe.slope
            descent *= per_sample(colour_step / norm(descent, 2).clamp_min(TINY), x)
            x = torch.where(per_sample(adversarial, x), x - descent, x + climb).clamp_(0, 1)
            adversarial = oracle.reaches(oracle.project(x))

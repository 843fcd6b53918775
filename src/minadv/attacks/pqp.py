"""PQP: black-box attack in small random steps where SSIM suffers least.

D. Gragnaniello, F. Marra, L. Verdoliva, G. Poggi, *Perceptual quality-preserving black-box attack against deep
learning image classifiers*, Pattern Recognition Letters 2021.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from minadv import random
from minadv.attacks.base import Attack, counts, shares, within
from minadv.distances import Distance
from minadv.oracle import Oracle
from minadv.probe import Probe
from minadv.shapes import per_sample


@dataclass(frozen=True, kw_only=True)
class PQP(Attack):
    """Change a few random pixels by one grey level at a time, if the score does not fall, until adversarial.

    Not a minimal attack: a sample is finished with its first adversarial, or when its SSIM has fallen to the
    floor. The score is the probability of the target, or of any class but the true one. Only SSIM is
    differentiated, never the model. The authors' SSIM has a uniform 7×7 window; this is the distance's own.

    Source: Gragnaniello et al., *Perceptual quality-preserving black-box attack against deep learning image
    classifiers*, Pattern Recognition Letters 2021.

    Args:
        distance: "ssim".
        steps: draws at most, two forwards each (the authors' code has no limit).
        pixels: positions changed by a draw.
        delta: size of a change, one grey level.
        share: of all positions, those with the smallest SSIM gradient, that draws are from.
        draws: after so many that lower the score, the better sign of the last one is accepted.
        floor: SSIM at which a sample is given up.

    Of every attack: `distance`, what to minimise; `confidence`, logits beyond the boundary; `levels`, 256 for
    8-bit images; `budget`, most propagations per sample; `seed`.
    """

    distance: str | Distance | Callable[..., Tensor] = "ssim"
    steps: int = 1000
    pixels: int = 20
    delta: float = 1 / 255
    share: float = 0.66
    draws: int = 20
    floor: float = 0.95

    name: ClassVar[str] = "pqp"
    # the authors' code asks about rounded images
    published: ClassVar[Mapping[str, Any]] = {"levels": 256}

    def __post_init__(self) -> None:
        super().__post_init__()
        counts(self, "steps", "pixels", "draws")
        shares(self, "delta", "share")
        within(self, "floor", inside=lambda value: value < 1, needed="< 1")

    def search(self, oracle: Oracle) -> None:
        """Run section 14 of attacks.md."""
        x = oracle.originals
        score = self._score(oracle, oracle.probe(x))
        live = torch.ones_like(score, dtype=torch.bool)
        tries = torch.zeros_like(score)
        for draw in oracle.steps(self.steps):
            change = self._pattern(oracle, x, draw)
            plus, minus = (
                oracle.probe(oracle.project(x + change), live, differentiate=False),
                oracle.probe(oracle.project(x - change), live, differentiate=False),
            )
            up, down = self._score(oracle, plus), self._score(oracle, minus)
            first = up >= down
            better = torch.maximum(up, down)
            found = plus.adversarial | minus.adversarial
            tries = tries + 1
            accepted = live & ((better >= score) | (tries >= self.draws))
            chosen = torch.where(per_sample(first, x), plus.x, minus.x)
            x = torch.where(per_sample(accepted, x), chosen, x)
            score = torch.where(accepted, better, score)
            tries = torch.where(accepted, 0, tries)
            fallen = torch.where(first, plus.distance, minus.distance) > 1 - self.floor
            live = live & ~found & ~(accepted & fallen)
            if not live.any():
                break

    @staticmethod
    def _score(oracle: Oracle, probe: Probe) -> Tensor:
        """Log-probability of the goal: it orders images as the probability does, and does not saturate."""
        return oracle.goal.ascent(probe.logits.detach())

    def _pattern(self, oracle: Oracle, x: Tensor, stream: int) -> Tensor:
        """±δ at random positions, the same in all channels, among those where SSIM changes least."""
        positions = x[0, 0].numel()
        _, gradient = oracle.distance.value_and_gradient(x)
        size = gradient.abs().amax(dim=1).flatten(1)
        ties, order, signs = random.uniform(oracle.keys, 3 * positions, stream).chunk(3, dim=1)
        shuffled = ties.argsort(dim=1)
        ranked = shuffled.gather(1, size.gather(1, shuffled).argsort(dim=1, stable=True))
        candidates = ranked[:, : max(int(self.share * positions), 1)]
        drawn = candidates.gather(1, order[:, : candidates.shape[1]].argsort(dim=1)[:, : self.pixels])
        # numbers alone would be rounded to torch's default dtype, not to that of the images
        delta = torch.full_like(drawn, self.delta, dtype=x.dtype)
        signs = torch.where(signs.gather(1, drawn) < 0.5, -delta, delta)
        pattern = torch.zeros_like(size).scatter(1, drawn, signs)
        return pattern.reshape(len(x), 1, *x.shape[2:])

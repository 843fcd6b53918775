"""LPIPS: distance between deep features of two images (Zhang et al., CVPR 2018).

At each position of each layer the channel vector is divided by its ℓ2 norm; Δ is the difference of two such
vectors, and mean runs over a layer's positions. Four forms share this:

    learned     Σ_layers mean Σ_c w_c Δ_c²          the `lpips` package (v0.1): squared, no root
    none        √ Σ_layers mean Σ_c Δ_c²            what ALMA and LPA minimise
    paper       √ Σ_layers mean (Σ_c w_c Δ_c)²      how the ALMA code evaluates: not LPIPS, channels cancel
    any of them with `root` chosen by hand
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from minadv.distances.base import Batch, ByAutograd, PerSample, Rows, check_pair, few, need_images, safe_sqrt
from minadv.distances.trunks import Trunk, learned_weights, load_trunk

Linear = Literal["learned", "none", "paper"]

_NORM_GUARD = 1e-10
# A trunk's features take many times the memory of its input.
PIXELS_AT_A_TIME = 2**15


@dataclass(frozen=True, eq=False)
class LPIPS:
    """Perceptual distance of images (batch, channels, height, width) in [0, 1]; see the module's formulas.

    Build it with `minadv.distances.get("lpips", ...)`.

    Attributes:
        trunk: the feature network.
        weights: one (channels,) tensor per layer, or None without learned weights.
        signed: weigh differences before squaring (the "paper" form).
        root: take the square root.
        name: label for every output.
    """

    trunk: Trunk
    weights: tuple[Tensor, ...] | None
    signed: bool
    root: bool
    name: str

    def __call__(self, x: Batch, x0: Batch) -> PerSample:
        """LPIPS of each row; computed in the trunk's precision."""
        check_pair(self.name, x, x0)
        return self.anchored(x0)(x)

    def anchored(self, x0: Batch) -> ByAutograd:
        """Return the distance to `x0`, whose features are computed once.

        Raises:
            ValueError: for tensors that are not images, or images too small for the trunk.
        """
        need_images(self.name, x0)
        try:
            reference = self._features(x0)
        except RuntimeError as error:
            raise ValueError(
                f"{self.name} could not compute features of images {tuple(x0.shape[1:])}: {error}; the images may "
                "be too small for this trunk: enlarge them or use trunk='demo' or your own module"
            ) from error

        def value(x: Batch, rows: Rows) -> PerSample:
            return self._between(self._features(x), [layer[rows] for layer in reference]).to(x.dtype)

        return ByAutograd(value, at_a_time=few(x0, PIXELS_AT_A_TIME))

    def _features(self, x: Tensor) -> list[Tensor]:
        """Normalised features of each layer, (batch, channels, positions)."""
        layers = [layer.flatten(2) for layer in self.trunk(x)]
        return [f / (safe_sqrt(f.square().sum(dim=1, keepdim=True)) + _NORM_GUARD) for f in layers]

    def _between(self, first: list[Tensor], second: list[Tensor]) -> Tensor:
        total = torch.zeros(len(first[0]), dtype=first[0].dtype, device=first[0].device)
        for layer, (f, f0) in enumerate(zip(first, second, strict=True)):
            difference = f - f0
            if self.weights is None:
                energy = difference.square()
            else:
                weight = self.weights[layer].to(f)[:, None]
                weighed = weight * difference
                energy = weighed.sum(dim=1, keepdim=True).square() if self.signed else weighed * difference
            total = total + energy.sum(dim=1).mean(dim=1)
        return safe_sqrt(total) if self.root else total


def build(
    trunk: str | nn.Module = "alex",
    linear: Linear | None = None,
    layers: Sequence[str] | None = None,
    root: bool | None = None,
    trunk_weights: str | Path | None = None,
    linear_weights: str | Path | None = None,
) -> LPIPS:
    """Build an LPIPS distance.

    Args:
        trunk: "alex", "vgg" or "squeeze" (ImageNet networks, whose weight files are looked for, never
            invented); "demo" for the embedded demo network, which needs no file; or any module, with `layers`.
        linear: "learned" (default for the ImageNet trunks), "none" (default otherwise) or "paper".
        layers: names of submodules of `trunk` whose outputs are the features.
        root: take the square root; None is the form's own choice.
        trunk_weights: the trunk's weight file, where it is not in a place that is looked in.
        linear_weights: the learned weights' file, likewise.

    Raises:
        FileNotFoundError: for a missing weight file: what to download and where to put it.
        ValueError: for unknown options.
    """
    network = load_trunk(trunk, layers, trunk_weights)
    linear = linear or ("learned" if network.learned is not None else "none")
    if linear not in ("learned", "none", "paper"):
        raise ValueError(f"linear must be 'learned', 'none' or 'paper', got {linear!r}")
    weights = None if linear == "none" else learned_weights(network, linear_weights)
    if root not in (None, True, False):
        raise ValueError(f"root must be true or false, got {root!r}")
    usual_root = linear != "learned"
    take_root = usual_root if root is None else root
    marks = [network.name] if linear == "learned" else [network.name, linear]
    marks += [] if take_root == usual_root else ["root" if take_root else "squared"]
    marks += ["own layers"] if layers is not None and isinstance(trunk, str) else []
    return LPIPS(network, weights, signed=linear == "paper", root=take_root, name=f"lpips[{','.join(marks)}]")

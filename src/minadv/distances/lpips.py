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

from minadv.distances.base import differentiable
from minadv.distances.checks import check_pair, need_images
from minadv.distances.portions import Rows, by_parts, few
from minadv.distances.trunks import Trunk, learned_weights, load_trunk
from minadv.shapes import Batch, PerSample, per_sample

Linear = Literal["learned", "none", "paper"]

_NORM_GUARD = 1e-10
# A trunk's features take many times the memory of its input.
ENTRIES_AT_A_TIME = 3 * 2**16


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
        check_pair(self.name, x, x0, unit=True, anchored=True)
        return self.anchored(x0)(x)

    def anchored(self, x0: Batch) -> "AnchoredLPIPS":
        """Return the distance to `x0`, whose features are computed once.

        Raises:
            ValueError: for tensors that are not images, or images too small for the trunk.
        """
        need_images(self.name, x0)
        try:
            with torch.no_grad():
                reference = self.features(x0)
        except RuntimeError as error:
            raise ValueError(
                f"{self.name} could not compute features of images {tuple(x0.shape[1:])}: {error}; the images may "
                "be too small for this trunk: enlarge them or use trunk='demo' or your own module"
            ) from error
        return AnchoredLPIPS(self, reference)

    def features(self, x: Batch) -> list[Tensor]:
        """Unit-length features of each layer, (batch, channels, positions)."""
        return [_unit(layer.flatten(2))[0] for layer in self.trunk(x)]

    def layer(self, number: int, f: Tensor, unit0: Tensor) -> tuple[Tensor, Tensor]:
        """Return a layer's share of the squared distance, (batch,), and its gradient by the features `f`.

        With u = f/(n + ε) and n = ‖f‖ over the channels, a gradient g by u is (g − f·⟨f, g⟩/(n(n + ε)))/(n + ε)
        by f.
        """
        unit, length, per_length = _unit(f)
        difference = unit.sub_(unit0)
        if self.weights is None:
            slope, energy = difference, difference.square().sum(dim=1)
        else:
            weight = self.weights[number].to(f)[:, None]
            slope = weight * difference
            if self.signed:
                along = slope.sum(dim=1, keepdim=True)
                slope, energy = weight * along, along.square().squeeze(1)
            else:
                energy = (slope * difference).sum(dim=1)
        along = (f * slope).sum(dim=1, keepdim=True)
        along.mul_(per_length).div_(length.clamp_min_(torch.finfo(f.dtype).tiny))
        gradient = slope.addcmul_(f, along, value=-1).mul_(per_length.mul_(2 / f.shape[2]))
        return energy.mean(dim=1), gradient


def _unit(f: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return u = f/(‖f‖ + ε) over the channels of (batch, channels, positions), ‖f‖ and 1/(‖f‖ + ε)."""
    length = f.square().sum(dim=1, keepdim=True).sqrt_()
    per_length = (length + _NORM_GUARD).reciprocal_()
    return f * per_length, length, per_length


@dataclass(frozen=True, eq=False)
class AnchoredLPIPS:
    """LPIPS to fixed originals with features `reference`."""

    distance: LPIPS
    reference: list[Tensor]

    def __call__(self, x: Batch) -> PerSample:
        """Distance of each row of `x` to its original."""
        return differentiable(self, x)

    def value(self, x: Batch) -> PerSample:
        """Distances, without a graph."""
        with torch.no_grad():
            features = [layer.flatten(2) for layer in self.distance.trunk(x)]
            layers = zip(features, self.reference, strict=True)
            total = torch.stack([self.distance.layer(k, f, unit0)[0] for k, (f, unit0) in enumerate(layers)])
            return self._root(total.sum(dim=0)).to(x.dtype)

    def value_and_gradient(self, x: Batch) -> tuple[PerSample, Batch]:
        """Return the distances and their gradients: autograd goes through the trunk alone."""
        return by_parts(self._differentiate, x, few(x, ENTRIES_AT_A_TIME))

    def select(self, rows: Tensor) -> "AnchoredLPIPS":
        """Return the distance to the originals of the given rows."""
        return AnchoredLPIPS(self.distance, [layer[rows] for layer in self.reference])

    def _root(self, total: Tensor) -> Tensor:
        return total.sqrt() if self.distance.root else total

    def _differentiate(self, x: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            features = self.distance.trunk(leaf)
        total, slopes = torch.zeros(len(x), dtype=features[0].dtype, device=x.device), list[Tensor]()
        for number, (f, unit0) in enumerate(zip(features, self.reference, strict=True)):
            energy, slope = self.distance.layer(number, f.detach().flatten(2), unit0[rows])
            total += energy
            slopes.append(slope.view_as(f))
        (gradient,) = torch.autograd.grad(features, leaf, slopes)
        value = self._root(total).to(x.dtype)
        if self.distance.root:
            gradient = gradient * per_sample(torch.where(value > 0, 0.5 / value, 0.0), x)
        return value, gradient


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
    if linear == "none" and linear_weights is not None:
        raise ValueError("linear_weights are of linear='learned' and 'paper', got them with linear='none'")
    weights = None if linear == "none" else learned_weights(network, linear_weights)
    if root not in (None, True, False):
        raise ValueError(f"root must be true or false, got {root!r}")
    usual_root = linear != "learned"
    take_root = usual_root if root is None else root
    marks = [network.name] if linear == "learned" else [network.name, linear]
    marks += [] if take_root == usual_root else ["root" if take_root else "squared"]
    marks += ["own layers"] if layers is not None and isinstance(trunk, str) else []
    return LPIPS(network, weights, signed=linear == "paper", root=take_root, name=f"lpips[{','.join(marks)}]")

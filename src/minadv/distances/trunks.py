"""Feature networks for LPIPS: ImageNet trunks from weight files, the demo network, or any module."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from minadv.errors import unknown


@dataclass(frozen=True)
class ImageNetTrunk:
    """A torchvision network whose `features` LPIPS reads."""

    builder: str
    file: str
    layers: tuple[str, ...]


# After each ReLU block, as in the LPIPS paper.
IMAGENET_TRUNKS = {
    "alex": ImageNetTrunk("alexnet", "alexnet-owt-7be5be79.pth", ("1", "4", "7", "9", "11")),
    "vgg": ImageNetTrunk("vgg16", "vgg16-397923af.pth", ("3", "8", "15", "22", "29")),
    "squeeze": ImageNetTrunk("squeezenet1_1", "squeezenet1_1-b8a52dc0.pth", ("1", "4", "7", "9", "10", "11", "12")),
}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, eq=False)
class Trunk:
    """A module and the names of the submodules whose outputs are the features.

    Attributes:
        learned: which set of the lpips package's learned weights fits, if any.
        channels: channels that the module takes; grey images are repeated to that many. None: left as they are.
    """

    name: str
    module: nn.Module
    layers: tuple[str, ...]
    learned: str | None = None
    channels: int | None = None

    def __call__(self, x: Tensor) -> list[Tensor]:
        """Features (batch, channels, height, width) of each layer, in the module's precision."""
        parameter = next(self.module.parameters(), None)
        if parameter is not None:
            x = x.to(parameter)
        if self.channels is not None and x.shape[1] == 1:
            x = x.expand(-1, self.channels, -1, -1)
        features: list[Tensor] = []
        handles = [
            self.module.get_submodule(layer).register_forward_hook(lambda _m, _i, output: features.append(output))
            for layer in self.layers
        ]
        try:
            self.module(x)
        finally:
            for handle in handles:
                handle.remove()
        return features


def load_trunk(trunk: str | nn.Module, layers: Sequence[str] | None, file: str | Path | None) -> Trunk:
    """Return the trunk of that name, or of a module and its layers."""
    if isinstance(trunk, nn.Module):
        if not layers:
            named = ", ".join(name for name, _ in trunk.named_modules() if name)
            raise ValueError(f"layers must name the feature layers of the trunk; it has: {named}")
        known = dict(trunk.named_modules())
        for layer in layers:
            if layer not in known:
                raise unknown("layer", layer, filter(None, known))
        return Trunk(type(trunk).__name__, trunk.eval(), tuple(layers))
    if trunk == "demo":
        from minadv import models

        return Trunk("demo", models.load("demo"), tuple(layers or ("relu1", "relu2", "relu3", "relu4")), channels=3)
    if trunk not in IMAGENET_TRUNKS:
        raise unknown("trunk", trunk, [*IMAGENET_TRUNKS, "demo"])
    spec = IMAGENET_TRUNKS[trunk]
    return Trunk(trunk, _imagenet(spec, file), tuple(layers or spec.layers), learned=trunk, channels=3)


def learned_weights(trunk: Trunk, file: str | Path | None) -> tuple[Tensor, ...]:
    """Return the learned weights of the lpips package (v0.1), one (channels,) tensor per layer."""
    from minadv.models import weights

    if trunk.learned is None:
        raise ValueError(f"linear='learned' has no weights for the trunk {trunk.name!r}: use linear='none'")
    path = Path(file) if file else _packaged(trunk.learned)
    state = weights.read(path)
    return tuple(state[f"lin{layer}.model.1.weight"].flatten() for layer in range(len(trunk.layers)))


def _packaged(name: str) -> Path:
    """Find the learned weights inside the installed lpips package, without importing it."""
    package = find_spec("lpips")
    if package is None or package.origin is None:
        raise FileNotFoundError(
            f"lpips with linear='learned' needs the learned weights {name}.pth (v0.1), which the package lpips "
            "carries: pip install 'minadv[lpips]', or give the file as linear_weights=, or use linear='none'"
        )
    return Path(package.origin).parent / "weights" / "v0.1" / f"{name}.pth"

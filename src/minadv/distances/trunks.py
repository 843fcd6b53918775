"""Feature networks for LPIPS: ImageNet trunks from weight files, the demo network, or any module."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from minadv.errors import unknown
from minadv.models import search
from minadv.models.wrap import Normalise, frozen
from minadv.models.zoo import IMAGENET_MEAN, IMAGENET_STD


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
    "squeeze": ImageNetTrunk(
        "squeezenet1_1", "squeezenet1_1-b8a52dc0.pth", ("1", "4", "7", "9", "10", "11", "12")
    ),
}


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

    @cached_property
    def _copies(self) -> dict[torch.device, nn.Module]:
        """The module's copies on other devices than its own."""
        return {}

    def __call__(self, x: Tensor) -> list[Tensor]:
        """Features (batch, channels, height, width) of each layer, in the module's precision, where `x` is."""
        module = self._on(x.device)
        parameter = next(module.parameters(), None)
        if parameter is not None:
            x = x.to(parameter.dtype)
        if self.channels is not None and x.shape[1] == 1:
            x = x.expand(-1, self.channels, -1, -1)
        features: list[Tensor] = []

        def collect(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            if output.ndim < 3:
                raise ValueError(
                    f"layers of the trunk must have positions, got an output of {tuple(output.shape)}"
                )
            features.append(output)

        handles = [module.get_submodule(layer).register_forward_hook(collect) for layer in self.layers]
        try:
            module(x)
        finally:
            for handle in handles:
                handle.remove()
        return features

    def _on(self, device: torch.device) -> nn.Module:
        """Return the module on a device: a copy, made once, as the module itself may be used elsewhere."""
        parameter = next(self.module.parameters(), None)
        if parameter is None or parameter.device == device:
            return self.module
        if device not in self._copies:
            with torch.inference_mode(False):  # what is copied in that mode could not be differentiated later
                self._copies[device] = deepcopy(self.module).to(device)
        return self._copies[device]


def load_trunk(trunk: str | nn.Module, layers: Sequence[str] | None, file: str | Path | None) -> Trunk:
    """Return the trunk of that name, or of a module and its layers."""
    layers = layers.split("+") if isinstance(layers, str) else layers  # as in "lpips:layers=relu1+relu2"
    if file is not None and (isinstance(trunk, nn.Module) or trunk == "demo"):
        raise ValueError(f"trunk_weights are of {', '.join(IMAGENET_TRUNKS)}; a module and 'demo' have their own")
    if isinstance(trunk, nn.Module):
        known = [name for name, _ in cast("Iterable[tuple[str, nn.Module]]", trunk.named_modules()) if name]
        if not layers:
            raise ValueError(f"layers must name the feature layers of the trunk; it has: {', '.join(known)}")
        # a copy: the caller's module keeps its mode, and a trunk may be the attacked model itself
        return _checked(Trunk(type(trunk).__name__, _frozen(deepcopy(trunk)), tuple(layers)))
    if trunk == "demo":
        from minadv.models import load
        from minadv.models.architectures.demo import FEATURES

        return _checked(Trunk("demo", load("demo"), tuple(layers or FEATURES), channels=3))
    if trunk not in IMAGENET_TRUNKS:
        raise unknown("trunk", trunk, [*IMAGENET_TRUNKS, "demo"])
    spec = IMAGENET_TRUNKS[trunk]
    named = tuple(layers or (f"features.{layer}" for layer in spec.layers))
    return _checked(Trunk(trunk, _imagenet(spec, file), named, learned=None if layers else trunk, channels=3))


def _checked(trunk: Trunk) -> Trunk:
    """Raise ValueError for a layer that the trunk does not have."""
    modules = cast("Iterable[tuple[str, nn.Module]]", trunk.module.named_modules())
    known = [name for name, _ in modules if name]
    for layer in trunk.layers:
        if layer not in known:
            raise unknown("layer", layer, known)
    return trunk


def learned_weights(trunk: Trunk, file: str | Path | None) -> tuple[Tensor, ...]:
    """Return the learned weights of the lpips package (v0.1), one (channels,) tensor per layer."""
    if trunk.learned is None:
        raise ValueError(
            f"there are no learned weights for the trunk {trunk.name!r} with these layers: use linear='none'"
        )
    path = Path(file) if file else _packaged(trunk.learned)
    state = _read(path)
    names = [f"lin{layer}.model.1.weight" for layer in range(len(trunk.layers))]
    missing = [name for name in names if name not in state]
    if missing:
        raise ValueError(f"{path} has no {missing[0]!r}: it does not hold the learned weights of lpips v0.1")
    return tuple(state[name].flatten() for name in names)


def _read(path: Path) -> dict[str, Tensor]:
    from minadv.models import weights

    return weights.read(path)


def _imagenet(spec: ImageNetTrunk, file: str | Path | None) -> nn.Module:
    """Build the feature layers of a torchvision network from its official weight file."""
    from torchvision import models  # pyright: ignore[reportMissingTypeStubs]

    state = _read(Path(file) if file else _find(spec))
    with torch.device("meta"):  # no random weights, ever
        network: nn.Module = getattr(models, spec.builder)(weights=None).features
    prefix = "features."
    own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)} or state
    try:
        network.load_state_dict(own, assign=True)
    except RuntimeError as error:
        raise ValueError(
            f"{file or spec.file} is not the weight file of torchvision's {spec.builder} ({spec.file}): {error}"
        ) from error
    network = cast("nn.Sequential", network)[: int(spec.layers[-1]) + 1]  # a later pool would refuse small images
    normalised = nn.Sequential(OrderedDict(normalise=Normalise(IMAGENET_MEAN, IMAGENET_STD), features=network))
    return _frozen(normalised)


def _frozen(module: nn.Module) -> nn.Module:
    """Freeze a module, in evaluation mode, with nothing in place (that would overwrite collected features)."""
    for part in module.modules():
        if hasattr(part, "inplace"):
            part.__dict__["inplace"] = False
    return frozen(module)


def _find(spec: ImageNetTrunk) -> Path:
    """Find the weight file of a trunk in the model folders and in torch's own cache."""
    hub = Path(torch.hub.get_dir()) / "checkpoints"
    folders = [*search.folders(), hub]
    found = next((folder / spec.file for folder in folders if (folder / spec.file).is_file()), None)
    if found is None:
        places = ", ".join(str(folder.absolute()) for folder in folders)
        raise FileNotFoundError(
            f"lpips needs the ImageNet weights {spec.file} of torchvision's {spec.builder}: download "
            f"https://download.pytorch.org/models/{spec.file} and put it in one of {places}, or give the file as "
            "trunk_weights=; trunk='demo' works without a download"
        )
    return found


def _packaged(name: str) -> Path:
    """Find the learned weights inside the installed lpips package, without importing it."""
    package = find_spec("lpips")
    if package is None or package.origin is None:
        raise FileNotFoundError(
            f"lpips with linear='learned' needs the learned weights {name}.pth (v0.1), which the package lpips "
            "carries: pip install 'minadv[lpips]', or give the file as linear_weights=, or use linear='none'"
        )
    return Path(package.origin).parent / "weights" / "v0.1" / f"{name}.pth"

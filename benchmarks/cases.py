"""Models and batches that are measured: public robust CIFAR-10 models, and a ResNet-50."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

import minadv
from benchmarks import targets

CIFAR, CNN, RESNET50 = "cifar_resnet4b", "cifar_cnn_a_adv", "ResNet-50 at 224×224"
BATCHES = {CIFAR: 128, CNN: 128, RESNET50: 4}


@dataclass(frozen=True)
class Case:
    """A model and a batch of images, of which it says `labels`; `note` is what they are."""

    name: str
    model: nn.Module
    inputs: Tensor
    labels: Tensor
    note: str

    @property
    def bytes(self) -> int:
        return self.inputs.numel() * self.inputs.element_size()

    def first(self, count: int) -> "Case":
        return replace(self, inputs=self.inputs[:count], labels=self.labels[:count])

    def __str__(self) -> str:
        return f"{self.name}, {len(self.inputs)}"


def load(name: str, count: int | None = None, folder: Path = targets.SHARED) -> Case:
    """Return a model by one of the names above, frozen, with `count` images."""
    count = count or BATCHES[name]
    return _resnet50(count, folder) if name == RESNET50 else _cifar(name, count, folder)


def _cifar(name: str, count: int, folder: Path) -> Case:
    if (folder / f"{name}.safetensors").is_file():
        model, inputs, labels = targets.load(name, folder, count, targets.FILES[CIFAR])
        return Case(name, model.requires_grad_(False), inputs, labels, "trained; photographs")
    model = minadv.models.load(f"zoo:{name}@random").requires_grad_(False)
    inputs = _noise(count, 32)
    return Case(name, model, inputs, _predicted(model, inputs), f"random weights and noise, as {folder} is absent")


def _resnet50(count: int, folder: Path) -> Case:
    file, note = folder / "imagenet_like_16.npz", "random weights; photographs"
    if file.is_file():
        inputs, _ = minadv.data.load(f"npz:{file}").tensors(limit=count)
    else:
        inputs, note = _noise(count, 224), "random weights; noise"
    model = minadv.models.load("torchvision:resnet50@random").requires_grad_(False)
    return Case(RESNET50, model, inputs, _predicted(model, inputs), note)


def _noise(count: int, side: int) -> Tensor:
    return torch.rand((count, 3, side, side), generator=torch.Generator().manual_seed(0))


def _predicted(model: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return model(inputs).argmax(dim=1)

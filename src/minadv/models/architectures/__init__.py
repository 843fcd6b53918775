"""Networks by name, untrained; the names are what `file:ARCHITECTURE@...` and the zoo's table use."""

from collections.abc import Callable

from torch import nn

from minadv.models.architectures.demo import DemoNet
from minadv.models.architectures.resnets import CifarResNet50, ResNet4b
from minadv.models.architectures.small import cifar_cnn_a, crown_ibp_large, lenet5, mnist_convex, smallcnn
from minadv.models.architectures.wide import WideResNet


def resnet50() -> nn.Module:
    """Build torchvision's network for ImageNet."""
    # torchvision imports the compiler, which takes as long as torch itself
    from torchvision import models

    return models.resnet50()


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "demo": DemoNet,
    "lenet5": lenet5,
    "mnist_convex": mnist_convex,
    "smallcnn": smallcnn,
    "crown_ibp_large": crown_ibp_large,
    "resnet4b": ResNet4b,
    "cifar_cnn_a": cifar_cnn_a,
    "cifar_resnet50": CifarResNet50,
    "wrn28_10": WideResNet,
    "resnet50": resnet50,
}

"""Residual networks for 32×32 colour images, under the tensor names of their published weights."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, relu

Features = Float[Tensor, "batch _ _ _"]
Logits = Float[Tensor, "batch classes"]


class PlainBlock(nn.Module):
    """relu(conv2(relu(conv1(x))) + shortcut(x)), with biases and no batch normalisation."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        changes = stride != 1 or before != after
        self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride=stride)) if changes else nn.Sequential()

    def forward(self, x: Features) -> Features:
        """Add the block's correction."""
        return relu(self.conv2(relu(self.conv1(x))) + self.shortcut(x))


class ResNet4b(nn.Module):
    """ResNet-4B of the verification benchmarks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.layer1 = nn.Sequential(PlainBlock(16, 32, 2), PlainBlock(32, 32, 1))
        self.layer2 = nn.Sequential(PlainBlock(32, 32, 2), PlainBlock(32, 32, 1))
        self.linear1 = nn.Linear(4 * 4 * 32, 100)
        self.linear2 = nn.Linear(100, 10)

    def forward(self, x: Float[Tensor, "batch 3 32 32"]) -> Logits:
        """Give the logits."""
        features = self.layer2(self.layer1(relu(self.conv1(x))))
        return self.linear2(relu(self.linear1(features.flatten(1))))


class Bottleneck(nn.Module):
    """The bottleneck block of He et al. (2016), four times as wide outside as inside."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        after = 4 * width
        self.conv1 = nn.Conv2d(before, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, after, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(after)
        changes = stride != 1 or before != after
        self.shortcut = (
            nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after))
            if changes
            else nn.Sequential()
        )

    def forward(self, x: Features) -> Features:
        """Add the block's correction."""
        inside = relu(self.bn2(self.conv2(relu(self.bn1(self.conv1(x))))))
        return relu(self.bn3(self.conv3(inside)) + self.shortcut(x))


class CifarResNet50(nn.Module):
    """ResNet-50 with a 3×3 stem and no max-pooling, as RobustBench builds it for CIFAR-10."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = _stage(64, 64, 3, 1)
        self.layer2 = _stage(256, 128, 4, 2)
        self.layer3 = _stage(512, 256, 6, 2)
        self.layer4 = _stage(1024, 512, 3, 2)
        self.linear = nn.Linear(2048, 10)

    def forward(self, x: Float[Tensor, "batch 3 32 32"]) -> Logits:
        """Give the logits."""
        features = relu(self.bn1(self.conv1(x)))
        features = self.layer4(self.layer3(self.layer2(self.layer1(features))))
        return self.linear(avg_pool2d(features, 4).flatten(1))


def _stage(before: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    first = Bottleneck(before, width, stride)
    return nn.Sequential(first, *(Bottleneck(4 * width, width, 1) for _ in range(blocks - 1)))

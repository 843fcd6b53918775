"""Wide residual networks with pre-activation, under the tensor names of RobustBench's weights."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, relu

Features = Float[Tensor, "batch _ _ _"]


class Block(nn.Module):
    """Batch normalisation and ReLU before each convolution, a shortcut's where the width changes as well."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(before)
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.convShortcut = None if before == after else nn.Conv2d(before, after, 1, stride=stride, bias=False)

    def forward(self, x: Features) -> Features:
        """Add the block's correction."""
        active = relu(self.bn1(x))
        correction = self.conv2(relu(self.bn2(self.conv1(active))))
        return correction + (x if self.convShortcut is None else self.convShortcut(active))


class Stage(nn.Module):
    """Blocks in a row, the first of which changes width and stride."""

    def __init__(self, blocks: int, before: int, after: int, stride: int) -> None:
        super().__init__()
        first = Block(before, after, stride)
        self.layer = nn.Sequential(first, *(Block(after, after, 1) for _ in range(blocks - 1)))

    def forward(self, x: Features) -> Features:
        """Run the blocks."""
        return self.layer(x)


class WideResNet(nn.Module):
    """WRN-depth-width for 32×32 colour images (Zagoruyko & Komodakis, 2016); takes inputs as they are."""

    def __init__(self, depth: int = 28, width: int = 10, classes: int = 10) -> None:
        super().__init__()
        if depth % 6 != 4:
            raise ValueError(f"depth must be 6n + 4, got {depth}")
        blocks = (depth - 4) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.block1 = Stage(blocks, 16, 16 * width, 1)
        self.block2 = Stage(blocks, 16 * width, 32 * width, 2)
        self.block3 = Stage(blocks, 32 * width, 64 * width, 2)
        self.bn1 = nn.BatchNorm2d(64 * width)
        self.fc = nn.Linear(64 * width, classes)

    def forward(self, x: Float[Tensor, "batch 3 32 32"]) -> Float[Tensor, "batch classes"]:
        """Give the logits."""
        features = self.block3(self.block2(self.block1(self.conv1(x))))
        return self.fc(avg_pool2d(relu(self.bn1(features)), 8).flatten(1))

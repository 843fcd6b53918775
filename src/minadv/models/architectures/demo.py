"""The demo network: four convolutions, small enough to be shipped inside the package."""

from jaxtyping import Float
from torch import Tensor, nn

from minadv.models.wrap import Normalise

FEATURES = ("relu1", "relu2", "relu3", "relu4")


class DemoNet(nn.Module):
    """Four 3×3 convolutions with ReLU, the mean over positions, a linear layer; 160 thousand parameters.

    Colour inputs in [0, 1], of any size (it is trained on 32×32); the normalisation is inside. No batch
    normalisation, dropout or max-pooling: apart from its ReLUs it is smooth.

    `FEATURES` names the layers that are good features for LPIPS, each a sub-module of its own
    (`get_submodule`): for 32×32 inputs `relu1` gives 32×32×32, `relu2` 64×16×16, `relu3` and `relu4` 96×8×8.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.normalise = Normalise((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
        self.conv1 = nn.Conv2d(3, 32, 3, padding=1)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(32, 64, 3, stride=2, padding=1)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(64, 96, 3, stride=2, padding=1)
        self.relu3 = nn.ReLU()
        self.conv4 = nn.Conv2d(96, 96, 3, padding=1)
        self.relu4 = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(96, classes)

    def forward(self, inputs: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes"]:
        """Give the logits."""
        features = self.relu1(self.conv1(self.normalise(inputs)))
        features = self.relu2(self.conv2(features))
        features = self.relu3(self.conv3(features))
        features = self.relu4(self.conv4(features))
        return self.linear(self.flatten(self.pool(features)))

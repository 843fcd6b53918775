"""Models whose gradients vanish, everywhere or where searches begin: Auto finds its way by other directions."""

import pytest
import torch
from torch import Tensor, nn

from minadv import Auto
from tests.networks import generator, linear, predictions

pytestmark = pytest.mark.filterwarnings("ignore:.*(gradient|probabilities).*:UserWarning")


def attacked(classes: int = 10) -> tuple[nn.Module, Tensor, Tensor]:
    """A linear model, and twenty images in the middle of the box."""
    network = linear(40, classes).requires_grad_(False)
    inputs = 0.35 + 0.3 * torch.rand(20, 40, generator=generator(3))
    return network, inputs, predictions(network, inputs)


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


class Rounded(nn.Module):
    """To 8 bits, without a gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return (255 * x).round() / 255 + 0 * x


@pytest.mark.parametrize("distance", ["l0", "l1", "l2", "linf"])
def test_saturated_probabilities_are_no_obstacle(distance: str) -> None:
    """They are 1 and 0 in float32, and without a gradient, but near the boundary."""
    network, inputs, labels = attacked()
    plain = Auto(distance=distance, budget=300)(network, inputs, labels)
    found = Auto(distance=distance, budget=300)(
        nn.Sequential(network, Times(300), nn.Softmax(dim=1)).eval(), inputs, labels
    )
    assert found.success.all()
    assert (found.distances / plain.distances).median() < 1.1


@pytest.mark.parametrize("distance", ["l0", "l1", "l2", "linf"])
def test_rounded_inputs_are_reached_by_other_directions(distance: str) -> None:
    """Each exploration takes another direction, and refinements search along it."""
    network, inputs, labels = attacked()
    plain = Auto(distance=distance, budget=300)(network, inputs, labels)
    found = Auto(distance=distance, budget=300)(nn.Sequential(Rounded(), network).eval(), inputs, labels)
    assert found.success.all()
    assert (found.distances / plain.distances).median() < 4.5

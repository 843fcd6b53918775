"""The trust region attack, whatever the scale of a model's logits."""

import pytest
import torch
from torch import Tensor, nn

from minadv import TrustRegion
from tests.networks import generator, linear, predictions


class Scaled(nn.Module):
    def __init__(self, network: nn.Module, factor: float) -> None:
        super().__init__()
        self.network, self.factor = network, factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.network(x)


@pytest.mark.parametrize("distance", ["l2", "linf"])
@pytest.mark.parametrize("factor", [0.01, 100])
def test_steps_do_not_depend_on_the_scale_of_logits(distance: str, factor: float) -> None:
    network = linear(200).requires_grad_(False)
    inputs = torch.rand(12, 200, generator=generator(1))
    labels = predictions(network, inputs)
    attack = TrustRegion(distance=distance, confidence=0)
    usual, other = attack(network, inputs, labels), attack(Scaled(network, factor).eval(), inputs, labels)
    assert usual.success.all()
    torch.testing.assert_close(other.distances, usual.distances, rtol=1e-3, atol=0)
    assert torch.equal(other.backwards, usual.backwards)


@pytest.mark.filterwarnings("ignore:a clean image is .* logits from the boundary")
def test_as_published_they_do() -> None:
    network = Scaled(linear(200).requires_grad_(False), 0.01).eval()
    inputs = torch.rand(12, 200, generator=generator(1))
    found = TrustRegion.paper("l2")(network, inputs, predictions(network, inputs))
    assert TrustRegion.paper("l2").expected == "label"
    assert found.success.sum() < 6

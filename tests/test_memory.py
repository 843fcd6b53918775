"""Peak memory: at most the model's own forward and backward pass plus 12 tensors of the input's size."""

import pytest
import torch
from benchmarks.memory import peak

from minadv import ALMA
from tests.networks import convolutional, images, predictions


def test_the_meter_itself() -> None:
    def two_then_one() -> torch.Tensor:
        a = torch.zeros(1000)
        b = a + 1
        del a
        return b * 2

    assert peak(two_then_one) == 2 * 4000


@pytest.mark.parametrize("distance", ["l0", "l1", "l2", "linf", "ssim", "ciede2000"])
def test_an_attack_adds_at_most_twelve_inputs(distance: str) -> None:
    model, x = convolutional(), images(512)
    labels = predictions(model, x)
    model.requires_grad_(False)

    def bare() -> None:
        leaf = x.clone().requires_grad_()
        torch.autograd.grad(model(leaf).sum(), leaf)

    extra = peak(lambda: ALMA(distance=distance, steps=12)(model, x, labels)) - peak(bare)
    assert extra <= 12 * x.numel() * x.element_size()

"""Peak memory: at most the model's own forward and backward pass plus 12 tensors of the input's size."""

import pytest
import torch
from benchmarks.memory import peak

from minadv import ALMA, distances
from tests.networks import convolutional, images, predictions


def test_the_meter_itself() -> None:
    def two_then_one() -> torch.Tensor:
        a = torch.zeros(1000)
        b = a + 1
        del a
        return b * 2

    assert peak(two_then_one) == 2 * 4000


OWN = "python:benchmarks.frontier.distances:differences"


@pytest.mark.parametrize("distance", ["l0", "l1", "l2", "linf", "ssim", "ciede2000", OWN])
def test_an_attack_adds_at_most_twelve_inputs(distance: str) -> None:
    model, x = convolutional(), images(512)
    labels = predictions(model, x)
    model.requires_grad_(False)

    def bare() -> None:
        leaf = x.clone().requires_grad_()
        torch.autograd.grad(model(leaf).sum(), leaf)

    extra = peak(lambda: ALMA(distance=distance, steps=12)(model, x, labels)) - peak(bare)
    assert extra <= 12 * x.numel() * x.element_size()


def test_a_users_function_is_differentiated_a_part_at_a_time() -> None:
    """Autograd keeps thirty tensors of it, but never of the whole batch."""

    def deep(x: torch.Tensor, x0: torch.Tensor) -> torch.Tensor:
        for _ in range(30):
            x = x.sin()
        return (x - x0).square().flatten(1).sum(dim=1)

    def taken(count: int) -> int:
        x = images(count, side=32)
        anchored = distances.resolve(deep).anchored(x)
        return peak(lambda: anchored.value_and_gradient(x))

    one = images(1, side=32).numel() * 4
    assert taken(64) > 64 * 30 * one
    assert taken(512) < taken(64) + 85 * 8 * one + 512 * 3 * one

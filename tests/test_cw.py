"""C&W: where it begins in tanh space, and the range of its constants."""

import pytest
import torch

from minadv import CW
from minadv.attacks.tanh import TanhSpace
from tests.networks import images, linear, predictions


def test_only_black_and_white_begin_inside() -> None:
    x0 = torch.cat((torch.tensor([0.0, 1.0, 0.004, 0.996]), torch.linspace(0.006, 0.994, 60))).reshape(1, 1, 8, 8)
    begun = (TanhSpace.around(x0, shrink=0.01).t + 1) / 2
    torch.testing.assert_close(begun, x0.clamp(0.005, 0.995), rtol=0, atol=1e-6)


def test_as_published_every_colour_begins_inside() -> None:
    x0 = torch.cat((images(2), images(2).round()))
    assert torch.equal(TanhSpace.around(x0, shrink=1e-6).t, (2 * x0 - 1) * (1 - 1e-6))


def test_large_images_of_all_colours_move_no_farther_than_they_must() -> None:
    """The start of 12288 entries, all one per cent nearer to grey, would be as far away as the boundary is."""
    model = linear(3 * 64 * 64)
    x = 0.5 + 0.9 * (images(4, side=64) - 0.5)
    labels = predictions(model, x)
    ours, published = (CW(steps=100, searches=6, shrink=shrink)(model, x, labels) for shrink in (0.01, 1e-6))
    assert ours.success.all()
    torch.testing.assert_close(ours.distances, published.distances, rtol=0.05, atol=0)


def test_weights_that_overflow_are_refused() -> None:
    with pytest.raises(ValueError, match=r"c must be > 0 and at most 1e\+10, got 1e\+20"):
        CW(c=1e20)
    with pytest.raises(ValueError, match="c must be > 0"):
        CW(c=0)
    assert CW(c=1e10).c == 1e10

"""Distances that are filters are told from others, and equal steps in their coordinates cost alike."""

from collections.abc import Callable

import pytest
import torch
from benchmarks.frontier.distances import differences
from torch import Tensor

from minadv.attacks.auto.coordinates import coordinates
from minadv.attacks.auto.nearest import ByMetric
from minadv.attacks.auto.shaped import Shaped, filtered, shape
from minadv.distances import resolve
from tests.networks import generator, images

SIDE = 12
UNITS = 0.5 + torch.rand(1, 2, SIDE, SIDE, generator=generator(9)).double()
WEIGHTS = 1 + torch.arange(2 * SIDE * SIDE).reshape(2, SIDE, SIDE).double() % 7


def root(x: Tensor) -> Tensor:
    return (x.flatten(1).square().sum(dim=1) + 1e-24).sqrt()


def plain(x: Tensor, x0: Tensor) -> Tensor:
    return root(x - x0)


def weighted(x: Tensor, x0: Tensor) -> Tensor:
    return root(WEIGHTS * (x - x0))


def squared(x: Tensor, x0: Tensor) -> Tensor:
    return (WEIGHTS * (x - x0)).flatten(1).square().sum(dim=1)


def response() -> Tensor:
    """Of a filter that passes coarse changes, (height, frequencies)."""
    down, across = torch.fft.fftfreq(SIDE).double(), torch.fft.rfftfreq(SIDE).double()
    return 1 / (0.3 + 4 * (down[:, None].square() + across.square()))


def coarse(x: Tensor, x0: Tensor) -> Tensor:
    return root(filtered(x - x0, response()))


def originals(black: bool) -> Tensor:
    """Images inside the box, or black ones with a few grey entries, where every move has to be inwards."""
    inside = 0.2 + 0.6 * torch.rand(3, 2, SIDE, SIDE, generator=generator(1)).double()
    return torch.where(torch.rand(inside.shape, generator=generator(2)) < 0.2, inside, 0.0) if black else inside


def seen(own: Callable[..., Tensor] | str, x0: Tensor) -> Shaped:
    return shape(x0, resolve(own).anchored(x0), UNITS.expand_as(x0))


@pytest.mark.parametrize("black", [False, True])
@pytest.mark.parametrize("own", [plain, weighted, squared, "ssim"])
def test_what_is_no_filter_steps_in_units(own: Callable[..., Tensor] | str, black: bool) -> None:
    x0, u = originals(black), torch.randn(3, 2, SIDE, SIDE, generator=generator(3)).double()
    found = seen(own, x0)
    assert not found.smooth.any()
    torch.testing.assert_close(found.step(u.clone()), UNITS * u)
    torch.testing.assert_close(found.slope(u.clone()), UNITS * u)
    torch.testing.assert_close(found.of(u.clone()), u / UNITS)
    assert torch.equal(found.plainly().step(u.clone()), u)


@pytest.mark.parametrize("black", [False, True])
def test_filters_are_found(black: bool) -> None:
    found = seen(coarse, originals(black))
    assert found.smooth.all()
    assert found.gain is not None
    ratio = (found.gain * response()).flatten(1)
    ratio /= ratio.mean(dim=1, keepdim=True)
    # of a response that spans a factor of eight, seen as means over neighbours
    torch.testing.assert_close(ratio, torch.ones_like(ratio), rtol=0.25, atol=0)


@pytest.mark.parametrize("black", [False, True])
def test_neighbours_differences_are_a_filter_though_the_border_is_none(black: bool) -> None:
    found = seen(differences, originals(black))
    assert found.smooth.all()
    assert found.gain is not None
    assert (found.gain[:, 0, 0, 0] > 2 * found.gain[:, 0, SIDE // 2, -1]).all()


def test_equal_steps_cost_alike() -> None:
    x0 = originals(False)
    found = seen(coarse, x0)
    u, h = (torch.randn(x0.shape, generator=generator(seed)).double() for seed in (3, 4))
    smooth = filtered(h, response() ** 2)
    costs = [coarse(x0 + found.step(each / root(each)[:, None, None, None]), x0) for each in (u, smooth)]
    torch.testing.assert_close(*costs, rtol=0.2, atol=0)
    torch.testing.assert_close(found.of(found.step(u.clone())), u)
    along, across = (h * found.step(u.clone())).flatten(1).sum(1), (found.slope(h.clone()) * u).flatten(1).sum(1)
    torch.testing.assert_close(along, across)


def test_rows_can_be_left_out() -> None:
    x0, u = originals(False), torch.randn(3, 2, SIDE, SIDE, generator=generator(3)).double()
    for own in (weighted, coarse):
        found = seen(own, x0)
        some = found.without(torch.tensor([True, False, True])).step(u.clone())
        assert torch.equal(some[[0, 2]], u[[0, 2]])
        assert torch.equal(some[1], found.step(u.clone())[1])


@pytest.mark.parametrize("own", [weighted, coarse, differences])
def test_rows_are_independent(own: Callable[..., Tensor]) -> None:
    x0, u = originals(True), torch.randn(3, 2, SIDE, SIDE, generator=generator(3)).double()
    whole = seen(own, x0).step(u.clone())
    for row in range(3):
        alone = seen(own, x0[row : row + 1]).step(u[row : row + 1].clone())
        torch.testing.assert_close(alone[0], whole[row], rtol=1e-12, atol=1e-14)


def test_vectors_and_small_images_have_no_frequencies() -> None:
    for x0 in (torch.rand(2, 30, generator=generator(1)), images(2, side=3)):
        distance = resolve(plain).anchored(x0)
        metric = ByMetric(x0, distance)
        ((whole, second),) = coordinates((("shape", "filter"),), x0, distance, metric)
        assert isinstance(whole, Shaped)
        assert isinstance(second, Shaped)
        assert whole.gain is None
        assert torch.equal(second.step(x0.clone()), x0)


def test_signals_and_volumes_have_frequencies_too() -> None:
    for sides in ((40,), (7, 6, 6), (6, 6, 7)):
        x0 = 0.2 + 0.6 * torch.rand(2, 2, *sides, generator=generator(1)).double()

        def steps(x: Tensor, x0: Tensor) -> Tensor:
            delta = x - x0
            return root(torch.cat((delta.diff(dim=2).flatten(1), 0.1 * delta.flatten(1)), dim=1))

        found = shape(x0, resolve(steps).anchored(x0), torch.ones_like(x0))
        assert found.smooth.all()
        u = torch.randn(x0.shape, generator=generator(3)).double()
        torch.testing.assert_close(found.of(found.step(u.clone())), u)

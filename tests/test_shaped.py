"""What a distance looks like from its originals: entries that weigh, or a filter, told apart and found again."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from minadv.attacks.coordinates import coordinates
from minadv.attacks.nearest import ByMetric
from minadv.attacks.shaped import Shaped, filtered, shape
from minadv.distances import resolve
from tests.networks import generator, images

SIDE = 12
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


def differences(x: Tensor, x0: Tensor) -> Tensor:
    delta = x - x0
    parts = (delta.diff(dim=-1), delta.diff(dim=-2), 0.3 * delta)
    return root(torch.cat([part.flatten(1) for part in parts], dim=1))


def originals(black: bool) -> Tensor:
    """Images inside the box, or black ones with a few grey entries, where every move has to be inwards."""
    inside = 0.2 + 0.6 * torch.rand(3, 2, SIDE, SIDE, generator=generator(1)).double()
    return torch.where(torch.rand(inside.shape, generator=generator(2)) < 0.2, inside, 0.0) if black else inside


@pytest.mark.parametrize("black", [False, True])
@pytest.mark.parametrize("own", [weighted, squared])
def test_weights_of_entries_are_found(own: Callable[..., Tensor], black: bool) -> None:
    found = shape(originals(black), resolve(own).anchored(originals(black)))
    assert not found.smooth.any()
    free = 1 / WEIGHTS
    expected = (free / free.square().mean().sqrt()).expand_as(found.units)
    torch.testing.assert_close(found.units, expected, rtol=0.05, atol=0)


@pytest.mark.parametrize("black", [False, True])
def test_filters_are_found(black: bool) -> None:
    x0 = originals(black)
    found = shape(x0, resolve(coarse).anchored(x0))
    assert found.smooth.all()
    assert (found.units == 1).all()
    assert found.gain is not None
    ratio = (found.gain * response()).flatten(1)
    ratio /= ratio.mean(dim=1, keepdim=True)
    # of a response that spans a factor of eight, seen as means over neighbours
    torch.testing.assert_close(ratio, torch.ones_like(ratio), rtol=0.25, atol=0)


@pytest.mark.parametrize("black", [False, True])
def test_neighbours_differences_are_a_filter_though_the_border_is_none(black: bool) -> None:
    x0 = originals(black)
    found = shape(x0, resolve(differences).anchored(x0))
    assert found.smooth.all()
    assert found.gain is not None
    assert (found.gain[:, 0, 0, 0] > 2 * found.gain[:, 0, SIDE // 2, -1]).all()


def test_what_is_neither_is_left_as_it_is() -> None:
    x0 = originals(False)
    found = shape(x0, resolve(plain).anchored(x0))
    torch.testing.assert_close(found.step(x0.clone()), x0, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("own", [weighted, coarse])
def test_equal_steps_cost_alike(own: Callable[..., Tensor]) -> None:
    x0 = originals(False)
    found = shape(x0, resolve(own).anchored(x0))
    u, h = (torch.randn(x0.shape, generator=generator(seed)).double() for seed in (3, 4))
    u, smooth = u / root(u)[:, None, None, None], filtered(h, response() ** 2)
    smooth = smooth / root(smooth)[:, None, None, None]
    fine, coarser = (own(x0 + found.step(each.clone()), x0) for each in (u, smooth))
    torch.testing.assert_close(fine, coarser, rtol=0.2, atol=0)
    torch.testing.assert_close(found.of(found.step(u.clone())), u)
    along, across = (h * found.step(u.clone())).flatten(1).sum(1), (found.slope(h.clone()) * u).flatten(1).sum(1)
    torch.testing.assert_close(along, across)


def test_one_of_both_is_to_be_had_alone_and_rows_can_be_left_out() -> None:
    x0, u = originals(False), torch.randn(3, 2, SIDE, SIDE, generator=generator(3)).double()
    for own, kept in ((weighted, Shaped.diagonal), (coarse, Shaped.filter)):
        found = shape(x0, resolve(own).anchored(x0))
        other = Shaped.filter if kept is Shaped.diagonal else Shaped.diagonal
        assert torch.equal(kept(found).step(u.clone()), found.step(u.clone()))
        assert torch.equal(other(found).step(u.clone()), u)
        some = found.without(torch.tensor([True, False, True])).step(u.clone())
        assert torch.equal(some[[0, 2]], u[[0, 2]])
        assert torch.equal(some[1], found.step(u.clone())[1])


@pytest.mark.parametrize("own", [weighted, coarse, differences])
def test_rows_are_independent(own: Callable[..., Tensor]) -> None:
    x0, u = originals(True), torch.randn(3, 2, SIDE, SIDE, generator=generator(3)).double()
    whole = shape(x0, resolve(own).anchored(x0)).step(u.clone())
    for row in range(3):
        alone = x0[row : row + 1]
        found = shape(alone, resolve(own).anchored(alone)).step(u[row : row + 1].clone())
        torch.testing.assert_close(found[0], whole[row], rtol=1e-12, atol=1e-14)


def test_vectors_and_small_images_have_no_frequencies() -> None:
    for x0 in (torch.rand(2, 30, generator=generator(1)), images(2, side=3)):
        found = shape(x0, resolve(plain).anchored(x0))
        assert found.gain is None
        metric = ByMetric(x0, resolve(plain).anchored(x0))
        whole, units, only = coordinates(("shape", "diagonal", "filter"), x0, resolve(plain).anchored(x0), metric)
        assert isinstance(whole, Shaped)
        assert isinstance(units, Shaped)
        assert isinstance(only, Shaped)
        assert torch.equal(only.step(x0.clone()), x0)


def test_signals_and_volumes_have_frequencies_too() -> None:
    for sides in ((40,), (6, 6, 6)):
        x0 = 0.2 + 0.6 * torch.rand(2, 2, *sides, generator=generator(1)).double()

        def steps(x: Tensor, x0: Tensor) -> Tensor:
            delta = x - x0
            return root(torch.cat((delta.diff(dim=2).flatten(1), 0.1 * delta.flatten(1)), dim=1))

        found = shape(x0, resolve(steps).anchored(x0))
        assert found.smooth.all()
        u = torch.randn(x0.shape, generator=generator(3)).double()
        torch.testing.assert_close(found.of(found.step(u.clone())), u)

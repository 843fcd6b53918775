import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minadv import penalties
from minadv.penalties import P1, P2, P3, PHR

POSITIVE = st.floats(0.05, 20)
NAMES = list(penalties.ALL)


def by_the_seed(name: str, y: float, rho: float, mu: float) -> float:
    """Equations 19–22, one Python float at a time."""
    if name == "PHR":
        return (max(0.0, mu + rho * y) ** 2 - mu**2) / (2 * rho)
    if name == "P1":
        if y >= 0:
            return mu * y + rho * y**2 / 2 + rho**2 * y**3
        return mu * y + rho * y**2 / 2 if y >= -mu / rho else -(mu**2) / (2 * rho)
    if y <= 0:
        return mu * y / (1 - rho * y)
    return mu * y + mu * rho * y**2 + (rho**2 * y**3 / 6 if name == "P2" else 0.0)


def call(name: str, y: float, rho: float, mu: float) -> tuple[float, float, float]:
    """P, its closed-form derivative, and autograd's."""
    penalty = penalties.get(name)
    leaf = torch.tensor([y], dtype=torch.float64, requires_grad=True)
    weights = (torch.tensor([rho], dtype=torch.float64), torch.tensor([mu], dtype=torch.float64))
    value = penalty(leaf, *weights)
    (slope,) = torch.autograd.grad(value.sum(), leaf)
    return value.item(), penalty.derivative(leaf.detach(), *weights).item(), slope.item()


@pytest.mark.parametrize("name", NAMES)
@given(y=st.floats(-10, 10), rho=POSITIVE, mu=POSITIVE)
def test_value_and_derivative(name: str, y: float, rho: float, mu: float) -> None:
    value, derivative, slope = call(name, y, rho, mu)
    expected = by_the_seed(name, y, rho, mu)
    assert value == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert derivative == pytest.approx(slope, rel=1e-9, abs=1e-12)
    step = 1e-6 * max(1.0, abs(y))
    difference = (by_the_seed(name, y + step, rho, mu) - by_the_seed(name, y - step, rho, mu)) / (2 * step)
    assert derivative == pytest.approx(difference, rel=1e-3, abs=1e-3 * max(1.0, rho**2))


@pytest.mark.parametrize("name", NAMES)
@given(rho=POSITIVE, mu=POSITIVE)
def test_zero_is_a_fixed_point_with_slope_mu(name: str, rho: float, mu: float) -> None:
    value, derivative, slope = call(name, 0.0, rho, mu)
    assert value == 0
    assert derivative == pytest.approx(mu)
    assert slope == pytest.approx(mu)


@pytest.mark.parametrize("name", NAMES)
def test_penalties_increase_and_stay_finite_at_extremes(name: str) -> None:
    y = torch.linspace(-1e4, 1e4, 2001, dtype=torch.float64)
    penalty = penalties.get(name)
    values, slopes = penalty(y, 1e6, 1e-6), penalty.derivative(y, 1e6, 1e-6)
    assert values.isfinite().all()
    assert slopes.isfinite().all()
    assert (slopes >= 0).all()
    assert (values.diff() >= -1e-12).all()
    if name in ("P2", "P3"):
        assert (slopes > 0).all()


def test_plain_numbers_are_weights_too() -> None:
    y = torch.tensor([-0.5, 0.5])
    for penalty in (PHR, P1, P2, P3):
        torch.testing.assert_close(penalty(y, 2.0, 0.5), penalty(y, torch.tensor(2.0), torch.tensor(0.5)))


def test_unknown_penalty_suggests() -> None:
    with pytest.raises(ValueError, match="unknown penalty 'PH1'; did you mean 'P"):
        penalties.get("PH1")
    assert math.isclose(penalties.get("p2")(torch.tensor([1.0]), 1.0, 1.0).item(), 2 + 1 / 6, rel_tol=1e-6)

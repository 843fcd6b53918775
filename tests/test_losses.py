"""Losses of logits against values by hand, and their gradients."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minadv import losses
from minadv.goals import Targeted, Untargeted
from tests.networks import generator

LOGITS = hnp.arrays("float64", (3, 6), elements=st.floats(-50, 50))
CLASS = st.lists(st.integers(0, 5), min_size=3, max_size=3)


def test_values_by_hand() -> None:
    z = torch.tensor([[3.0, 1.0, 0.0, -2.0]])
    label, target = torch.tensor([0]), torch.tensor([2])
    assert losses.margin(z, label).item() == pytest.approx(2.0)
    assert losses.margin(z, torch.tensor([1])).item() == pytest.approx(-2.0)
    assert losses.targeted_margin(z, target).item() == pytest.approx(3.0)
    assert losses.dlr_plus(z, label).item() == pytest.approx(2 / 3)
    assert losses.targeted_dlr_plus(z, target).item() == pytest.approx(3 / (3 - (0 - 2) / 2))
    assert losses.cross_entropy(z, label).item() == pytest.approx(-torch.log_softmax(z, 1)[0, 0].item())


@given(LOGITS, CLASS)
def test_losses_are_negative_exactly_when_the_goal_is_met(values: object, classes: list[int]) -> None:
    z, c = torch.as_tensor(values), torch.tensor(classes)
    others = z.scatter(1, c[:, None], -torch.inf).amax(dim=1)
    mine = z.gather(1, c[:, None])[:, 0]
    for goal, met in ((Untargeted(c), mine < others), (Targeted(c), mine > others)):
        for g in (goal.margin(z), goal.constraint(z, "dlr"), goal.constraint(z, "margin")):
            assert torch.equal(g < 0, met)
        # the tolerance works in the same direction for both goals: it makes success harder
        assert (goal.margin(z, 0.5) == goal.margin(z) + 0.5).all()
        assert (goal.constraint(z, "dlr", 0.5) >= goal.constraint(z, "dlr")).all()


def test_the_scaled_margin_goes_by_the_nearest_boundary() -> None:
    z, label = torch.tensor([[3.0, 1.0, 0.0, -2.0]]), torch.tensor([0])
    slopes = torch.tensor([[9.0, 1.0, 2.0, 10.0]])
    assert losses.scaled_margin(z, label, slopes).item() == pytest.approx(0.5)  # (3 + 2) / 10, the least likely
    assert losses.scaled_margin(z, label, slopes, 1.0).item() == pytest.approx(0.6)
    assert losses.scaled_margin(z, torch.tensor([1]), slopes).item() == pytest.approx(-2 / 9)


@given(LOGITS, CLASS, hnp.arrays("float64", (3, 6), elements=st.floats(0.1, 10)))
def test_the_scaled_margin_is_negative_exactly_when_the_margin_is(
    values: object, classes: list[int], slopes: object
) -> None:
    z, c = torch.as_tensor(values), torch.tensor(classes)
    scaled = losses.scaled_margin(z, c, torch.as_tensor(slopes), 0.01)
    assert torch.equal(scaled < 0, losses.margin(z, c, 0.01) < 0)


@given(LOGITS, CLASS, st.floats(0.1, 10))
def test_dlr_does_not_depend_on_the_scale_of_logits(values: object, classes: list[int], scale: float) -> None:
    z, c = torch.as_tensor(values), torch.tensor(classes)
    top = z.sort(dim=1, descending=True).values
    clear = (top[:, 0] - top[:, 2] > 1e-3) & (top[:, 0] - (top[:, 2] + top[:, 3]) / 2 > 1e-3)
    for goal in (Untargeted(c), Targeted(c)):
        torch.testing.assert_close(
            goal.constraint(z)[clear], goal.constraint(scale * z)[clear], rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize("loss", [losses.dlr_plus, losses.targeted_dlr_plus, losses.margin, losses.cross_entropy])
def test_gradients_match_finite_differences(loss: object) -> None:
    z = torch.randn(4, 7, dtype=torch.float64, requires_grad=True, generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([0, 3, 6, 2])
    assert torch.autograd.gradcheck(lambda logits: loss(logits, classes), (z,))  # type: ignore[operator]


def test_the_scaled_margin_has_the_gradient_of_its_values() -> None:
    g = torch.Generator().manual_seed(0)
    z = torch.randn(4, 7, dtype=torch.float64, requires_grad=True, generator=g)
    slopes = torch.rand(4, 7, dtype=torch.float64, generator=g) + 0.5
    classes = torch.tensor([0, 3, 6, 2])
    assert torch.autograd.gradcheck(lambda logits: losses.scaled_margin(logits, classes, slopes, 0.1), (z,))


def test_a_tie_is_not_adversarial() -> None:
    z = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    assert losses.margin(z, torch.tensor([0])).item() == 0
    assert losses.targeted_margin(z, torch.tensor([1])).item() == 0


@pytest.mark.parametrize(("loss", "classes"), [(losses.dlr_plus, 2), (losses.targeted_dlr_plus, 3)])
def test_too_few_classes_name_the_margin(loss: object, classes: int) -> None:
    with pytest.raises(ValueError, match=rf"needs at least {classes + 1} classes.*have {classes}.*margin"):
        loss(torch.randn(2, classes), torch.tensor([0, 1]))  # type: ignore[operator]


def test_dlr_towards_is_dlr_plus_for_the_likeliest_rival() -> None:
    z = torch.randn(20, 6, generator=generator(0), dtype=torch.float64, requires_grad=True)
    labels = torch.randint(6, (20,), generator=generator(1))
    rivals = z.detach().scatter(1, labels[:, None], -math.inf).argmax(dim=1)
    one, two = losses.dlr_towards(z, labels, rivals, 0.01), losses.dlr_plus(z, labels, 0.01)
    torch.testing.assert_close(one, two)
    for mine, theirs in zip(*(torch.autograd.grad(value.sum(), z) for value in (one, two)), strict=True):
        torch.testing.assert_close(mine, theirs)
    worst = z.detach().argmin(dim=1)
    value = losses.dlr_towards(z, labels, worst)
    assert (value[worst != labels] > 0).all()


def test_margin_towards_leads_on_where_dlr_does_not() -> None:
    z = torch.tensor([[1.0, 9.0, 5.0, 0.0], [1.0, 2.0, 0.0, -1.0]], dtype=torch.float64, requires_grad=True)
    labels, targets = torch.tensor([0, 0]), torch.tensor([1, 1])
    value = losses.margin_towards(z, labels, targets, 0.5)
    torch.testing.assert_close(value, torch.tensor([-7.5, -0.5], dtype=torch.float64))
    (slope,) = torch.autograd.grad(value.sum(), z)
    assert slope.tolist() == [[1, -1, 0, 0]] * 2
    # the label is the third likeliest: DLR⁺ is at its end
    far = torch.tensor([[1.0, 9.0, 1.0 + 1e-6, 0.0]], dtype=torch.float64, requires_grad=True)
    ended = losses.dlr_plus(far, labels[:1])
    torch.testing.assert_close(ended, -torch.ones_like(ended), atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match="margin_towards"):
        losses.margin_towards(torch.zeros(2, 1), labels, labels)

"""Auto's families: what is known of a distance, and only of the library's own."""

import pytest
import torch
from torch import Tensor

from minadv import ALMA, FMN, Auto
from minadv.attacks.auto.families import flat, sparse, straight
from tests.networks import convolutional, generator, images, predictions
from tests.own_distances import weighted

pytestmark = pytest.mark.usefixtures("as_given")


@pytest.mark.parametrize(("pull", "power"), [(sparse, 1.5), (straight, 2.0), (flat, 8.0)])
def test_pulls_are_gradients_of_powers(pull: object, power: float) -> None:
    delta = torch.randn(3, 2, 4, generator=generator(0), dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(delta.abs().pow(power).sum(), delta)
    mine = pull(delta.detach())
    ratio = (mine / gradient).flatten(1)
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))


@pytest.mark.parametrize("name", ["l0", "l1", "l2", "linf", "ssim", "ciede2000"])
def test_your_own_distance_may_have_any_name(name: str) -> None:
    """What is known of this library's distances is not supposed of a function that is called the same."""
    model, x = convolutional(), images(3)
    labels = predictions(model, x)

    def own(x: Tensor, x0: Tensor) -> Tensor:
        return weighted(x, x0)

    own.__name__ = name
    for attack in (Auto, ALMA):
        budget = {"budget": 40} if attack is Auto else {"steps": 40}
        one, other = (attack(distance=given, **budget)(model, x, labels) for given in (own, weighted))
        assert torch.equal(one.adversarials, other.adversarials)
    with pytest.raises(ValueError, match="of your own"):
        FMN(distance=own)

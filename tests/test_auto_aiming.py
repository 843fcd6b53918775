"""Auto's aims: the outlook on every class, and which of them are aimed at."""

import math

import pytest
import torch
from torch import Tensor

from minadv import Auto
from minadv.attacks.auto import aiming
from minadv.attacks.auto.outlook import outlook
from minadv.oracle import Oracle
from tests.networks import Linear, exact, generator, linear, predictions

pytestmark = pytest.mark.usefixtures("as_given")


@pytest.mark.parametrize(("distance", "q"), [("l1", math.inf), ("l2", 2), ("linf", 1)])
def test_an_outlook_on_linear_models_is_the_way_to_each_class(distance: str, q: float) -> None:
    model = linear(3 * 8 * 8, classes=10)
    x = 0.5 + 0.1 * (torch.rand(8, 3, 8, 8, generator=generator(1)) - 0.5)
    labels = predictions(model, x)
    seen = list[Tensor]()

    class Looking(Auto):
        def search(self, oracle: Oracle) -> None:
            at = oracle.originals + 0.01 * oracle.directions()
            seen.append(outlook(oracle, at, q, 0.0, 9))
            seen.append(outlook(oracle, at, q, 0.0, 2))

    result = Looking(distance=distance)(model, x, labels)
    (ways, slopes), (two, _) = seen
    weight, z = model.layer.weight.detach(), model(x).detach()
    gaps = z.gather(1, labels[:, None]) - z
    true = gaps / (weight[labels][:, None] - weight).norm(q, dim=2)  # 0 / 0 at the label
    torch.testing.assert_close(ways, true.nan_to_num(math.inf), rtol=1e-3, atol=1e-5)
    assert ways.gather(1, labels[:, None]).isinf().all()
    steepness = (weight[labels][:, None] - weight).norm(q, dim=2)
    others = torch.ones_like(slopes, dtype=torch.bool).scatter(1, labels[:, None], False)
    torch.testing.assert_close(slopes[others], steepness[others], rtol=1e-4, atol=1e-5)
    assert (two.isfinite().sum(dim=1) == 2).all()
    assert torch.equal(two.isfinite() & (two != ways), torch.zeros_like(two, dtype=torch.bool))
    assert (result.backwards == 9 + 2).all()
    assert (result.forwards == 2).all()


def test_an_outlook_where_all_gradients_vanish_takes_slopes_for_equal() -> None:
    def flat(x: Tensor) -> Tensor:
        risen = (x.flatten(1).mean(dim=1) - 0.5).relu()
        return torch.stack((0.1 + 0 * risen, 1e4 * risen, 2e4 * risen, 0 * risen), dim=1)

    x, seen = torch.full((4, 3, 8, 8), 0.3), list[Tensor]()

    class Looking(Auto):
        def search(self, oracle: Oracle) -> None:
            seen.append(outlook(oracle, oracle.originals, 2, 0.0, 2).slopes)
            super().search(oracle)

    with pytest.warns(UserWarning, match="gradient was exactly 0 .* for 4 of 4"):
        result = Looking(budget=100)(flat, x, torch.zeros(4, dtype=torch.int64))
    assert ((seen[0] > 0.05) & (seen[0] <= 1)).all()
    assert result.adversarials.isfinite().all()
    assert "non-finite" not in result.status
    assert result.success.all()


def test_the_second_round_aims_at_the_nearest_class_however_unlikely() -> None:
    """Its logit is the lowest and its boundary the nearest, next to eight of which each is likelier."""
    weights = torch.zeros(10, 3 * 8 * 8)
    for k in range(1, 10):
        weights[k, 8 * k : 8 * k + 8] = 1.0
    weights[9] *= 30
    bias = torch.tensor([3.0, *torch.linspace(1.9, 1.2, 8).tolist(), -9.0])
    x = torch.full((4, 3, 8, 8), 0.1) + 0.01 * torch.rand(4, 3, 8, 8, generator=generator(2))
    model = Linear(weights, bias - weights @ x[0].flatten()).eval()
    labels = predictions(model, x)
    assert (labels == 0).all()
    best = exact(model, x, labels, "l2").amin(dim=1)
    result = Auto(budget=200)(model, x, labels)
    assert (result.predictions == 9).all()
    assert (result.distances < 1.01 * best).all()


def test_only_classes_nearer_than_those_reached_are_aimed_at() -> None:
    inf = math.inf
    chances = torch.tensor([[-inf, -inf, 3.0, 2.0, 1.0], [-inf, 1.0, 2.0, 3.0, 4.0], [-inf, -inf, 3.0, 2.0, 1.0]])
    ways = torch.tensor([[inf, 0.5, 0.6, 0.4, 0.2], [inf, 0.5, inf, 0.4, 0.2], [inf, -0.5, 0.1, -0.4, 0.2]])
    expected = [[-inf, -inf, -inf, -0.4, -0.2], [-inf, -0.5, -inf, -0.4, -0.2], [-inf, -inf, -inf, 0.4, -inf]]
    assert aiming.nearer(chances, ways).tolist() == [pytest.approx(row) for row in expected]


def test_likely_classes_are_aimed_at_where_the_way_is_hardly_longer() -> None:
    inf = math.inf
    chances = torch.tensor([[-inf, -inf, 3.0, 2.0, 1.0], [-inf, -inf, 3.0, 2.0, 1.0]])
    ways = torch.tensor([[inf, 1.0, 1.05, 1.3, 0.2], [inf, inf, inf, 0.4, 0.2]])  # of the second none is reached
    expected = [[-inf, -inf, 3.0, -inf, 1.0], [-inf, -inf, 3.0, 2.0, 1.0]]
    assert aiming.likely(chances, ways).tolist() == expected

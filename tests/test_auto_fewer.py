"""Auto's looks at fewer entries: perturbations that are concentrated in the largest."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import minadv
from minadv.attacks.auto import families
from minadv.attacks.auto.fewer import concentrated, leave_out
from minadv.attacks.auto.refinement import Refined
from minadv.distances import get
from minadv.goals import Untargeted
from minadv.oracle import Oracle
from minadv.verification import Settings
from tests.networks import generator

pytestmark = pytest.mark.usefixtures("as_given")


def test_concentrated_perturbations_keep_their_norm_in_the_fewest_entries() -> None:
    x0 = torch.full((3, 1, 2, 2), 0.3)
    delta = torch.tensor([[0.3, -0.2, 0.1, 0.0], [0.1, 0.1, -0.1, 0.1], [0.0, 0.0, 0.0, 0.0]]).reshape(x0.shape)
    moves = concentrated(x0 + delta, x0, 0.7) - x0
    # squares of 9, 4 and 1 of 14: the first holds 0.64 of them, two hold 0.93; of four alike, three hold 0.75
    assert (moves != 0).flatten(1).sum(dim=1).tolist() == [2, 3, 0]
    torch.testing.assert_close(moves.flatten(1).norm(dim=1), delta.flatten(1).norm(dim=1))
    assert (moves * delta >= 0).all()
    farther = concentrated(x0 + delta, x0, 0.7, farther=1.1) - x0
    torch.testing.assert_close(farther, 1.1 * moves)
    alone = concentrated((x0 + delta)[1:2], x0[1:2], 0.7)
    assert torch.equal(alone - x0[1:2], moves[1:2])


def test_entries_are_left_out_only_where_that_is_adversarial() -> None:
    """Label 0 until δ₁ > 0.4 alone, in one sample; until δ₁ > 0.2 and δ₂ > 0.1, in the other."""
    x0, both = torch.full((2, 2), 0.3), torch.tensor([0.0, 1.0])

    def model(x: Tensor) -> Tensor:
        delta, need = x - 0.3, both[: len(x)]
        alone, together = delta[:, 0] - 0.4, torch.minimum(delta[:, 0] - 0.2, delta[:, 1] - 0.1)
        score = torch.where(need > 0, together, alone)
        return torch.stack((torch.zeros_like(score), score), dim=1)

    labels = torch.zeros(2, dtype=torch.int64)
    settings = Settings(budget=10, fill_up=False)
    oracle = Oracle(model, x0, {"labels": labels}, Untargeted(labels), get("l2"), settings)
    point = x0 + torch.tensor([[0.45, 0.2], [0.45, 0.2]])
    end = leave_out(oracle, Refined.at(point.clone(), oracle), 0.7)
    assert torch.equal(end.point[1], point[1])
    assert end.reached[1] == math.inf
    norm = 1.1 * (0.45**2 + 0.2**2) ** 0.5
    torch.testing.assert_close(end.point[0], torch.tensor([0.3 + norm, 0.3]))
    torch.testing.assert_close(end.reached[0], torch.tensor(norm))


@pytest.mark.filterwarnings("ignore:the gradient was exactly 0")
def test_entries_that_count_beyond_a_threshold_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Σ w_j·max(δ_j − t, 0) ≥ C as masked gradients have it: the best k entries are known for each k."""
    count, t, need = 64, 0.2, 0.8
    weights = 0.5 + torch.rand(8, count, generator=generator(5))
    largest = weights.sort(dim=1, descending=True).values
    smallest = ((need + t * largest.cumsum(1)) / largest.square().cumsum(1).sqrt()).amin(dim=1)

    def model_of(weight: Tensor) -> object:
        def model(x: Tensor) -> Tensor:
            score = ((x.flatten(1) - t).relu() * weight).sum(dim=1)
            return torch.stack((torch.full_like(score, need), score), dim=1)

        return model

    x, labels = torch.zeros(1, 1, 8, 8), torch.zeros(1, dtype=torch.int64)

    def excess() -> Tensor:
        found = [minadv.minimise(model_of(weight), x, labels, "l2", 100).distances[0] for weight in weights]  # type: ignore[arg-type]
        return torch.stack(found) / smallest

    assert (excess() < 1.3).all()
    # explorations that stay longer beyond the boundary hardly ever find the few without being told
    longer = replace(families.of("l2"), members=(families.Member("norm", families.straight, (3.0,)),))
    monkeypatch.setitem(families._KNOWN, "l2", longer)
    few = excess()
    assert (few < 1.3).all()
    monkeypatch.setitem(families._KNOWN, "l2", replace(longer, kept=1.0))
    all_kept = excess()
    far = all_kept > 1.1
    assert far.sum() >= 4
    assert (few[far] < 0.95 * all_kept[far]).all()
    assert (few < 1.001 * all_kept).all()

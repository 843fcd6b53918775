"""Auto's sparse refinement: which entries it leaves out, and that it does not go round in circles."""

import pytest
import torch
from torch import Tensor

from minadv import Auto
from minadv.attacks.auto import aiming
from minadv.attacks.auto.exploration import Exploration
from minadv.attacks.auto.families import sparse
from minadv.attacks.auto.refinement import Refined
from minadv.attacks.auto.sparse_refinement import SparseRefinement, without
from minadv.oracle import Oracle
from tests.networks import convolutional, images, predictions

pytestmark = pytest.mark.usefixtures("as_given")


def test_single_entries_are_left_out_by_what_they_count() -> None:
    x0 = torch.full((4, 1, 2, 2), 0.5)
    best = torch.tensor([[1.0, 0.0, 0.5, 1.0]] * 3 + [[1.0, 0.5, 0.5, 0.5]]).reshape(x0.shape)
    normal = torch.tensor([-0.2, 0.1, 9.0, -0.3]).reshape(1, 1, 2, 2).expand_as(x0)  # each lowered the constraint
    fewer, there = without(best, x0, normal, torch.tensor([0, 2, 3, 0]))
    assert there.tolist() == [True, True, False, False]  # no fourth entry, and none to spare
    assert fewer[0].flatten().tolist() == [1.0, 0.5, 0.5, 1.0]
    assert fewer[1].flatten().tolist() == [1.0, 0.0, 0.5, 0.5]


def test_the_last_steps_leave_single_entries_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two entries are enough for the model; what the search begins with has one more."""
    weights = torch.tensor([4.0, 3.0, 2.0, 1.0, 0.0, 0.0])

    def model(x: Tensor) -> Tensor:
        gap = 4.2 - (x * weights).sum(dim=1)
        return torch.stack((gap, torch.zeros_like(gap)), dim=1)

    x, labels = torch.zeros(1, 6), torch.zeros(1, dtype=torch.int64)

    class Finishing(Auto):
        def search(self, oracle: Oracle) -> None:
            oracle.probe(torch.tensor([[0.0, 1.0, 1.0, 1.0, 0.0, 0.0]]))
            towards = aiming.constrain(oracle, None, self.confidence)
            start = Refined.at(oracle.best.clone(), oracle)
            SparseRefinement()(oracle, start, 4, towards, finish=True)

    monkeypatch.setattr(
        "minadv.attacks.auto.sparse_refinement.l0_ball", lambda gain, _count: torch.zeros_like(gain)
    )  # the usual search finds nothing
    result = Finishing(distance="l0")(model, x, labels, fill_up=False)
    assert result.adversarials.tolist() == [[0, 1, 1, 0, 0, 0]]


def test_a_sparse_refinement_does_not_try_the_same_entries_again_and_again() -> None:
    model, x = convolutional(), images(16)
    labels = predictions(model, x)

    def repeated(heat: tuple[float, float, float]) -> float:
        points = list[Tensor]()

        class Refining(Auto):
            def search(self, oracle: Oracle) -> None:
                towards = aiming.constrain(oracle, None, self.confidence)
                found = Exploration()(oracle, oracle.originals, None, 30, 3.0, towards, sparse)
                SparseRefinement(heat=heat)(oracle, Refined.after(found), 40, towards)

        hook = model.register_forward_pre_hook(lambda _model, given: points.append(given[0].detach().clone()))
        result = Refining(distance="l0")(model, x, labels)
        hook.remove()
        several = result.distances > 1  # fewer than one entry cannot be found
        assert several.sum() > 4
        tries = torch.stack(points[-41:-1]).flatten(2)[:, several]  # the last one verifies
        again = [(tries[:i] == tries[i]).all(dim=2).any(dim=0) for i in range(1, len(tries))]
        return torch.stack(again).float().mean().item()

    without = repeated((0.0, 1.0, 0.0))
    assert without > 0.8
    assert repeated(SparseRefinement.heat) < 0.7 * without

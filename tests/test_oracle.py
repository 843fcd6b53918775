"""The oracle's books: what is counted, who pays, and who is shown to the model."""

import math

import pytest
import torch
from torch import Tensor

from minadv import Auto, Status
from minadv.ledger import BudgetSpentError, Ledger
from minadv.oracle import Oracle
from tests.networks import convolutional, images, predictions
from tests.oracles import WEIGHTS, Model, X, mask, oracle, toward

pytestmark = pytest.mark.usefixtures("as_given")


# the pass over the clean images


def test_a_search_from_the_originals_takes_their_pass_over_and_counts_it_once() -> None:
    model = Model()
    door = oracle(model, X)
    probe = door.probe(door.originals)
    gradient = door.gradient(probe, probe.logits[:, 1])
    assert torch.equal(gradient, WEIGHTS.expand(8, 6))
    door.probe(toward(0.5))
    assert model.rows == [8, 8]
    result = door.result()
    assert result.forwards.tolist() == [2] * 8
    assert result.backwards.tolist() == [1] * 8
    assert model.rows == [8, 8, 8]  # the verification is counted nowhere


def test_the_pass_over_the_originals_is_not_the_searchs_where_it_begins_elsewhere() -> None:
    """But it is paid for from the budget."""
    model = Model()
    door = oracle(model, X, budget=2)
    door.probe(toward(0.5))
    with pytest.raises(BudgetSpentError):
        door.probe(toward(0.4))
    assert model.rows == [8, 8]
    assert door.result().forwards.tolist() == [1] * 8


def test_originals_that_are_forgotten_are_paid_for_again() -> None:
    model = Model()
    door = oracle(model, X)
    for _ in range(2):
        door.probe(door.originals)
    assert model.rows == [8, 8]
    door.probe(toward(0.5))
    door.probe(door.originals)
    assert model.rows == [8] * 4
    assert door.result().forwards.tolist() == [4] * 8


def test_samples_adversarial_from_the_start_cost_one_forward_and_are_left_out() -> None:
    model, labels = Model(), torch.tensor([0, 1, 0, 2, 0, 0, 0, 0])
    door = oracle(model, X, labels)
    assert torch.equal(door.originals, X[labels == 0])
    probe = door.probe(door.originals)
    # each row's own gradient, of a pass that had eight rows
    scales = torch.arange(1.0, 7.0)
    gradient = door.gradient(probe, probe.logits[:, 1], scales)
    assert torch.equal(gradient, scales[:, None] * WEIGHTS)
    door.probe(toward(0.5)[labels == 0])
    result = door.result()
    assert model.rows[:2] == [8, 6]
    assert result.forwards.tolist() == [2, 1, 2, 1, 2, 2, 2, 2]
    assert result.backwards.tolist() == [1, 0, 1, 0, 1, 1, 1, 1]
    assert [status is Status.ALREADY for status in result.status] == (labels > 0).tolist()
    assert torch.equal(result.adversarials[labels > 0], X[labels > 0])
    assert (result.distances[labels > 0] == 0).all()


def test_the_pass_over_the_originals_is_taken_once_while_its_graph_is_kept() -> None:
    model, x = convolutional(), images(3)
    labels = predictions(model, x)
    calls, gradients = list[int](), list[Tensor]()
    model.register_forward_hook(lambda _module, inputs, _output: calls.append(len(inputs[0])))

    class Looking(Auto):
        def search(self, oracle: Oracle) -> None:
            for again in (True, False, True):
                probe = oracle.probe(oracle.originals)
                gradients.append(oracle.gradient(probe, probe.logits[:, 0], again=again))
            probe = oracle.probe((oracle.originals + 0.1).clamp(0, 1))
            oracle.gradient(probe, probe.logits[:, 0], again=True)
            oracle.probe(oracle.originals)

    result = Looking()(model, x, labels)
    assert (result.forwards == 4).all()  # once for the first two, then anew; the other point; anew after it
    assert len(calls) == 4 + 1  # and the verification
    assert (result.backwards == 4).all()
    assert torch.equal(gradients[0], gradients[1])
    assert torch.equal(gradients[0], gradients[2])


# live rows


def test_only_live_rows_are_shown_and_counted() -> None:
    model, live = Model(), mask(1, 0, 0, 1, 1, 0, 0, 0)
    door = oracle(model, X)
    probe = door.probe(toward(0.5), live, distance_gradient=True)
    torch.testing.assert_close(model.shown[1], toward(0.5)[live])
    assert torch.equal(probe.adversarial, live)
    assert torch.equal(probe.logits[~live], door.logits_of_originals[~live])
    assert (probe.logits[live, 1] > 1).all()
    expected = (toward(0.5) - X).norm(dim=1)
    torch.testing.assert_close(probe.distance, expected.where(live, 0.0))
    torch.testing.assert_close(probe.slope, ((toward(0.5) - X) / expected[:, None]).where(live[:, None], 0.0))
    assert torch.equal(door.best_distance < math.inf, live)
    assert torch.equal(door.gradient(probe, probe.logits[:, 1]), WEIGHTS.where(live[:, None], 0.0))
    result = door.result()
    assert torch.equal(result.forwards, live.long())
    assert torch.equal(result.backwards, live.long())
    assert torch.equal(result.success, live)


def test_rows_that_are_no_longer_live_take_no_backward() -> None:
    model, live, fewer = Model(), mask(1, 1, 0, 1, 1, 1, 1, 1), mask(1, 0, 0, 1, 0, 0, 1, 0)
    door = oracle(model, X)
    probe = door.probe(toward(0.5), live)
    gradient = door.gradient(probe, probe.logits[:, 1], live=fewer)
    assert torch.equal(gradient, WEIGHTS.where(fewer[:, None], 0.0))
    result = door.result()
    assert torch.equal(result.forwards, live.long())
    assert torch.equal(result.backwards, fewer.long())


def test_masks_in_turn_are_told_apart() -> None:
    """The last mask's rows are remembered, and no other's."""
    model, one, other = Model(), mask(1, 0, 0, 0, 0, 0, 0, 1), mask(0, 1, 1, 0, 0, 0, 0, 0)
    door = oracle(model, X)
    for live in (one, one, other, one, other):
        probe = door.probe(toward(0.5), live)
        assert torch.equal(model.shown[-1], toward(0.5)[live])
        assert torch.equal(probe.adversarial, live)
    assert torch.equal(door.result().forwards, 3 * one.long() + 2 * other.long())


# budgets


def test_a_ledger_says_who_can_pay() -> None:
    ledger, some = Ledger(4, 4), torch.tensor([0, 1])
    assert ledger.solvent(None) is None
    assert ledger.solvent(some) is some
    ledger.forward(some)
    ledger.backward(some)  # 3, 3, 1, 1 with the clean pass
    ledger.use_clean_pass()
    ledger.use_clean_pass()
    assert ledger.spent.tolist() == [3, 3, 1, 1]
    assert ledger.forwards.tolist() == [2, 2, 1, 1]
    assert ledger.solvent(None) is None
    ledger.forward(None)  # 4, 4, 2, 2
    for asked, able in ((None, [2, 3]), (torch.tensor([1, 3]), [3]), (some, [])):
        payers = ledger.solvent(asked)
        assert payers is not None
        assert payers.tolist() == able
    ledger.backward(torch.tensor([2, 3]))
    ledger.forward(torch.tensor([2]))
    ledger.backward(torch.tensor([3]))
    with pytest.raises(BudgetSpentError):
        ledger.solvent(some)
    assert Ledger(4, None).solvent(None) is None


def test_unequal_budgets_stop_samples_one_by_one() -> None:
    model, first, second = Model(), mask(1, 1, 1, 1, 0, 0, 0, 0), mask(0, 0, 0, 0, 1, 1, 1, 1)
    door = oracle(model, X, budget=4)
    door.probe(X, first)
    door.probe(X, first)
    assert door.able(first) is first
    probe = door.probe(X + 0.01)  # the last of the first four
    assert torch.equal(door.able(torch.ones_like(first)), second)
    assert not door.able(first).any()
    # one backward, for those who can pay
    assert torch.equal(door.gradient(probe, probe.logits[:, 1]), WEIGHTS.where(second[:, None], 0.0))
    shown = len(model.shown)
    late = door.probe(toward(0.5), first)
    assert not late.adversarial.any()
    assert not door.gradient(late, late.logits[:, 1]).any()
    assert len(model.shown) == shown
    last = door.probe(toward(0.5))
    assert torch.equal(model.shown[-1], toward(0.5)[second])
    assert torch.equal(last.adversarial, second)
    with pytest.raises(BudgetSpentError):
        door.probe(X)
    result = door.result()
    assert result.forwards.tolist() == [3] * 4 + [2] * 4
    assert result.backwards.tolist() == [0] * 4 + [1] * 4
    assert torch.equal(result.success, second)


# graphs


def test_a_graph_is_kept_when_asked_for_and_only_then() -> None:
    model = Model()
    door = oracle(model, X)
    probe = door.probe(toward(0.5))
    for index, scale in ((1, 1.0), (2, 2.0)):
        gradient = door.gradient(probe, probe.logits[:, index], torch.full((8,), scale), again=True)
        assert torch.equal(gradient, scale * WEIGHTS.expand(8, 6))
    assert torch.equal(door.gradient(probe, probe.logits[:, 1]), WEIGHTS.expand(8, 6))
    with pytest.raises(RuntimeError, match="second time"):
        door.gradient(probe, probe.logits[:, 1])
    assert model.rows == [8, 8]


# copies that fill up


def test_copies_fill_up_what_the_model_sees_and_are_not_counted() -> None:
    model = Model()
    door = oracle(model, X[:5], fill_up=True)
    assert door.copies.tolist() == [False] * 5 + [True] * 3
    probe = door.probe(door.originals)
    assert torch.equal(door.gradient(probe, probe.logits[:, 1]), WEIGHTS.expand(8, 6))
    x, live = toward(0.5), mask(0, 1, 1, 1, 0, 0, 0, 0)
    probe = door.probe(x, live)
    assert model.rows == [8, 4]
    torch.testing.assert_close(model.shown[1], x[[1, 2, 3, 3]])
    torch.testing.assert_close(probe.logits[live], Model()(x[live]))
    torch.testing.assert_close(probe.distance[live], (x - X)[live].norm(dim=1))
    assert torch.equal(probe.adversarial, live)
    assert torch.equal(door.gradient(probe, probe.logits[:, 1]), WEIGHTS.where(live[:, None], 0.0))
    door.probe(torch.cat((x[:5], x[4:5].expand(3, 6))))
    result = door.result()
    assert result.forwards.tolist() == [2, 3, 3, 3, 2]
    assert result.backwards.tolist() == [1, 2, 2, 2, 1]
    assert result.success.all()


def test_copies_do_not_add_their_gradients_to_their_originals() -> None:
    model, labels = Model(), torch.tensor([0, 1, 0, 0, 1, 0, 0, 1])
    door = oracle(model, X, labels, fill_up=True)
    assert torch.equal(door.originals, X[[0, 2, 3, 5, 6, 6, 6, 6]])
    probe = door.probe(door.originals)  # of which the pass over all eight had each once
    assert torch.equal(door.gradient(probe, probe.logits[:, 1]), WEIGHTS.expand(8, 6))
    assert door.result().forwards.tolist() == [1] * 8


def test_a_search_may_leave_copies_out() -> None:
    door = oracle(Model(), X[:5], fill_up=True)
    x = toward(0.5)
    x[5:] = x[4]
    door.probe(x, ~door.copies)
    result = door.result()
    assert result.success.all()
    assert result.forwards.tolist() == [1] * 5
    torch.testing.assert_close(result.adversarials, x[:5])

"""What the oracle remembers of what it saw, and that one sample's trouble is no other's."""

import math

import pytest
import torch
from torch import Tensor

from minadv import Status
from tests.oracles import FAR, WEIGHTS, Model, X, mask, oracle, toward

pytestmark = pytest.mark.usefixtures("as_given")


# what is remembered


def test_the_nearest_adversarial_of_each_sample_is_the_answer() -> None:
    door = oracle(Model(), X)
    assert (door.best_distance == math.inf).all()
    assert torch.equal(door.best, X)
    shares = torch.tensor([[0.9, 0.4, 0.6, 0.01], [0.5, 0.6, 0.9, 0.01]])  # of one half and the other
    for one, other in shares.T:
        door.probe(torch.cat((toward(float(one))[:4], toward(float(other))[4:])))
    kept = torch.cat((toward(0.4)[:4], toward(0.5)[4:]))  # a hundredth of the way is not adversarial
    assert torch.equal(door.best, kept)
    torch.testing.assert_close(door.best_distance, (kept - X).norm(dim=1))
    assert torch.equal(door.result().adversarials, kept)


def test_of_equally_near_ones_the_first_is_kept() -> None:
    base = torch.full((1, 6), 0.5)
    door = oracle(Model(), 0 * base + 0.25)
    up, down = door.originals.clone(), door.originals.clone()
    up[:, 0], down[:, 2] = 0.75, 0.75
    for point in (up, down):
        assert torch.equal(door.probe(point).distance, torch.tensor([0.5]))
    assert torch.equal(door.best, up)


@pytest.mark.parametrize("where", ["outside", "off the grid", "not an answer"])
def test_what_may_not_be_returned_is_not_remembered(where: str) -> None:
    door = oracle(Model(), X, levels=11 if where == "off the grid" else None)
    x = {"outside": FAR * 1.001, "off the grid": FAR - 0.05 * FAR, "not an answer": FAR}[where]
    probe = door.probe(x, answers=where != "not an answer")
    assert (probe.logits[:, 1] > 0).all()
    assert torch.equal(door.best, X)
    assert not door.result().success.any()
    again = oracle(Model(), X)
    again.probe(FAR)
    assert again.result().success.all()


def test_another_rank_than_the_distance() -> None:
    door = oracle(Model(), X)
    door.rank_by(lambda x, distance: x[:, 1])  # the smallest second entry, which falls on the way
    for share in (0.5, 0.9, 0.7):
        door.probe(toward(share))
    assert torch.equal(door.best, toward(0.9))
    torch.testing.assert_close(door.best_distance, (toward(0.9) - X).norm(dim=1))
    assert torch.equal(door.result().adversarials, toward(0.9))


# one sample's trouble


def test_one_samples_nan_logits_touch_no_other() -> None:
    class Broken(Model):
        def score(self, x: Tensor) -> Tensor:
            return super().score(x) * torch.where(x[:, 5] > 0.97, torch.nan, 1.0)

    x, hurt = toward(0.5), mask(0, 0, 1, 0, 0, 0, 0, 0)
    x[2, 5], x[4] = 0.98, X[4]  # the other is not adversarial, and nothing else
    door, sound = oracle(Broken(), X), oracle(Model(), X)
    probe, expected = door.probe(x), sound.probe(x)
    assert torch.equal(probe.logits[~hurt], expected.logits[~hurt])
    assert torch.equal(probe.logits[hurt], door.logits_of_originals[hurt])
    found = mask(1, 1, 0, 1, 0, 1, 1, 1)
    assert torch.equal(probe.adversarial, found)
    gradient = door.gradient(probe, probe.logits[:, 1])
    assert torch.equal(gradient, WEIGHTS.where(~hurt[:, None], 0.0))
    assert torch.equal(door.best_distance, sound.best_distance.where(~hurt, math.inf))
    result = door.result()
    failed = [Status.NON_FINITE if bad else Status.NOT_FOUND for bad in hurt]
    assert list(result.status) == [Status.FOUND if yes else no for yes, no in zip(found, failed, strict=True)]
    assert torch.equal(result.success, found)
    assert result.forwards.tolist() == [1] * 8
    looking = oracle(Broken(), X)
    looking.probe(x, differentiate=False)
    assert looking.result().status == result.status  # a look is enough


def test_a_sample_that_said_nan_once_is_searched_on() -> None:
    class Once(Model):
        def score(self, x: Tensor) -> Tensor:
            factor = torch.ones(len(x))
            factor[0] = torch.nan if len(self.shown) == 2 else 1.0
            return super().score(x) * factor

    door = oracle(Once(), X)
    assert door.probe(toward(0.5)).adversarial.tolist() == [False] + [True] * 7
    assert door.probe(toward(0.6)).adversarial.all()
    result = door.result()
    assert all(status is Status.FOUND for status in result.status)
    torch.testing.assert_close(result.adversarials[0], toward(0.6)[0])
    assert torch.equal(result.adversarials[1:], toward(0.5)[1:])


def test_nan_gradients_cost_their_entries_and_touch_no_other() -> None:
    class Rooted(Model):
        def score(self, x: Tensor) -> Tensor:
            return super().score(x) + 0 * x[:, 0].sqrt()  # 0·∞ where that is 0

    x = X + 0.01
    x[3, 0] = 0
    door = oracle(Rooted(), X)
    probe = door.probe(x)
    expected = WEIGHTS.repeat(8, 1)
    expected[3, 0] = 0
    assert torch.equal(door.gradient(probe, probe.logits[:, 1]), expected)
    assert [status is Status.NON_FINITE for status in door.result().status] == [i == 3 for i in range(8)]

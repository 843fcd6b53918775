"""Auto's explorer: where each round starts, and in which coordinates it steps."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor

from minadv import Auto
from minadv.attacks.auto import aiming, families
from minadv.attacks.auto.aiming import Aims
from minadv.attacks.auto.coordinates import PerEntry, coordinates
from minadv.attacks.auto.exploration import Explored
from minadv.attacks.auto.explorer import Explorer
from minadv.attacks.auto.nearest import ByMetric
from minadv.attacks.auto.rounds import Try
from minadv.attacks.directions import TINY
from minadv.oracle import Oracle
from tests.networks import convolutional, images, predictions

pytestmark = pytest.mark.usefixtures("as_given")


def test_rounds_in_turn_step_in_their_own_coordinates() -> None:
    model, x = convolutional(), images(2)
    seen = dict[tuple[int, int], Tensor | None]()

    class Looking(Auto):
        def search(self, oracle: Oracle) -> None:
            metric = ByMetric(oracle.originals, oracle.surrogate)
            scaled = coordinates(families.of("ssim").scaled, oracle.originals, oracle.surrogate, metric)
            explorer = Explorer(oracle, families.of("ssim"), 2, self.confidence, scaled)
            for number, i in product(range(5), range(2)):
                found = explorer.coordinates(number, i)
                assert found is None or isinstance(found, PerEntry)
                seen[number, i] = None if found is None else found.units

    Looking(distance="ssim")(model, x, predictions(model, x))
    sampled, exact_ = seen[0, 0], seen[0, 1]
    assert sampled is not None
    assert exact_ is not None
    assert not torch.equal(sampled, exact_)
    assert all(seen[number, 0] is sampled for number in range(5))  # computed once
    assert seen[2, 1] is None  # plain entries
    assert seen[4, 1] is exact_


def test_units_that_led_nowhere_are_left() -> None:
    model, x = convolutional(), images(4)
    seen = list[Tensor]()

    class Looking(Auto):
        def search(self, oracle: Oracle) -> None:
            units = torch.full_like(oracle.originals, 0.5)
            explorer = Explorer(oracle, families.of("ssim"), 2, self.confidence, [[PerEntry(units)]])
            for number, i in ((0, 0), (0, 1), (1, 0)):
                if number:
                    oracle.probe(1 - oracle.originals)
                chosen = explorer._coordinates(number, i)
                assert isinstance(chosen, PerEntry)
                seen.append(chosen.units.flatten(1)[:, 0])
            found = oracle.best_distance < torch.inf
            assert found.any()
            seen.append(torch.where(found, 0.5, 1.0))

    Looking()(model, x, predictions(model, x))
    first, second, third, expected = seen
    assert (first == 0.5).all()
    assert (second == 1).all()
    assert torch.equal(third, expected)


def test_only_the_first_start_and_new_classes_of_later_rounds_have_no_noise() -> None:
    model, x = convolutional(), images(4)
    starts = dict[tuple[int, bool], Tensor]()

    class Looking(Auto):
        def search(self, oracle: Oracle) -> None:
            super().search(oracle)
            assert oracle.best_distance.isfinite().all()
            explorer = Explorer(oracle, families.of("l2"), 2, self.confidence, [])
            scale = torch.full_like(oracle.best_distance, 0.1)
            some = aiming.chances(oracle)
            some[0] = -torch.inf  # no class is left for the first sample
            for index in range(4):
                for chances in (None, some):
                    starts[index, chances is not None] = explorer._start(index, scale, chances, None)

    Looking(budget=30)(model, x, predictions(model, x))
    moved = {key: (start - x).flatten(1).abs().amax(dim=1) for key, start in starts.items()}
    for index, amount in enumerate((0, 0.075, 0.05, 0.075)):
        assert moved[index, False] == pytest.approx(amount, rel=1e-4)
        expected = [amount] * 4 if index < 2 else [amount, 0, 0, 0]
        assert moved[index, True] == pytest.approx(expected, rel=1e-4)
    assert not torch.equal((starts[1, False] - x).sign(), (starts[3, False] - x).sign())


def test_what_was_missed_starts_anywhere_in_the_box() -> None:
    model, x = convolutional(), images(4)
    starts, found = list[Tensor](), list[Tensor]()

    class Looking(Auto):
        def search(self, oracle: Oracle) -> None:
            oracle.probe(1 - oracle.originals, torch.tensor([True, True, False, False]))
            found.append(oracle.best_distance.isfinite())
            explorer = Explorer(oracle, families.of("l2"), 2, self.confidence, [])
            scale = torch.full_like(oracle.best_distance, 0.01)
            starts.extend(explorer._start(index, scale, None, None) for index in range(3))

    Looking()(model, x, predictions(model, x))
    assert found[0].any()
    assert not found[0].all()
    moved = torch.stack([(start - x).flatten(1).abs().amax(dim=1) for start in starts])
    assert (moved[0] == 0).all()
    assert (moved[1:, found[0]] <= 0.011).all()
    assert (moved[1:, ~found[0]] > 0.5).all()
    for start in starts[1:]:
        anywhere = start[~found[0]]
        assert anywhere.mean().item() == pytest.approx(0.5, abs=0.1)
        assert anywhere.min() >= 0
        assert anywhere.max() <= 1
    assert not torch.equal(starts[1][~found[0]], starts[2][~found[0]])


def test_only_the_first_round_steps_less_like_signs() -> None:
    model, x = convolutional(), images(4)
    floors, trusted = list[Tensor](), list[Tensor]()

    class Looking(Auto):
        def search(self, oracle: Oracle) -> None:
            family = replace(families.of("l1"), softness=0.4)
            explorer = Explorer(oracle, family, 2, self.confidence, [])
            stride, aims = None, Aims.of(oracle, False)
            for number, i in ((0, 0), (0, 1), (1, 0)):
                found, stride, aims = explorer(number, i, Try(5, 0, 0), stride, aims, None)
                assert isinstance(found, Explored)
                floors.append(found.stride.floor)
                trusted.append(found.stride.trusted)

    Looking()(model, x, predictions(model, x))
    assert (floors[0] > 0.001).all()
    assert all((one == 1).all() for one in trusted)
    assert torch.equal(floors[1], floors[0])
    assert torch.equal(floors[2], torch.full_like(floors[2], TINY))

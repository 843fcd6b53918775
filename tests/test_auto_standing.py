"""Who goes on after a round of Auto."""

from dataclasses import replace

import torch

from minadv.attacks.auto.exploration import Stride
from minadv.attacks.auto.refinement import Refined
from minadv.attacks.auto.standing import AGREEING, STATIONARY, Standing, nobody


def ended(reached: list[float], residual: list[float]) -> Refined:
    nothing = torch.zeros(len(reached), 1)
    return Refined(nothing, torch.tensor(reached), torch.zeros(len(reached)), torch.tensor(residual))


def test_samples_stop_where_rounds_end_at_one_stationary_distance() -> None:
    # at its best distance; nearly; farther; not stationary; nothing found
    near = torch.tensor([1.0, 1.0, 1.0, 1.0, torch.inf])
    end = ended([1.0, 1.001, 1.01, 1.0, torch.inf], [0.0, STATIONARY, 0.0, 2 * STATIONARY, 0.0])
    standing = Standing.at_first(near)
    for _ in range(AGREEING - 1):
        standing = standing.after(near, end)
        assert standing.live is None
    standing = standing.after(near, end)
    assert standing.live is not None
    assert standing.live.tolist() == [False, False, True, True, True]


def test_masked_samples_with_an_answer_leave_for_moves_and_still_run() -> None:
    found, trusted = torch.tensor([1.0, 1.0, torch.inf, 1.0]), torch.tensor([0.0, 1.0, 0.0, 0.0])
    stopped = replace(Standing.at_first(found), running=torch.tensor([True, True, True, False]))
    stride = Stride.told(trusted, trusted, trusted)
    standing = stopped.leaving(found, stride)
    assert standing.moving is not None
    assert standing.moving.tolist() == [True, False, False, False]
    assert standing.live is not None
    assert standing.live.tolist() == [False, True, True, False]
    whole = Standing.at_first(found).leaving(found, stride).live
    assert whole is not None
    assert whole.tolist() == [False, True, True, False]


def test_nobody_leaves_where_no_gradient_is_masked() -> None:
    found = torch.ones(3)
    standing = Standing.at_first(found).leaving(found, Stride.told(found, found, torch.ones(3)))
    assert standing.moving is None
    assert standing.live is None


def test_rounds_that_end_nearer_and_nearer_do_not_agree() -> None:
    standing = Standing.at_first(torch.ones(2))
    for number in range(2 * AGREEING):
        nearer = 0.9**number
        standing = standing.after(torch.tensor([nearer, 0.9]), ended([nearer, 0.9], [0.0, 0.0]))
    assert standing.live is not None
    assert standing.live.tolist() == [True, False]


def test_nobody_is_no_mask_and_no_sample() -> None:
    assert not nobody(None)
    assert not nobody(torch.tensor([False, True]))
    assert nobody(torch.tensor([False, False]))

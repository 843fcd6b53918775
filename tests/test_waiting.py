"""On an accelerator nothing in a search's loop waits for the device: no .item(), no boolean index, no branch.

There is no accelerator here. So the searches run as they would there, told that the host has no values at hand,
and every operation whose result the host would have to wait for is counted.
"""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from minadv import ALMA, Auto, attacks, host
from minadv.attacks.base import Attack
from tests.networks import convolutional, images, predictions

Own = Callable[[Tensor, Tensor], Tensor]

WAITING = {
    "_local_scalar_dense",  # item(), bool(), int(), if
    "count_nonzero",
    "equal",
    "is_nonzero",
    "masked_select",
    "nonzero",
    "repeat_interleave",
    "unique",
}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
LEDGER = "ledger.py"  # keeps its books on the CPU, so that it never waits


def own(x: Tensor, x0: Tensor) -> Tensor:
    """A user's distance."""
    return (x - x0).flatten(1).abs().pow(1.5).sum(dim=1)


DISTANCES = ("l0", "l1", "l2", "linf", "ssim", "ciede2000", own)


class Waits(TorchDispatchMode):
    """Counts operations that a host would wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        by_mask = name in INDEXING and any(i is not None and i.dtype == torch.bool for i in args[1])
        if (name in WAITING or by_mask) and not any(LEDGER in frame.filename for frame in inspect.stack(0)):
            self.count += 1
        return func(*args, **(kwargs or {}))


def never(_: Tensor) -> bool:
    return False


def samples() -> tuple[Tensor, Tensor]:
    x = images(4)
    return x, predictions(convolutional(), x)


def waits(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often a host would wait in the steps of a search, from the second to the last."""
    counts: list[int] = []
    with monkeypatch.context() as patched, Waits() as mode:
        patched.setattr(host, "has", never)
        attack(convolutional(), *samples(), on_step=lambda _: counts.append(mode.count))
    return counts[-1] - counts[1]


def test_waiting_is_seen() -> None:
    x = torch.ones(3)
    with Waits() as mode:
        x.masked_fill(x > 0, 1).index_select(0, torch.zeros(2, dtype=torch.int64))
        torch.where(x > 0, x, 0)[:2].sum()
        assert mode.count == 0
        seen = x.sum().item(), bool((x > 0).any()), x[x > 0], x.nonzero()
    assert mode.count == len(seen)


@pytest.mark.parametrize("distance", DISTANCES)
def test_alma_never_waits(distance: str | Own, monkeypatch: pytest.MonkeyPatch) -> None:
    assert waits(ALMA(distance=distance, steps=40), monkeypatch) == 0


@pytest.mark.parametrize(
    ("name", "distance"),
    [
        *(("fmn", distance) for distance in ("l0", "l1", "l2", "linf")),
        *(("pdpgd", distance) for distance in ("l0", "l1", "linf")),
        ("ddn", "l2"),
        ("pdgd", "l2"),
        ("sigma_zero", "l0"),
    ],
)
def test_other_trajectories_never_wait(name: str, distance: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert waits(attacks.get(name, distance=distance, steps=40), monkeypatch) == 0


@pytest.mark.parametrize("distance", DISTANCES)
def test_auto_waits_at_the_ends_of_rounds_only(distance: str | Own, monkeypatch: pytest.MonkeyPatch) -> None:
    # once for what the first gradient tells
    assert waits(Auto(distance=distance, budget=220, stop_early=False), monkeypatch) <= 1
    assert waits(Auto(distance=distance, budget=220), monkeypatch) <= 1 + 2 * 2


@pytest.mark.parametrize("name", ["cw", "ead"])
def test_finished_samples_leave_at_checkpoints_only(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    short, long = (waits(attacks.get(name, steps=steps, searches=2), monkeypatch) for steps in (20, 60))
    assert long - short <= 2 * 2 * 40 / 10


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("name", ["alma", "auto"])
def test_answers_are_the_same(name: str, distance: str | Own, monkeypatch: pytest.MonkeyPatch) -> None:
    attack = ALMA(distance=distance, steps=60) if name == "alma" else Auto(distance=distance, budget=120)
    here = attack(convolutional(), *samples())
    monkeypatch.setattr(host, "has", never)
    there = attack(convolutional(), *samples())
    torch.testing.assert_close(there.distances, here.distances, rtol=1e-4, atol=0)

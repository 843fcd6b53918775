"""Robust accuracy at given radii: ours from one search, another package's where it is installed."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import pytest
import torch
from benchmarks import radii, targets
from benchmarks.outcome import run_theirs
from benchmarks.parity import KW
from benchmarks.peers import Peer, autoattack
from torch import Tensor, nn

from tests.networks import convolutional, exact, generator, images, linear, predictions

T = TypeVar("T")

pytestmark = pytest.mark.usefixtures("as_given")


def untracked(_title: str, jobs: Sequence[T]) -> Iterator[T]:
    return iter(jobs)


def test_radii_share_our_searches_and_ask_for_the_others_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = convolutional(), images(8)
    asked: list[float] = []

    def peer(_distance: str, radius: float) -> Peer:
        def run(model: nn.Module, x: Tensor, _labels: Tensor) -> Tensor:
            asked.append(radius)
            model(x)
            return x if radius < 0.5 else 1 - x

        return Peer("torch", "stands for another package", run)

    monkeypatch.setattr(radii, "BUDGETS", (10, 20))
    monkeypatch.setattr(radii, "QUESTIONS", (radii.Question(KW, "linf", (1e-6, 1.0)),))
    monkeypatch.setattr(radii, "autoattack", peer)
    monkeypatch.setattr(targets, "load", lambda *_: (model, x, predictions(model, x)))
    for installed in (True, False):
        monkeypatch.setattr(radii, "there", lambda _, installed=installed: installed)
        *_, table = radii.tables(Path(), len(x), untracked)
        near, far = table.rows
        flipped = (predictions(model, 1 - x) == predictions(model, x)).double().mean().item()
        assert near[3:] == (
            "1.00" if installed else "–",
            "1.00",
            "1.00",
            "1/0" if installed else "–",
            "10/10",
            "20/20",
        )
        assert far[3:6] == (f"{flipped:.2f}" if installed else "–", "0.00", "0.00")
        assert table.complete
    assert asked == [1e-6, 1.0]
    assert torch.equal(x, images(8))


@pytest.mark.parametrize(("norm", "distance"), [("Linf", "linf"), ("L2", "l2")])
def test_autoattack_by_its_authors_finds_what_is_within_a_radius(
    norm: Literal["Linf", "L2"], distance: str
) -> None:
    pytest.importorskip("pyautoattack")
    model = linear(3 * 8 * 8, classes=10)
    x = 0.5 + 0.4 * (torch.rand(24, 3, 8, 8, generator=generator(1)) - 0.5)
    labels = predictions(model, x)
    best = exact(model, x, labels, distance).amin(dim=1)
    radius = best.quantile(0.6).item()
    found = run_theirs(autoattack(norm, radius), model, x, labels)
    broken = predictions(model, found.images) != labels
    assert not (broken & (best > 1.001 * radius)).any()
    assert broken[best < 0.98 * radius].all()
    assert found.backwards > 100  # a robust image's: APGD alone takes as many

"""The benchmark of other attacks through soft gates: a row per model and attack, a column per width."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
import torch
from benchmarks import softened, targets
from benchmarks.parity import AT, CIFAR, KW

from minadv import DDN, FMN
from tests.networks import Masked, generator, predictions

T = TypeVar("T")


def untracked(_title: str, jobs: Sequence[T]) -> Iterator[T]:
    return iter(jobs)


def test_rows_have_a_median_as_the_model_is_and_one_per_width(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Masked().eval()
    x = 0.5 + 0.15 * torch.rand(24, 1, 7, 7, generator=generator(9))
    asked: list[str] = []

    def load(name: str, *_: object) -> targets.Attackable:
        asked.append(name)
        return model, x, predictions(model, x)

    monkeypatch.setattr(targets, "load", load)
    monkeypatch.setattr(softened, "ATTACKS", (FMN(distance="linf", steps=60), DDN(steps=1)))
    *before, table = softened.tables(Path(), len(x), untracked)
    assert list(dict.fromkeys(asked)) == [KW, AT, CIFAR]
    assert [one.complete for one in before] == [False] * 5
    assert table.complete
    assert [row[:3] for row in table.rows[:2]] == [(KW, "FMN", "linf"), (KW, "DDN", "l2")]
    hard, *soft = (float(cell.split()[0]) for cell in table.rows[0][3:])
    assert len(soft) == len(softened.WIDTHS)
    assert max(soft) < hard
    assert table.rows[1][3].endswith(" %)")  # one step finds nothing, or not for all

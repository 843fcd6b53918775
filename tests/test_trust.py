"""The questions of `benchmarks.trust`, as far as no other package is needed."""

import pytest
import torch
from benchmarks import trust
from benchmarks.answers import Answers, lagrangian, ours
from torch import Tensor, nn

from minadv import ALMA, CW
from tests.networks import convolutional, images, predictions


@pytest.fixture
def batch() -> tuple[nn.Module, Tensor, Tensor]:
    model, x = convolutional(), images(16)
    return model, x, predictions(model, x)


def test_what_is_asked_of_answers(batch: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, x, y = batch
    attack = ours(ALMA(distance="l2", steps=40))
    assert trust.black(attack, *batch) == "0 / 0"
    assert trust.company(attack, *batch) == "0"
    margin, _, rest = trust.on_the_boundary(attack, *batch).partition(", ")
    assert float(margin) == 1e-4
    assert rest.endswith("of 16")
    assert trust.stored(ours(ALMA(distance="l2", steps=40, levels=256)), *batch) == "16 of 16"
    assert trust.left_behind(attack, *batch) == "nothing"
    assert trust.message(attack, model, 255 * x, y).startswith("ValueError: inputs must be finite and in [0, 1]")
    assert trust.message(attack, *trust.two_classes(nn.Sequential(model, nn.Linear(5, 10)), x, y)).startswith(
        "ValueError: dlr_plus needs at least 3 classes"
    )


def test_what_is_wrong_is_seen(batch: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, x, y = batch

    def careless(model: nn.Module, x: Tensor, y: Tensor) -> Answers:
        torch.manual_seed(len(x))
        model.train()
        model(x).sum().backward()
        return Answers(torch.zeros_like(x) if len(x) > 1 else 0.5 + 0 * x, torch.ones_like(y, dtype=torch.bool))

    assert trust.black(careless, *batch) == "16 / 16"
    assert trust.company(careless, *batch) == "16"
    assert trust.left_behind(careless, nn.Sequential(model, nn.Dropout().eval()), x, y) == (
        "gradients, modes, random state"
    )
    assert trust.found_from_extremes(careless, *batch) == "0"
    assert trust.message(lambda *_: (_ for _ in ()).throw(AssertionError), *batch) == "AssertionError: (no text)"


def test_images_of_zeros_and_ones_are_found(batch: tuple[nn.Module, Tensor, Tensor]) -> None:
    few = {"distance": "l2", "searches": 4, "steps": 60}
    assert int(trust.found_from_extremes(ours(CW(**few)), *batch)) > 8  # type: ignore[arg-type]
    assert trust.found_from_extremes(ours(CW(**few, shrink=1e-6)), *batch) == "0"  # type: ignore[arg-type]


def test_absent_packages_are_left_out(
    monkeypatch: pytest.MonkeyPatch, batch: tuple[nn.Module, Tensor, Tensor]
) -> None:
    monkeypatch.setattr(trust, "there", lambda package: package == "minadv")
    check = trust.Check("?", lagrangian(5), trust.black)
    assert check.row(*batch) == ("?", "0 / 0", "–", "–", "–")

"""The comparison with other packages: what its counts mean, and that its rows fit the attacks and the packages."""

from io import StringIO
from pathlib import Path

import pytest
import torch
from benchmarks import parity
from benchmarks.outcome import Outcome, run_ours, run_theirs, score
from benchmarks.peers import Counting, Peer, adv_lib
from benchmarks.tracking import show
from rich.console import Console

from minadv import ALMA, DDN
from tests.networks import convolutional, images, predictions

pytestmark = pytest.mark.usefixtures("as_given")


def test_counts_are_the_oracles() -> None:
    """Multiples of four samples: our attacks fill other batches up with copies, which they don't count."""
    model, inputs = convolutional(), images(8)
    labels = predictions(model, inputs)
    counting = Counting(model)
    result = ALMA(steps=7)(counting, inputs, labels)
    checks = len(inputs)  # verification classifies the answers once more
    assert counting.forwards == result.forwards.sum() + checks
    assert counting.backwards == result.backwards.sum() == 7 * len(inputs)


def test_a_leaf_passed_twice_is_counted_twice() -> None:
    model = convolutional()
    counting, leaf = Counting(model), images(3).requires_grad_()
    for _ in range(2):
        torch.autograd.grad(counting(leaf).sum(), leaf)
    with torch.no_grad():
        counting(leaf)
    assert (counting.forwards, counting.backwards) == (9, 6)
    assert not counting.training
    assert Counting(model.train()).training


def test_peers_are_scored_by_ourselves() -> None:
    """Out of the box is clipped, unclassified or non-finite images are failures: infinitely far."""
    model, inputs = convolutional(), images(4)
    labels = predictions(model, inputs)
    other = next(image for image in images(64, seed=5) if predictions(model, image[None]) != labels[0])
    answers = inputs.clone()
    answers[0], answers[1] = other + 1e-3, torch.nan
    peer = Peer("torch", "made up", lambda model, inputs, labels: answers)
    outcome = score(run_theirs(peer, model, inputs, labels), "linf", model, inputs, labels)
    assert outcome.asr == 0.25
    assert outcome.median == torch.inf
    assert (outcome.forwards, outcome.backwards) == (0, 0)


@pytest.mark.parametrize(
    ("ours", "theirs", "mark"),
    [((1.0, 1.0), (1.0, 1.0), ""), ((1.04, 1.0), (1.0, 1.0), "✗"), ((1.0, 0.9), (1.0, 1.0), "✗")],
)
def test_verdict(ours: tuple[float, float], theirs: tuple[float, float], mark: str) -> None:
    one, other = (Outcome(*measured, 1, 1, 1) for measured in (ours, theirs))
    assert parity.verdict(one, other)[2] == mark


@pytest.mark.parametrize("quick", [False, True])
def test_rows_name_attacks_and_settings_that_exist(quick: bool) -> None:
    assert all(row.label for row in parity.rows(quick))


def test_the_table_is_written_row_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = convolutional(), images(4)
    monkeypatch.setattr(parity.targets, "load", lambda *_: (model, inputs, predictions(model, inputs)))
    near, far = (
        Peer("torch", name, lambda model, inputs, labels, answers=answers: answers)
        for name, answers in (("near", inputs), ("far", 1 - inputs))
    )
    chosen = [parity.Row("small", "DDN", {"steps": 20}, peer) for peer in (near, far)]
    console, file = Console(file=StringIO(), width=240), tmp_path / "new" / "parity.md"
    comparison = parity.Comparison(tmp_path, 4)
    show(lambda track: parity.tables(chosen, comparison, "4 images", track), file, console)
    title, _, columns, rule, *lines, _, note = file.read_text().splitlines()
    assert (title, note) == ("## Beside other packages", "4 images")
    assert columns.count("|") == rule.count("|") == len(parity.COLUMNS) + 1
    one, other = (line.split(" | ") for line in lines)
    assert one[1] == other[1] == "DDN(l2, steps=20)"
    assert one[2:6] == other[2:6], "our run is not repeated"
    assert (one[7], one[8]) == ("inf", "0 %")


def test_a_peer_at_equal_settings() -> None:
    pytest.importorskip("adv_lib")
    model, inputs = convolutional(), images(8)
    labels = predictions(model, inputs)
    found = run_theirs(adv_lib("ddn", steps=20, levels=None), model, inputs, labels)
    theirs = score(found, "l2", model, inputs, labels)
    ours = run_ours(DDN(steps=20), model, inputs, labels)
    assert ours.median == pytest.approx(theirs.median, rel=0.01)
    assert (theirs.forwards, theirs.backwards) == (ours.forwards, ours.backwards) == (20, 20)

"""The speed benchmark: what its ratios mean, by a clock of our own, and that its rows fit attacks and packages."""

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any, TypeVar

import pytest
import torch
from benchmarks import automatic, cases, footprint, heap, linear, overhead, paired, speed, starting, wallclock
from benchmarks.apart import apart
from benchmarks.cases import Case
from benchmarks.linear import Cost
from benchmarks.outcome import Outcome
from benchmarks.paired import Paired, Ratios
from benchmarks.peers import Counting, Peer, adv_lib
from benchmarks.tables import MISSED, Table, judged, written
from torch import Tensor, nn

from minadv import ALMA, DDN
from minadv.attacks.registry import REGISTRY
from tests.networks import convolutional, images, predictions

pytestmark = pytest.mark.usefixtures("as_given")

T = TypeVar("T")


def silent(title: str, jobs: Sequence[T], /) -> Iterator[T]:
    yield from jobs


def case(count: int = 8) -> Case:
    model, inputs = convolutional().requires_grad_(False), images(count)
    return Case("small", model, inputs, predictions(model, inputs), "")


@dataclass
class Machine:
    """A clock that only work moves; `slowdown` makes every piece of work slower than the one before."""

    slowdown: float = 1.0
    now: float = 0.0
    unit: float = 1.0

    def __call__(self) -> float:
        return self.now

    def work(self, amount: float) -> None:
        self.now += amount * self.unit
        self.unit *= self.slowdown


class Working(nn.Module):
    """A model whose forward takes a third of a pass."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.machine = machine

    def forward(self, x: Tensor) -> Tensor:
        self.machine.work(1 / 3)
        return x


def attack_of(machine: Machine, own: float, steps: int = 12) -> Callable[..., None]:
    """Backward passes, and work of its own; the first step and the last are far longer."""

    def attack(model: nn.Module, inputs: Tensor, labels: Tensor) -> None:
        for step in range(steps):
            model(inputs)
            machine.work(2 / 3 + own + (50 if step in (0, steps - 1) else 0))
        model(inputs)

    return attack


@pytest.mark.parametrize("own", [0.0, 0.25, 1.0])
def test_a_step_is_over_the_bare_passes_around_it(own: float) -> None:
    machine = Machine()
    batch = Case("", Working(machine), torch.rand(2, 3), torch.zeros(2), "")
    found = paired.ratio(attack_of(machine, own), batch, lambda x: machine.work(1), machine)
    assert found == pytest.approx(1 + own)


def test_a_machine_that_slows_down_changes_nothing() -> None:
    machine = Machine(slowdown=1.05)
    batch = Case("", Working(machine), torch.rand(2, 3), torch.zeros(2), "")
    found = paired.ratio(attack_of(machine, 1.0), batch, lambda x: machine.work(1), machine)
    assert machine.unit > 5
    assert found == pytest.approx(2, rel=0.05)


def test_a_step_is_over_bare_passes_by_themselves() -> None:
    """In an attack's heap bare passes take half; the attack's own time stays."""
    machine = Machine()
    batch = Case("", Working(machine), torch.rand(2, 3), torch.zeros(2), "")
    kept: list[bool] = []

    def bare(_: Tensor) -> None:
        machine.work(1 if kept else 2)

    found = paired.ratios(lambda *_: kept.append(True), attack_of(machine, 0.5), batch, bare, machine)
    assert (found.alone, found.in_turns) == pytest.approx((0.75, 1.5))


def test_a_bare_pass_is_one_forward_and_one_backward_whatever_the_mode() -> None:
    counting = Counting(convolutional())
    x = images(4)
    with torch.no_grad():
        paired.bare_pass(counting, x)
    paired.bare_pass(counting, 2 * x.requires_grad_())
    assert (counting.forwards, counting.backwards) == (8, 8)
    assert x.grad is None


@pytest.mark.parametrize("attack", [ALMA(steps=6), DDN(steps=6), adv_lib("ddn", steps=6, levels=None)])
def test_every_forward_is_paired_and_results_stay(attack: Any) -> None:
    if isinstance(attack, Peer):
        pytest.importorskip("adv_lib")
    batch, bare = case(), []
    measured = Paired(batch.model, lambda x: bare.append(len(x)))
    with_it, without = (attack(model, batch.inputs, batch.labels) for model in (measured, batch.model))
    # ours verify by one forward more
    assert bare == [8] * (6 if isinstance(attack, Peer) else 7)
    assert len(measured.ratios) == len(bare) - 1
    assert not measured.training
    torch.testing.assert_close(*(getattr(result, "adversarials", result) for result in (with_it, without)))


def test_targets_are_about_columns_that_are_measured() -> None:
    labels = {column.label: column for column in overhead.COLUMNS}
    assert set(overhead.AT_MOST) == set(cases.BATCHES) == set(overhead.STEPS)
    for name, limits in overhead.AT_MOST.items():
        assert all(1 <= most <= 2.2 for most in limits.values())
        assert all("ours" in labels[label].large for label in limits)
        assert overhead.STEPS[name][0] > paired.SKIPPED + 2


def test_overhead_beside_limits_and_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A column per attack; rows of ours, limits, and the peer's or how to get it."""
    found = iter([1.09, 1.07, 1.09])

    def measured(_measured: object, name: str, label: str, side: str) -> Ratios:
        assert (name, label, side) == (cases.CIFAR, "ALMA ℓ2", "ours")
        return Ratios(next(found), 1.2)

    monkeypatch.setattr(overhead, "load", lambda name: replace(case(), name=name))
    monkeypatch.setattr(overhead, "apart", measured)
    monkeypatch.setattr(overhead, "PEER", "adv-lib-that-nobody-has")
    (table,) = overhead.tables([cases.CIFAR], "alma ℓ2", 3, silent)
    assert table.columns[1:] == ("ALMA ℓ2",)
    ours, limits, theirs, in_turns, _ = table.rows
    assert ours[1] == f"1.09 {MISSED}"  # the median of 1.09, 1.07, 1.09
    assert in_turns[1] == "1.20"
    assert limits[1] == "1.08"
    assert "not installed: make parity" in theirs[0]
    assert theirs[1] == ""
    assert not list(overhead.tables([cases.CIFAR], "no such attack", 3, silent))


@pytest.mark.parametrize(
    ("value", "most", "text"),
    [
        (1.084, 1.08, "1.08"),
        (1.086, 1.08, f"1.09 {MISSED}"),
        (9.9, None, "9.90"),
        (math.nan, 1.0, f"nan {MISSED}"),
    ],
)
def test_judged_as_printed(value: float, most: float | None, text: str) -> None:
    assert judged(value, most) == text


def test_markdown_is_written_table_by_table(tmp_path: Path) -> None:
    file = tmp_path / "new" / "speed.md"

    def tables() -> Iterator[Table]:
        yield Table("A", ("x", "y"), (("1", "2"),), "How.")
        yield Table("B", ("z",), (("3",),), complete=False)
        yield Table("B", ("z",), (("3",), ("4",)))
        raise KeyboardInterrupt

    found = written(tables(), file)
    assert next(found).title == "A"
    assert file.read_text() == "## A\n\n| x | y |\n| --- | --- |\n| 1 | 2 |\n\nHow.\n"
    with pytest.raises(KeyboardInterrupt):
        list(found)
    text = file.read_text()
    assert text.count("## B") == 1
    assert text.endswith("\n\n## B\n\n| z |\n| --- |\n| 3 |\n| 4 |\n")
    assert next(written(tables(), None)).title == "A"


def test_memory_counts_what_an_attack_holds_at_once() -> None:
    batch = case(512)

    def holding(model: nn.Module, inputs: Tensor, labels: Tensor) -> list[Tensor]:
        held = [inputs + i for i in range(15)]
        paired.bare_pass(model, inputs)
        return held

    found = footprint.beyond(holding, batch)  # type: ignore[arg-type]
    assert found == pytest.approx(15, abs=0.2)
    assert footprint.cell(found, "l2").endswith(MISSED)


def test_memory_of_every_attack_is_limited_except_with_lpips() -> None:
    attacks = [
        footprint.short(name, distance)
        for name, card in REGISTRY.items()
        for distance in footprint.DISTANCES
        if card.minimises(distance.partition(":")[0])
    ]
    assert {attack.name for attack in attacks} == set(REGISTRY)
    assert all(getattr(attack, "steps", footprint.STEPS) == footprint.STEPS for attack in attacks)
    assert all(vars(attack).items() >= footprint.AUTO.items() for attack in attacks if attack.name == "auto")
    assert footprint.cell(12.04, "l2") == "12.0"
    assert footprint.cell(12.06, "l2") == f"12.1 {MISSED}"
    assert footprint.cell(60.0, "lpips:trunk=demo") == "60.0"
    assert footprint.cell(None, "l2") == ""


def test_races_name_attacks_and_settings_that_exist() -> None:
    races = list(wallclock.races())
    assert len({race.key for race in races}) == len(races)
    halves = {race.row.attack.partition(".")[0] for race in races if race.most == 0.5}
    assert halves == {"CW", "EAD"}
    assert {race.most for race in races} == {0.5, 1.0}


def test_a_race_is_run_in_turns_and_judged_by_the_median() -> None:
    order: list[str] = []
    taken = {"ours": iter([3.0, 9.0, 1.0]), "peer": iter([2.0, 3.0, 2.0])}

    def run(race: wallclock.Race, side: wallclock.Side) -> Outcome:
        order.append(side)
        return Outcome(0.1, 1.0, 100, 99, next(taken[side]))

    race = next(wallclock.races())
    here = replace(race, row=replace(race.row, peer=Peer("torch", "made up", lambda *_: torch.zeros(1))))
    cells = wallclock.compared(here, 3, run)
    assert order == ["ours", "peer", "peer", "ours", "ours", "peer"]
    assert cells[2:] == ("100/99", "100/99", f"1.50 {MISSED}", "1.00")


def test_a_race_without_its_peer_says_so() -> None:
    race = next(wallclock.races())
    missing = replace(race, row=replace(race.row, peer=Peer("nobody-has-it", "", lambda *_: torch.zeros(1))))
    assert "make parity" in wallclock.compared(missing, 3, lambda race, _side: race.run("ours", case()))[1]


def test_a_race_of_equal_counts() -> None:
    pytest.importorskip("adv_lib")
    race = next(wallclock.races())
    short = replace(race.row, settings={"steps": 5}, peer=adv_lib("ddn", steps=5, levels=None))
    cells = wallclock.compared(replace(race, row=short, most=math.inf), 1, lambda one, side: one.run(side, case()))
    assert cells[2:4] == ("5/5", "5/5")
    assert float(cells[4]) > 0


def test_a_side_runs_in_a_process_of_its_own() -> None:
    outcome = apart(wallclock.run, next(wallclock.races()).key, "ours", 2)
    assert outcome.passes == "100/100"
    assert outcome.seconds > 0


def test_what_keeping_memory_is_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = {False: iter([8.0, 12.0, 10.0]), True: iter([6.0, 6.0, 6.0])}
    monkeypatch.setattr(heap, "apart", lambda _cost, _name, _label, kept: heap.Cost(next(costs[kept]), 3.0))
    (table,) = heap.tables([cases.CIFAR], "ddn", 3, silent)
    assert table.rows == ((f"{cases.CIFAR}, DDN", "10.0", "3", "6.0", "3", "0.60"),)
    assert not list(heap.tables([cases.RESNET50], "ddn", 3, silent))


def test_a_setting_that_changes_nothing_leaves_the_heap_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "load", lambda _name: case())
    monkeypatch.setattr(heap.os, "environ", environment := dict(os.environ))
    assert heap.cost(cases.CIFAR, "DDN", True).milliseconds > 0
    assert "MALLOC_PERTURB_" not in environment
    heap.cost(cases.CIFAR, "DDN", False)
    assert environment["MALLOC_PERTURB_"] == "0"


def test_linear_marks_what_grows() -> None:
    few, many, large = linear.Job(100, 16), linear.Job(1000, 16), linear.Job(100, 64)
    costs = {few: Cost(1.2, 1.0), many: Cost(1.8, 1.0), large: Cost(2.4, 2.0)}
    first, longer, larger = linear.compared([few, many, large], [costs])
    assert first[1:] == ("1.20", "1.00", "1.00")
    assert longer[1:] == ("1.80", f"1.50 {MISSED}", "")  # a step of 1000 costs more than a step of 100
    assert larger[1:] == ("1.20", "0.50", "0.50")  # four times the samples in twice the time


def test_linear_costs_hold_all_but_the_bare_passes() -> None:
    cost = linear.Job(10, 4).cost(case())
    assert 0 < cost.bare < 10
    assert 0 < cost.step < 10


def test_starting_is_relative_to_torch_and_in_turns() -> None:
    seen: list[str] = []

    def timer(command: Sequence[str]) -> float:
        seen.append(command[-1])
        return {"import torch": 2.0, "import minadv": 0.5, "from minadv import ALMA": 3.0, "list": 1.5}.get(
            command[-1], 0.2
        )

    (table,) = starting.tables(silent, timer)
    assert [row[1] for row in table.rows] == ["0.25", f"1.50 {MISSED}", "0.20", f"1.50 {MISSED}", "0.20"]
    turn = len(table.rows) + 1
    assert seen == seen[:turn] * (starting.ROUNDS + 1)


def test_a_command_that_fails_is_not_timed() -> None:
    assert starting.seconds([sys.executable, "-c", ""]) > 0
    with pytest.raises(CalledProcessError):
        starting.seconds([sys.executable, "-c", "raise SystemExit(1)"])


def test_without_the_shared_files_it_says_so(tmp_path: Path) -> None:
    found = cases.load(cases.CIFAR, 4, tmp_path)
    assert "random weights and noise" in found.note
    assert found.inputs.shape == (4, 3, 32, 32)
    assert (found.labels == predictions(found.model, found.inputs)).all()


class Ticking(nn.Module):
    """A model of which a forward takes a unit of a clock, and nothing else any time."""

    def __init__(self, model: nn.Module, machine: Machine) -> None:
        super().__init__()
        self.model, self.machine = model, machine
        self.train(model.training)

    def forward(self, x: Tensor) -> Any:
        self.machine.work(1)
        return self.model(x)


def test_autos_cost_is_by_what_was_spent() -> None:
    machine = Machine()
    batch = replace(case(), model=Ticking(case().model, machine))
    short, long = (automatic.per_propagation(ALMA(steps=steps), batch, machine) for steps in (20, 60))
    # a forward in two propagations, and the one that verifies
    assert (short, long) == (pytest.approx(21 / 40), pytest.approx(61 / 120))
    assert automatic.relative(batch, "l2", 2, machine) == pytest.approx(1, rel=0.05)


def test_autos_cost_is_shown_for_the_two_small_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(automatic, "load", lambda name: replace(case(), name=name))
    monkeypatch.setattr(automatic, "relative", lambda batch, distance, rounds: {"l1": 1.2}.get(distance, 1.0))
    found = list(automatic.tables(list(cases.BATCHES), "auto", 1, silent))
    assert [table.columns[1:] for table in found] == [tuple(automatic.DISTANCES.values())] * 2
    assert found[0].rows[0] == ("Auto / ALMA", "1.00", f"1.20 {MISSED}", "1.00", "1.00", "1.00", "1.00")
    (one,) = automatic.tables([cases.CIFAR], "ssim", 1, silent)
    assert one.columns == ("seconds per propagation", "SSIM")
    assert not list(automatic.tables([cases.CIFAR], "no such distance", 1, silent))


def test_every_part_has_its_tables() -> None:
    given = argparse.Namespace(model="", attack="", samples=4, rounds=1)
    assert tuple(speed.parts(given, silent)) == speed.PARTS

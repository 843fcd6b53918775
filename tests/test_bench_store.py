"""The store: damage is noticed, finished work is never lost, what decides a number is in its name."""

import functools
import json
import os
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import fields, replace
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn
from torchvision import transforms

from minadv import ALMA, attacks, distances, hashes
from minadv.attacks.registry import REGISTRY
from minadv.bench import files, fingerprints, reading, suite
from minadv.bench.jobs import Job, Options, Planning, shards
from minadv.bench.merging import merge
from minadv.bench.planning import plan
from minadv.bench.records import ROWS, Diagnosis, Failure, Plan
from minadv.bench.store import DamagedError, Store
from minadv.models.wrap import Function
from tests import benches
from tests.networks import convolutional, images
from tests.shared import ROOT

FILES = ("rows.parquet", "adversarials.safetensors", "shard.json")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images and a suite of two attacks, six shards in all."""
    folder = tmp_path_factory.mktemp("suite")
    data = benches.write_images(folder / "images.npz")
    two = (("alma", "l2"), ("fmn", "l1"))
    entries = [{"attack": attack, "distances": [distance], "steps": [6]} for attack, distance in two]
    benches.write_suite(folder, data, *entries)
    return folder


@pytest.fixture(scope="module")
def whole(place: Path) -> Path:
    done = benches.bench(place / "suite.toml", place / "whole")
    assert done.exit_code == 0, done.output
    return place / "whole"


@pytest.fixture
def out(whole: Path, tmp_path: Path) -> Path:
    """A copy of the finished run to do damage to."""
    return Path(shutil.copytree(whole, tmp_path / "out"))


def planning(*args: Any, options: Options | None = None, **top: Any) -> Planning:
    return plan(suite.parse(benches.toml(*args, **top), "a test"), options or Options())


def job(*args: Any, **top: Any) -> Job:
    (only,) = planning(*args, **top).jobs
    return only


# damage


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")


def delete(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [flip, empty, cut, delete], ids=lambda damage: damage.__name__)
def test_a_damaged_shard_is_named_and_computed_again(
    damage: Callable[[Path], None], name: str, place: Path, whole: Path, out: Path
):
    victim = benches.shards(out)[2]
    before, expected = benches.stamps(out), benches.rows(whole)
    damage(victim / name)

    noticed = reading.read(out)
    if (name, damage) != ("adversarials.safetensors", flip):  # tensors are looked into when they are asked for
        assert any(victim.name in note for note in noticed.notes)
        assert victim.name not in noticed.rows["shard"]
        assert len(noticed.rows) == len(expected) - 4
    left = noticed.rows.filter(pl.col("shard") != victim.name).drop("seconds")
    assert benches.bits(left) == benches.bits(expected.filter(pl.col("shard") != victim.name).select(left.columns))

    done = benches.bench(place / "suite.toml", out)
    assert done.exit_code == 0, done.output
    assert victim.name in done.output
    assert "computed again" in done.output
    assert "1 shard computed, 5 were finished before" in done.output
    assert benches.bits(benches.rows(out)) == benches.bits(expected)
    assert benches.same_tensors(out, whole)
    changed = {shard for shard, stamp in benches.stamps(out).items() if before[shard] != stamp}
    assert changed == {victim.name}
    assert not benches.leftovers(out)
    assert reading.read(out).notes == ()


def test_every_flipped_byte_of_rows_and_tensors_is_noticed(out: Path):
    store = Store(out)
    (shard, *_) = store.shard_names()
    for name in FILES[:2]:
        path = out / "shards" / shard / name
        content = path.read_bytes()
        for at in range(0, len(content), len(content) // 50):
            path.write_bytes(content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :])
            assert not store.intact(shard), (name, at)
        path.write_bytes(content)
    assert store.intact(shard)


def test_no_flipped_byte_of_a_record_changes_what_is_read(out: Path):
    store = Store(out)
    (shard, *_) = store.shard_names()
    path = out / "shards" / shard / "shard.json"
    content, record = path.read_bytes(), store.record(shard)
    for at in range(0, len(content), 3):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x01]) + content[at + 1 :])
        try:
            assert store.record(shard) == record, at
        except DamagedError:
            continue
    path.write_bytes(content)
    assert store.intact(shard)


def test_damaged_tensors_are_told_when_they_are_asked_for(out: Path):
    read = reading.read(out)
    victim = benches.shards(out)[0]
    rows = read.rows.filter(pl.col("shard") == victim.name)
    intact = read.pictures(rows["cell"][0], rows["sample"].to_list())
    assert len(intact.adversarials) == len(rows)
    flip(victim / "adversarials.safetensors")
    with pytest.raises(DamagedError, match=f"{victim.name}.*altered"):
        read.pictures(rows["cell"][0], rows["sample"].to_list())


def test_a_file_that_cannot_be_read_is_damage(out: Path, monkeypatch: pytest.MonkeyPatch):
    store = Store(out)
    victim = benches.shards(out)[0]
    opened = Path.open

    def broken(path: Path, *args: Any, **options: Any) -> Any:
        if path.parent == victim and path.name == "rows.parquet":
            raise OSError(5, "Input/output error")
        return opened(path, *args, **options)

    monkeypatch.setattr(Path, "open", broken)
    assert not store.intact(victim.name)


def test_an_irregular_shard_that_is_damaged_is_computed_again(place: Path, whole: Path, tmp_path: Path):
    """Shards that a larger --limit leaves between others have no place in the regular cuts."""
    words = (place / "suite.toml", tmp_path / "out")
    assert benches.bench(*words, "--limit", 6).exit_code == 0
    assert benches.bench(*words).exit_code == 0
    small = [path for path in benches.shards(tmp_path / "out") if len(pl.read_parquet(path / "rows.parquet")) == 2]
    assert len(small) == 4
    flip(small[0] / "rows.parquet")
    flip(small[1] / "adversarials.safetensors")
    done = benches.bench(*words)
    assert done.exit_code == 0, done.output
    assert done.output.count("computed again") == 2
    assert benches.bits(benches.rows(tmp_path / "out", "shard")) == benches.bits(benches.rows(whole, "shard"))
    aside = {path.name for path in (tmp_path / "out" / "damaged").iterdir()}
    assert aside == {small[0].name, small[1].name}


@pytest.mark.parametrize("damage", [cut, empty, delete], ids=lambda damage: damage.__name__)
def test_reading_works_without_the_plan(damage: Callable[[Path], None], whole: Path, out: Path):
    damage(out / "plan.json")
    read = reading.read(out)
    assert any("plan.json" in note for note in read.notes)
    assert {cell.attack for cell in read.cells} == {"ALMA ℓ2 6", "FMN ℓ1 6"}
    assert benches.bits(read.rows.drop("seconds")) == benches.bits(reading.read(whole).rows.drop("seconds"))


@pytest.mark.parametrize(("was", "now"), [("FMN ℓ1 6", "FMN ℓ1 9"), ('"column":"l2"', '"column":"lx"')])
def test_an_altered_plan_is_noticed(was: str, now: str, whole: Path, out: Path):
    text = (out / "plan.json").read_text()
    assert was in text
    (out / "plan.json").write_text(text.replace(was, now))
    read = reading.read(out)
    assert any("plan.json was altered" in note for note in read.notes)
    assert {cell.attack for cell in read.cells} == {"ALMA ℓ2 6", "FMN ℓ1 6"}
    older = json.loads(text)  # of a version that wrote no checksum
    del older["checksum"]
    (out / "plan.json").write_text(json.dumps(older))
    assert reading.read(out).notes == reading.read(whole).notes


@pytest.mark.parametrize("damage", [cut, empty, delete], ids=lambda damage: damage.__name__)
def test_reading_works_without_a_cells_file(damage: Callable[[Path], None], whole: Path, out: Path):
    victim = sorted((out / "cells").iterdir())[0]
    damage(victim)
    assert benches.bits(reading.read(out).rows) == benches.bits(reading.read(whole).rows)  # the plan says it, too
    (out / "plan.json").unlink()
    read = reading.read(out)
    assert any("cells" in note for note in read.notes)
    assert len(read.rows) == 12
    assert victim.stem not in read.rows["cell"]


def test_running_again_repairs_plan_and_cells(place: Path, whole: Path, out: Path):
    before = benches.stamps(out)
    (out / "plan.json").write_text("nonsense")
    for path in (out / "cells").iterdir():
        path.unlink()
    assert benches.bench(place / "suite.toml", out).exit_code == 0
    assert (out / "plan.json").read_bytes() == (whole / "plan.json").read_bytes()
    assert sorted(path.name for path in (out / "cells").iterdir()) == sorted(
        path.name for path in (whole / "cells").iterdir()
    )
    assert benches.stamps(out) == before


def test_rows_are_what_is_documented(whole: Path):
    rows = pl.read_parquet(whole / "shards" / "*" / "rows.parquet")
    assert rows.schema == pl.Schema(ROWS)
    assert reading.read(whole).rows.schema == pl.Schema(ROWS)
    for record, _ in [(Store(whole).record(name), name) for name in Store(whole).shard_names()]:
        assert record.format == 1
        assert {path.name for path in (whole / "shards" / record.id).iterdir()} == set(FILES)


def test_a_folder_that_is_none_is_told(tmp_path: Path):
    for call in (lambda: reading.read(tmp_path), lambda: merge(tmp_path, tmp_path / "new")):
        with pytest.raises(FileNotFoundError, match="no benchmark folder"):
            call()


# what killed processes leave


def test_what_killed_processes_left_is_removed(place: Path, out: Path):
    shard, *_ = benches.shards(out)
    (out / "claims" / f"{shard.name}.lock").touch()
    halves = [
        out / ".plan.json.999999",
        out / "cells" / f".{sorted((out / 'cells').iterdir())[0].name}.999999",
        out / "shards" / f".{shard.name}.999999" / "rows.parquet",
    ]
    halves[2].parent.mkdir()
    for half in halves:
        half.write_text("half of it")
    shutil.rmtree(shard)
    assert benches.bench(place / "suite.toml", out).exit_code == 0
    assert not benches.leftovers(out)


def test_a_claim_is_held_by_one(out: Path):
    store = Store(out)
    first = store.claim("abc")
    assert first is not None
    assert store.claim("abc") is None
    first.release()
    again = store.claim("abc")
    assert again is not None
    again.release()
    assert not benches.leftovers(out)


def test_a_half_written_file_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    files.write_text(tmp_path / "plan.json", "old")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_text(tmp_path / "plan.json", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]
    assert (tmp_path / "plan.json").read_text() == "old\n"


# merging and moving


def test_two_halves_make_the_whole(place: Path, whole: Path, tmp_path: Path):
    for half, words in (("one", "alma"), ("two", "fmn")):
        assert benches.bench(place / "suite.toml", tmp_path / half, "--only", words).exit_code == 0
    done = benches.minadv("merge", tmp_path / "one", tmp_path / "two")
    assert done.exit_code == 0
    assert "3 shards copied, 0 were there already" in done.output
    assert benches.bits(benches.rows(tmp_path / "two")) == benches.bits(benches.rows(whole))
    read = reading.read(tmp_path / "two")
    assert {planned.attack for planned in read.planned} == {"ALMA ℓ2 6", "FMN ℓ1 6"}
    before = benches.stamps(tmp_path / "two")
    again = benches.bench(place / "suite.toml", tmp_path / "two")
    assert "0 shards computed, 6 were finished before" in again.output
    assert benches.stamps(tmp_path / "two") == before
    merged = merge(tmp_path / "one", tmp_path / "two")
    assert (merged.copied, merged.there) == (0, 3)


def test_a_folder_of_minadv_attack_takes_no_shards(whole: Path, tmp_path: Path):
    run = tmp_path / "run"
    assert benches.minadv("attack", "--samples", 2, "--attack", "ddn", "--steps", 2, "--out", run).exit_code == 0
    before = sorted(path.name for path in run.iterdir())
    done = benches.minadv("merge", whole, run)
    assert done.exit_code == 2
    assert "holds a run of minadv attack" in done.output.replace("\n", " ")
    assert sorted(path.name for path in run.iterdir()) == before


def test_halves_of_the_samples_make_the_whole(place: Path, whole: Path, tmp_path: Path):
    text = (place / "suite.toml").read_text()
    for name, samples in (("one", "[0, 8]"), ("two", "[8, 12]")):
        (tmp_path / f"{name}.toml").write_text(f"samples = {samples}\n{text}")
        assert benches.bench(tmp_path / f"{name}.toml", tmp_path / name).exit_code == 0
    merge(tmp_path / "one", tmp_path / "two")
    assert benches.bits(benches.rows(tmp_path / "two")) == benches.bits(benches.rows(whole))
    assert {planned.samples for planned in reading.read(tmp_path / "two").planned} == {tuple(range(12))}


def test_what_could_not_be_computed_here_is_what_it_is_elsewhere(whole: Path, out: Path):
    plan_of, _ = Store(out).plan()
    assert plan_of is not None
    missing = [
        planned.model_copy(update={"cell": None, "unavailable": "no weights"}) for planned in plan_of.planned
    ]
    changed = plan_of.model_copy(update={"planned": tuple(missing)}).sealed()
    files.write_text(out / "plan.json", changed.model_dump_json())
    assert reading.read(out).rows.is_empty()
    merge(whole, out)
    assert len(reading.read(out).rows) == 24


def test_what_is_damaged_is_left_behind_or_repaired(whole: Path, out: Path, tmp_path: Path):
    victim = benches.shards(out)[1]
    flip(victim / "rows.parquet")
    done = benches.minadv("merge", out, tmp_path / "new")
    assert done.exit_code == 0
    assert victim.name in done.output
    assert "left behind" in done.output
    assert len(benches.shards(tmp_path / "new")) == 5
    assert merge(whole, out).copied == 1
    assert Store(out).intact(victim.name)
    assert benches.bits(benches.rows(out)) == benches.bits(benches.rows(whole))
    assert not benches.leftovers(out)


def test_what_is_called_something_else_leads_nowhere(whole: Path, out: Path, tmp_path: Path):
    name = hashes.digest("a diagnosis")
    facts = {"name": name, "model": "net", "model_hash": "", "samples": 1, "checks": (), "findings": ()}
    Store(out).write_diagnosis(Diagnosis.model_validate(facts))
    assert [found.name for found in Store(out).diagnoses()] == [name]
    foreign = (str(tmp_path / "mine"), "../../mine", "", hashes.digest("another"), f"{name}\n")
    files_of = ((sorted((out / "cells").iterdir())[0], "id"), (out / "diagnoses" / f"{name}.json", "name"))
    for number, called in enumerate(foreign):
        for path, key in files_of:
            path.write_text(json.dumps(json.loads(path.read_text()) | {key: called}))
        assert list(Store(out).diagnoses()) == []
        merged = merge(out, tmp_path / f"new {number}")
        assert merged.copied == 6
        assert merged.damaged == (f"{files_of[0][0]} is damaged: left behind",)
        assert len(list((tmp_path / f"new {number}" / "cells").iterdir())) == 1
        assert not list((tmp_path / f"new {number}" / "diagnoses").iterdir())
    assert not list(tmp_path.rglob("mine*"))
    failed = out / "failures" / f"{name}.json"
    cell = reading.read(whole).cells[0]
    failure = {"shard": "../mine", "cell": cell.model_dump(), "samples": (99,), "error": "E", "traceback": "T"}
    failed.write_text(json.dumps(failure | {"when": "2026-01-01T00:00:00"}))
    assert list(Store(out).failures()) == []
    with pytest.raises(ValueError, match="pattern"):
        cell.model_validate(cell.model_dump() | {"id": "../mine"})


def test_moving_a_folder_changes_nothing(place: Path, out: Path, tmp_path: Path):
    moved = out.rename(tmp_path / "moved")
    before = benches.stamps(moved)
    done = benches.bench(place / "suite.toml", moved)
    assert "0 shards computed, 6 were finished before" in done.output
    assert benches.stamps(moved) == before


def test_another_shard_size_computes_nothing_again(place: Path, out: Path):
    before = benches.stamps(out)
    done = benches.bench(place / "suite.toml", out, "--shard-size", 5)
    assert done.exit_code == 0
    assert "0 shards computed, 6 were finished before" in done.output
    assert benches.stamps(out) == before


# what is read of failures, settings that changed, and names


def test_a_failure_counts_until_its_samples_are_computed(whole: Path, out: Path):
    store = Store(out)
    cell, other = reading.read(whole).cells
    cases = {
        "done": (cell, (0, 1)),
        "open": (cell, (0, 99)),
        "gone": (other.model_copy(update={"id": hashes.digest("of earlier weights")}), (0, 1, 99)),
    }
    for name, (of, numbers) in cases.items():
        store.write_failure(
            Failure(
                shard=hashes.digest(name),
                cell=of,
                samples=numbers,
                error="E",
                traceback="T",
                when="2026-01-01T00:00:00",
            )
        )
    assert [failure.shard for failure in reading.read(out).failures] == [hashes.digest("open")]


def test_other_settings_replace_a_row_and_are_noted(place: Path, out: Path, tmp_path: Path):
    more = "steps = [6]\noptions = {seed = 7}\nlabel = 'ALMA ℓ2 6'"
    text = (place / "suite.toml").read_text().replace("steps = [6]", more, 1)
    (tmp_path / "other.toml").write_text(text)
    assert benches.bench(tmp_path / "other.toml", out).exit_code == 0
    read = reading.read(out)
    assert len(read.cells) == 2
    assert [cell.settings["seed"] for cell in read.cells if cell.family == "alma"] == [7]
    assert len(read.rows) == 24
    assert any("ALMA ℓ2 6 on net" in note and "12 samples" in note for note in read.notes)


def test_a_row_with_a_new_name_is_still_one_row(place: Path, out: Path, tmp_path: Path):
    text = (place / "suite.toml").read_text().replace('name = "net"', 'name = "renamed"')
    (tmp_path / "renamed.toml").write_text(text)
    done = benches.bench(tmp_path / "renamed.toml", out)
    assert "0 shards computed, 6 were finished before" in done.output
    read = reading.read(out)
    assert [(planned.model, planned.attack) for planned in read.planned] == [
        ("renamed", "ALMA ℓ2 6"),
        ("renamed", "FMN ℓ1 6"),
    ]
    assert len(read.rows) == 24


def test_suites_in_one_folder_add_up(place: Path, out: Path, tmp_path: Path):
    more = benches.write_suite(tmp_path, place / "images.npz", {"attack": "ddn", "steps": [6]}, title="more")
    assert benches.bench(more, out).exit_code == 0
    read = reading.read(out)
    assert [planned.attack for planned in read.planned] == ["ALMA ℓ2 6", "FMN ℓ1 6", "DDN 6"]
    assert read.title == "more"
    assert len(read.rows) == 36


# identity: what decides a number is in the name, and nothing else


@pytest.fixture(scope="module")
def alma(place: Path) -> Job:
    return job(place / "images.npz")


ENTRY: dict[str, Any] = {"attack": "alma", "distances": ["l2"], "steps": [8]}
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "seed": ({}, {"seed": 43}),
    "steps": ({"steps": [9]}, {}),
    "distance": ({"distances": ["l1"]}, {}),
    "confidence": ({"options": {"confidence": 2e-4}}, {}),
    "levels": ({"options": {"levels": 256}}, {}),
    "a hyper-parameter": ({"options": {"alpha": 0.91}}, {}),
    "penalty": ({"options": {"momentum": 0.5}}, {}),
    "budget": ({"budgets": [5]}, {}),
    "paper": ({"paper": True}, {}),
    "goal": ({}, {"target": 2}),
    "another goal": ({}, {"target": 3}),
    "model": ({}, {"models": [{"spec": "python:tests.benches:another", "name": "net"}]}),
}


def test_every_setting_is_in_a_cells_name(place: Path, alma: Job):
    found = {"": alma.cell.id}
    for what, (of_attack, of_suite) in CHANGES.items():
        found[what] = job(place / "images.npz", {**ENTRY, **of_attack}, **of_suite).cell.id
    assert len(set(found.values())) == len(found), found


@pytest.mark.parametrize(
    ("of_attack", "of_suite"),
    [
        ({"label": "another name"}, {}),
        ({}, {"title": "another title", "about": "x"}),
        ({}, {"models": [{"spec": benches.MODEL, "name": "another name"}]}),
        ({}, {"shard_size": 2}),
        ({}, {"paper": "mnist"}),
        ({"optional": True}, {}),
    ],
    ids=str,
)
def test_names_are_not(of_attack: dict[str, Any], of_suite: dict[str, Any], place: Path, alma: Job):
    other = job(place / "images.npz", {**ENTRY, **of_attack}, **of_suite)
    assert other.cell.id == alma.cell.id
    assert [shard.id for shard in shards(other, 4)] == [shard.id for shard in shards(alma, 4)]


def test_the_order_of_a_suite_is_not(place: Path):
    two = (ENTRY, {"attack": "ddn", "steps": [8]})
    one, other = planning(place / "images.npz", *two), planning(place / "images.npz", *two[::-1])
    assert [job.cell.id for job in one.jobs] == [job.cell.id for job in other.jobs][::-1]


def test_a_shards_name_has_its_images_labels_and_trace(place: Path, alma: Job):
    first, second, third = shards(alma, 4)
    (number, content, label), *rest = first.samples
    others = [
        replace(alma, samples=((number, content, label + 1), *rest)),
        replace(alma, samples=((number, "0" * 32, label), *rest)),
        replace(alma, samples=((number + 100, content, label), *rest)),
        replace(alma, samples=alma.samples[:3]),
        replace(alma, trace=True, samples=alma.samples[:4]),
        replace(alma, cell=alma.cell.model_copy(update={"id": "another"}), samples=alma.samples[:4]),
    ]
    names = [first.id, second.id, third.id, *(next(shards(other, 4)).id for other in others)]
    assert len(set(names)) == len(names)


def test_one_bit_of_one_pixel_is_in_its_hash():
    x = images(3)
    before = fingerprints.of_samples(x)
    assert len(set(before)) == 3
    changed = x.clone()
    changed[1, 2, 5, 7] = torch.nextafter(changed[1, 2, 5, 7], torch.tensor(1.0))
    after = fingerprints.of_samples(changed)
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True]
    assert fingerprints.of_samples(x.transpose(2, 3))[0] != before[0]
    assert fingerprints.of_samples(x.double())[0] != before[0]


def test_one_bit_of_one_weight_is_in_a_models_hash():
    model = convolutional()
    before = fingerprints.of_module(model)
    assert before == fingerprints.of_module(convolutional())
    for tensor in model.parameters():
        first = tensor.data.view(-1)[0].clone()
        tensor.data.view(-1)[0] = torch.nextafter(first, torch.tensor(9.0))
        assert fingerprints.of_module(model) != before
        tensor.data.view(-1)[0] = first
    assert fingerprints.of_module(model) == before


class Tempered(nn.Module):
    """A model whose outputs depend on a number that is neither weight nor buffer."""

    def __init__(self, temperature: float, constant: torch.Tensor | None = None) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2).requires_grad_(False)
        self.layer.weight.zero_()
        self.layer.bias.zero_()
        self.temperature, self.constant = temperature, constant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) / self.temperature


def test_numbers_that_are_no_weights_are_in_a_models_hash():
    found = [
        Tempered(1.0),
        Tempered(2.0),
        Tempered(1.0, torch.zeros(2)),
        Tempered(1.0, torch.ones(2)),
        nn.Sequential(Tempered(1.0)),
    ]
    assert len({fingerprints.of_module(model) for model in found}) == len(found)
    assert fingerprints.of_module(Tempered(1.0)) == fingerprints.of_module(Tempered(1.0))


class Holder:
    """No module, but it holds one."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x)


class Private(nn.Module):
    def __init__(self, held: object) -> None:
        super().__init__()
        self._held = held


SCALE = 1.0


class Scaled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([row * SCALE for row in x])


def closure(network: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: network(x)


def hooked(network: nn.Module) -> nn.Module:
    model = nn.Sequential(nn.Flatten())
    model.register_forward_hook(lambda _module, _inputs, output: network(output))
    return model


@pytest.mark.parametrize(
    "around",
    [
        lambda network: Function(closure(network)),
        lambda network: Function(Holder(network)),
        lambda network: Function(Holder(network).__call__),
        lambda network: Function(functools.partial(Holder.__call__, Holder(network))),
        lambda network: Private({"networks": [Holder(network)]}),
        hooked,
    ],
    ids=["closure", "object", "method", "partial", "private", "hook"],
)
def test_networks_behind_own_code_are_in_a_models_hash(around: Callable[[nn.Module], nn.Module]):
    found = [fingerprints.of_module(around(Tempered(temperature))) for temperature in (1.0, 1.0, 2.0)]
    assert found[0] == found[1] != found[2]


OWN = """
from torch import nn

class Own(nn.Module):
    def forward(self, x):
        return x.flatten(1) * 2
"""
EXPLAINED = """
from torch import nn

class Own(nn.Module):
    \"\"\"Twice the image.\"\"\"

    def forward(self, x):
        \"\"\"Double.\"\"\"
        # as a matrix

        return x.flatten(1) * 2  # twice
"""


def test_comments_and_docstrings_are_not_in_a_models_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for number, text in enumerate((OWN, EXPLAINED, OWN.replace("2", "3"))):
        (tmp_path / f"own_network_{number}.py").write_text(text)
        found.append(fingerprints.of_module(import_module(f"own_network_{number}").Own()))
    assert found[0] == found[1] != found[2]


def test_globals_that_own_code_uses_are_in_a_models_hash(monkeypatch: pytest.MonkeyPatch):
    before = fingerprints.of_module(Scaled())
    monkeypatch.setattr(f"{__name__}.SCALE", 2.0)
    assert fingerprints.of_module(Scaled()) != before


class Slotted:
    __slots__ = "value"

    def __init__(self, value: float) -> None:
        self.value = value


def times(factor: float) -> Callable[..., Any]:
    def decorate(function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., Any]:
        @functools.wraps(function)
        def scaled(x: torch.Tensor) -> torch.Tensor:
            return function(x) * factor

        return scaled

    return decorate


def hooked_backwards(value: float) -> nn.Module:
    model = nn.Sequential(nn.Flatten())
    model.register_full_backward_hook(lambda _module, inputs, _outputs: tuple(one * value for one in inputs))
    return model


@pytest.mark.parametrize(
    "around",
    [
        Slotted,
        lambda value: times(value)(torch.relu),
        lambda value: SimpleNamespace(value=value),
        lambda value: {("a", "key"): value},
        lambda value: {"a": 1, value: 2},
        lambda value: {value, "a"},
        lambda value: deque([value]),
        lambda value: slice(0, value),
        np.float32,
        Decimal,
        lambda value: torch.eye(3).mul(value).to_sparse(),
        lambda value: torch.full((2,), complex(0, value)).conj().imag,
        lambda value: transforms.Compose([transforms.Normalize([value], [1.0])]),
    ],
)
def test_what_own_code_holds_is_in_a_models_hash(around: Callable[[float], object]):
    found = [fingerprints.of_module(Private(around(value))) for value in (1.0, 1.0, 2.0)]
    assert found[0] == found[1] != found[2]


def test_hooks_that_change_gradients_are_in_a_models_hash():
    found = [fingerprints.of_module(hooked_backwards(value)) for value in (1.0, 1.0, 2.0)]
    assert found[0] == found[1] != found[2]


def test_order_and_the_environment_are_not_in_a_models_hash(monkeypatch: pytest.MonkeyPatch):
    one, other = (
        fingerprints.of_module(Private(dict(pairs))) for pairs in ([("a", 1), ("b", 2)], [("b", 2), ("a", 1)])
    )
    assert one == other
    before = fingerprints.of_module(Private(os.environ))
    monkeypatch.setenv("MINADV_TEST_OTHER", "1")
    assert fingerprints.of_module(Private(os.environ)) == before


def test_own_code_that_goes_in_circles_is_hashed():
    model = Private(None)
    model._held = [model, {"again": Holder(model)}]
    assert fingerprints.of_module(model) == fingerprints.of_module(model)


def test_options_of_layers_are_in_a_models_hash():
    found = [nn.Sequential(nn.LeakyReLU(slope)) for slope in (0.1, 0.2)]
    found += [nn.Sequential(nn.ReLU()), nn.Sequential(nn.ELU()), nn.Sequential(nn.ReLU(), nn.Flatten())]
    found += [nn.Sequential(nn.MaxPool2d(2)), nn.Sequential(nn.AvgPool2d(2)), nn.Sequential(nn.MaxPool2d(2, 1))]
    assert len({fingerprints.of_module(model) for model in found}) == len(found)


def test_buffers_are_in_a_models_hash_and_modes_are_not():
    model = nn.BatchNorm2d(3)
    before = fingerprints.of_module(model)
    assert fingerprints.of_module(model.eval().requires_grad_(False)) == before
    model.running_mean = torch.ones(3)
    assert fingerprints.of_module(model) != before


def test_distances_with_networks_are_hashed_by_their_weights():
    def hashed(change: float) -> str:
        trunk = convolutional()
        next(trunk.parameters()).data.view(-1)[0] += change
        lpips = distances.get("lpips", trunk=trunk, layers=("1", "3"), linear="none")
        return fingerprints.of_attack(ALMA(distance=lpips))

    assert hashed(0.0) == hashed(0.0)
    assert hashed(0.0) != hashed(1e-3)


SCRIPT = """
import sys
from pathlib import Path
from minadv import attacks
from minadv.attacks.registry import REGISTRY
from minadv.bench import fingerprints
import minadv
root = Path(minadv.__file__).parent
SOME = ("alma", "fab", "pdgd", "pdpgd")
def code(name):
    fingerprints.of_code.cache_clear()
    cls = attacks.find(name)
    return fingerprints.of_code(cls.__module__, "minadv.bench.rows")
def touched(*parts):
    path = root.joinpath(*parts)
    text = path.read_text()
    path.write_text(text + "# a comment\\n")
    changed = [name for name in SOME if code(name) != before[name]]
    path.write_text(text)
    return changed
for name, card in REGISTRY.items():
    distance = "lpips:trunk=demo" if name == "lpa" else (card.distances or ("ssim",))[0]
    print("attack", name, fingerprints.of_attack(attacks.get(name, distance=distance)))
before = {name: code(name) for name in SOME}
for part in sys.argv[1:]:
    print("touched", part, *touched(*part.split("/")))
"""


@pytest.fixture(scope="module")
def touched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What a copy of the package says of its hashes, and which attacks' change with a comment in a module."""
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(ROOT / "src" / "minadv", folder / "minadv", ignore=shutil.ignore_patterns("__pycache__"))
    parts = ["attacks/alma.py", "attacks/pdgd.py", "oracle.py", "distances/ssim.py", "bench/rows.py"]
    parts += ["bench/store.py", "attacks/registry.py", "data/npz.py"]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *parts],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    return {f"{kind} {name}": rest for kind, name, *rest in lines}


def test_an_attacks_name_is_the_same_in_another_process(touched: dict[str, list[str]]):
    for name, card in REGISTRY.items():
        distance = "lpips:trunk=demo" if name == "lpa" else (card.distances or ("ssim",))[0]
        assert touched[f"attack {name}"] == [fingerprints.of_attack(attacks.get(name, distance=distance))]


def test_code_counts_for_the_attacks_that_use_it(touched: dict[str, list[str]]):
    assert touched["touched attacks/alma.py"] == ["alma"]
    assert touched["touched attacks/pdgd.py"] == ["pdgd", "pdpgd"]
    for part in ("oracle.py", "distances/ssim.py", "bench/rows.py"):
        assert touched[f"touched {part}"] == ["alma", "fab", "pdgd", "pdpgd"]
    for part in ("bench/store.py", "attacks/registry.py", "data/npz.py"):
        assert touched[f"touched {part}"] == []


def test_every_hyper_parameter_of_every_attack_is_in_its_name():
    for name, card in REGISTRY.items():
        distance = "lpips:trunk=demo" if name == "lpa" else (card.distances or ("ssim",))[0]
        attack = attacks.get(name, distance=distance)
        found = {fingerprints.of_attack(attack)}
        numbers = [field.name for field in fields(attack) if type(getattr(attack, field.name)) in (int, bool)]
        for key in numbers:
            value = getattr(attack, key)
            other = not value if isinstance(value, bool) else value + 1
            found.add(fingerprints.of_attack(replace(attack, **{key: other})))
        assert len(found) == len(numbers) + 1, name


def test_hashes_do_not_run_together():
    assert hashes.digest("ab", "c") != fingerprints.digest("a", "bc")
    assert hashes.digest("a") != fingerprints.digest("a", "")
    assert fingerprints.of_json({"a": 1, "b": 2}) == fingerprints.of_json({"b": 2, "a": 1})


# data of one name and another content, and the other way round


@pytest.mark.parametrize("changed", [2, 18])
def test_images_that_changed_are_computed_again_and_counted_once(changed: int, tmp_path: Path):
    data = benches.write_images(tmp_path / "images.npz", count=20)
    path, out = benches.write_suite(tmp_path, data, {"attack": "ddn", "steps": [4]}), tmp_path / "out"
    assert benches.bench(path, out).exit_code == 0
    before = reading.read(out).rows
    benches.write_images(data, count=20, mark=changed)
    assert benches.bench(path, out).exit_code == 0
    after = reading.read(out).rows
    assert after["sample"].to_list() == list(range(20))
    assert [at for at in range(20) if before["content"][at] != after["content"][at]] == [changed]
    read = reading.read(out)
    pictures = read.pictures(read.cells[0].id, [changed])
    assert float(pictures.originals[0, 0, 0, 0]) == benches.MARK


def test_data_that_moved_are_the_same_data(tmp_path: Path):
    data, out = benches.write_images(tmp_path / "images.npz", count=8), tmp_path / "out"
    entry = {"attack": "ddn", "steps": [4]}
    assert benches.bench(benches.write_suite(tmp_path, data, entry), out).exit_code == 0
    moved = data.rename(tmp_path / "moved.npz")
    done = benches.bench(benches.write_suite(tmp_path, moved, entry), out)
    assert "0 shards computed, 2 were finished before" in done.output
    read = reading.read(out)
    (planned,) = read.planned
    assert planned.data == f"npz:{moved}"
    assert planned.cell is not None
    assert set(read.rows["cell"]) == {planned.cell.id}
    assert len(read.rows) == 8


def test_two_data_sets_in_one_folder_are_kept_apart(tmp_path: Path):
    out, entry = tmp_path / "out", {"attack": "ddn", "steps": [4]}
    for count in (8, 12):  # the same first images
        data = benches.write_images(tmp_path / f"{count}.npz", count=count)
        path = benches.write_suite(tmp_path, data, entry, samples=8)
        assert benches.bench(path, out).exit_code == 0
    read = reading.read(out)
    assert len(read.cells) == 2
    assert len(read.rows) == 16
    assert read.rows["cell"].n_unique() == 2


def test_an_old_plan_is_read(whole: Path):
    text = (whole / "plan.json").read_text()
    assert Plan.model_validate_json(text).format == 1

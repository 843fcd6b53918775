"""A folder that has a past: settings, data and limits that changed, models that raise, runs of other kinds."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from torch import nn

import minadv
from minadv.bench import diagnosing, planning, reading
from minadv.bench.jobs import Options
from minadv.bench.merging import merge
from minadv.bench.store import Store
from minadv.bench.suite import load as load_suite
from minadv.report import bench as page
from minadv.unfinished import Unfinished
from tests import benches
from tests.networks import images, predictions

DDN = {"attack": "ddn", "label": "DDN"}


def best(out: Path) -> pl.DataFrame:
    """The best known ℓ2 distance of each sample, as the report says."""
    page.write(out, reading.read(out), formats=())
    known = pl.read_parquet(out / "report" / "envelope.parquet").filter(pl.col("distance") == "l2")
    return known.select("content", "best").sort("content")


def measured(out: Path) -> pl.DataFrame:
    """The least ℓ2 distance of each image over every shard, by Parquet alone."""
    found = pl.concat([pl.read_parquet(shard / "rows.parquet") for shard in benches.shards(out)])
    value = pl.when(pl.col("status") == "already adversarial").then(0.0).otherwise(pl.col("l2"))
    return found.filter("success").group_by("content").agg(best=value.min()).sort("content")


def test_what_is_best_known_outlives_the_settings_that_found_it(tmp_path: Path):
    data, out = benches.write_images(tmp_path / "images.npz"), tmp_path / "out"
    for steps in (40, 1):
        path = benches.write_suite(tmp_path, data, {**DDN, "steps": [steps]})
        assert benches.bench(path, out).exit_code == 0
    read = reading.read(out)
    assert [cell.settings["steps"] for cell, _ in read.earlier] == [40]
    assert set(read.rows["forwards"]) <= {0, 1}
    assert best(out).equals(measured(out))
    assert len(best(out)) > read.rows["success"].sum()


def test_what_is_best_known_has_the_samples_beyond_a_limit(tmp_path: Path):
    data, out = benches.write_images(tmp_path / "images.npz"), tmp_path / "out"
    assert benches.bench(benches.write_suite(tmp_path, data), out).exit_code == 0
    (out / "plan.json").unlink()
    assert benches.bench(benches.write_suite(tmp_path, data), out, "--limit", 3).exit_code == 0
    assert reading.read(out).planned[0].samples == (0, 1, 2)
    assert best(out).equals(measured(out))


def test_a_limit_or_a_choice_does_not_take_away_what_is_there(tmp_path: Path):
    data, out = benches.write_images(tmp_path / "images.npz"), tmp_path / "out"
    alma, ddn = {"attack": "alma", "steps": [4]}, {**DDN, "steps": [4]}
    path = benches.write_suite(tmp_path, data, alma, ddn)
    assert benches.bench(path, out).exit_code == 0
    before = reading.read(out)
    assert benches.bench(path, out, "--limit", 2, "--only", "alma").exit_code == 0
    after = reading.read(out)
    assert after.planned == before.planned
    assert benches.bits(after.rows) == benches.bits(before.rows)


def test_data_that_change_and_change_back_are_not_mixed(tmp_path: Path):
    path, out = tmp_path / "images.npz", tmp_path / "out"
    kinds = {}
    for kind in ("first", "second"):
        benches.write_images(path, wrong=(1,) if kind == "first" else (1, 2, 3))
        with np.load(path) as arrays:
            images = arrays["images"] if kind == "first" else arrays["images"][:, ::-1]
            kinds[kind] = {**arrays, "images": images}
    suite = benches.write_suite(tmp_path, path)
    answers = {}
    for kind in ("first", "second", "first"):
        np.savez(path, **kinds[kind])
        assert benches.bench(suite, out).exit_code == 0
        bits = benches.bits(reading.read(out).rows.drop("seconds"))
        assert answers.setdefault(kind, bits) == bits
    assert answers["first"] != answers["second"]


def raising():
    def model(x):
        raise KeyError("weights of layer 3")

    return model


def refusing():
    raise KeyError("no such configuration")


def farmed():
    raise RuntimeError("no such GPU farm")


def test_a_factory_that_raises_is_said_with_its_place(tmp_path: Path):
    models = [{"spec": "python:tests.test_bench_history:farmed", "name": "bad"}]
    data = benches.write_images(tmp_path / "images.npz", count=2)
    done = benches.bench(benches.write_suite(tmp_path, data, models=models), tmp_path / "out")
    line = farmed.__code__.co_firstlineno + 1
    said = "python:tests.test_bench_history:farmed raised RuntimeError: no such GPU farm"
    assert f"not available: ALMA ℓ2 8 on bad: {said} (at {__file__}:{line})" in done.output


@pytest.mark.parametrize("name", ["raising", "refusing"])
@pytest.mark.parametrize("population", ["all", "correct"])
def test_a_model_that_raises_takes_nothing_from_the_others(tmp_path: Path, name: str, population: str):
    models = [{"spec": f"python:tests.test_bench_history:{name}", "name": "bad"}, {"spec": benches.MODEL}]
    data, out = benches.write_images(tmp_path / "images.npz", count=6, wrong=()), tmp_path / "out"
    path = benches.write_suite(tmp_path, data, models=models, population=population)
    done = benches.minadv("bench", path, "--out", out, "--no-report")
    assert done.exit_code == 1, done.output
    assert "Traceback" not in done.output
    assert "KeyError" in done.output
    read = reading.read(out)
    assert read.rows["model"].unique().to_list() == [benches.MODEL]
    assert len(read.rows) == 6
    if name == "raising" and population == "all":
        (found,) = (diagnosis for diagnosis in read.diagnoses if diagnosis.model == "bad")
        assert [finding.severity for finding in found.findings] == ["problem"]


def picky():
    def model(x):
        raise ValueError("this network takes images of 64 pixels")

    return model


def test_a_model_that_refuses_the_images_is_missing_and_named(tmp_path: Path):
    models = [{"spec": "python:tests.test_bench_history:picky", "name": "picky"}, {"spec": benches.MODEL}]
    data, out = benches.write_images(tmp_path / "images.npz", count=6, wrong=()), tmp_path / "out"
    done = benches.bench(benches.write_suite(tmp_path, data, models=models, population="correct"), out)
    assert done.exit_code == 1, done.output
    (missing,) = (planned for planned in reading.read(out).planned if planned.cell is None)
    assert missing.model == "picky"
    said = "python:tests.test_bench_history:picky raised ValueError: this network takes images of 64 pixels (at "
    assert str(missing.unavailable).startswith(f"{said}{__file__}:")
    assert reading.read(out).rows["model"].unique().to_list() == [benches.MODEL]


def test_a_diagnosis_is_of_the_labels_that_are_there(tmp_path: Path):
    data, out, other = tmp_path / "images.npz", tmp_path / "out", tmp_path / "other"
    path = benches.write_suite(tmp_path, data, {**DDN, "steps": [2]})

    def checked(wrong: Sequence[int], *words: object) -> tuple[int, bool]:
        """How many samples were looked at, and whether most labels were found to be wrong; said once."""
        benches.write_images(data, wrong=wrong)
        done = benches.minadv("bench", path, "--out", out, "--no-report", *words)
        assert done.exit_code == 0, done.output
        (found,) = reading.read(out).diagnoses
        return found.samples, any(finding.check == "accuracy" for finding in found.findings)

    assert checked(range(12)) == (12, True)
    shutil.copytree(out, other)
    assert checked(()) == (12, False)
    assert checked((), "--limit", 6) == (6, False)
    before = {found.name: found.when for found in Store(out).diagnoses()}
    assert checked(range(12)) == (12, True), "an earlier one counts again"
    assert checked(()) == (12, False)
    after = {found.name: found.when for found in Store(out).diagnoses()}
    assert after.keys() == before.keys()
    assert sum(after[name] > before[name] for name in after) == 2
    # another folder's does not take its place, one of an older version only where there is no other
    (stale,) = Store(other).diagnoses()
    Store(other).write_diagnosis(stale.model_copy(update={"when": "9"}))
    merge(other, out)
    assert checked(()) == (12, False)
    older = stale.model_dump_json(exclude={"data", "when"})
    (out / "diagnoses" / f"{stale.name}.json").write_text(older)
    assert len(reading.read(out).diagnoses) == 1
    for found in Store(out).diagnoses():
        if found.data:
            (out / "diagnoses" / f"{found.name}.json").unlink()
    assert [found.name for found in reading.read(out).diagnoses] == [stale.name]
    assert checked(()) == (12, False)


def test_checks_open_each_model_and_the_data_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = benches.write_images(tmp_path / "images.npz", count=4)
    models = [{"spec": f"python:tests.benches:{name}"} for name in ("network", "another")]
    suite = load_suite(str(benches.write_suite(tmp_path, data, models=models)))
    planned, store = planning.plan(suite, Options()), Store(tmp_path / "out")
    store.create()
    opened: list[str] = []
    looked: list[tuple[str, ...]] = []

    def counting(load: Callable[[str], object]) -> Callable[[str], object]:
        return lambda spec: opened.append(spec) or load(spec)

    def look(load: Callable[[], nn.Module], *_args: object, transfer: Mapping[str, nn.Module], **_options: object):
        looked.append(tuple(type(model).__name__ for model in (load(), *transfer.values())))
        return ()

    monkeypatch.setattr("minadv.models.load", counting(minadv.models.load))
    monkeypatch.setattr("minadv.data.load", counting(minadv.data.load))
    monkeypatch.setattr("minadv.diagnosis.diagnose_or_finding", look)
    diagnosing.diagnose(planned, store, lambda _: None, lambda: False)
    assert looked == [("Switched", "Switched")] * 2
    assert sorted(opened) == sorted([f"npz:{data}", *(model["spec"] for model in models)])


def test_folders_of_attacks_and_of_benchmarks_are_told_apart(tmp_path: Path):
    data, out = benches.write_images(tmp_path / "images.npz", count=4), tmp_path / "out"
    path = benches.write_suite(tmp_path, data)
    assert benches.bench(path, out).exit_code == 0
    words = ("attack", "--model", benches.MODEL, "--data", f"npz:{data}", "--steps", 2)
    refused = benches.minadv(*words, "--out", out)
    assert refused.exit_code == 2
    assert "holds a benchmark" in refused.output
    assert benches.minadv(*words, "--out", tmp_path / "run").exit_code == 0
    refused = benches.bench(path, tmp_path / "run")
    assert refused.exit_code == 2
    assert "holds a run of minadv attack" in refused.output
    begun = tmp_path / "begun"
    model, x = benches.network().eval(), images(3)
    batch = minadv.DDN(steps=2)(model, x, predictions(model, x))
    begun.mkdir()
    Unfinished(begun, "this", 4).keep(range(3), batch, 1.0)
    refused = benches.bench(path, begun)
    assert refused.exit_code == 2
    assert "holds an interrupted run of minadv attack" in refused.output
    refused = benches.minadv("report", begun)
    assert refused.exit_code == 2
    assert "it was interrupted, 3 samples are kept" in refused.output
    file = tmp_path / "file"
    file.write_text("mine")
    refused = benches.bench(path, file)
    assert refused.exit_code == 2
    assert "is a file" in refused.output
    assert file.read_text() == "mine"


WEIGHTS = 0


def retrained() -> nn.Module:
    return benches.Switched(seed=WEIGHTS)


def shown(out: Path) -> dict[str, bool]:
    """Which attacks have rows in the tables, and which a reason."""
    read = reading.read(out)
    assert {row["attack"] for row in read.rows.iter_rows(named=True)} == {
        planned.attack for planned in read.planned if planned.cell is not None
    }
    for planned in read.planned:
        assert planned.cell is not None or "other weights or code of net" in str(planned.unavailable)
    assert len({planned.name for planned in read.planned}) == len(read.planned)
    return {planned.attack: planned.cell is not None for planned in read.planned}


def test_rows_of_other_weights_do_not_stand_beside_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data, out = benches.write_images(tmp_path / "images.npz", count=4), tmp_path / "out"
    models = [{"spec": "python:tests.test_bench_history:retrained", "name": "net"}]
    attacks = ({**DDN, "steps": [4]}, {"attack": "fmn", "label": "FMN", "steps": [4]})
    path = benches.write_suite(tmp_path, data, *attacks, models=models)
    assert benches.bench(path, out).exit_code == 0
    assert shown(out) == {"DDN": True, "FMN": True}
    with monkeypatch.context() as changed:
        changed.setattr("tests.test_bench_history.WEIGHTS", 1)
        assert benches.bench(path, out, "--only", "fmn").exit_code == 0
        assert shown(out) == {"DDN": False, "FMN": True}
        assert (
            "DDN on net: 4 samples computed with other weights or code of it are left out"
            in reading.read(out).notes
        )
        assert "other weights or code of net" in page.write(out, reading.read(out)).read_text(encoding="utf-8")
        # a folder without its plan has two networks of one name: the last that was computed counts
        (out / "plan.json").unlink()
        assert shown(out) == {"FMN": True, "DDN": False}
        assert benches.bench(path, out).exit_code == 0
        assert shown(out) == {"DDN": True, "FMN": True}


def test_a_merged_folder_of_other_weights_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = benches.write_images(tmp_path / "images.npz", count=4)
    models = [{"spec": "python:tests.test_bench_history:retrained", "name": "net"}]
    attacks = ({**DDN, "steps": [4]}, {"attack": "fmn", "label": "FMN", "steps": [4]})
    path = benches.write_suite(tmp_path, data, *attacks, models=models)
    for number, only in enumerate(("fmn", "ddn")):
        monkeypatch.setattr("tests.test_bench_history.WEIGHTS", number)
        assert benches.bench(path, tmp_path / only, "--only", only).exit_code == 0
    assert benches.minadv("merge", tmp_path / "ddn", tmp_path / "fmn").exit_code == 0
    assert shown(tmp_path / "fmn") == {"FMN": True, "DDN": False}


def test_a_setting_is_not_given_twice(tmp_path: Path):
    data = benches.write_images(tmp_path / "images.npz", count=4)
    path = benches.write_suite(tmp_path, data, {**DDN, "steps": [5], "options": {"steps": 7}})
    done = benches.bench(path, tmp_path / "out")
    assert done.exit_code == 2
    assert "attacks[0]: options have 'steps'" in done.output

"""What a run computes is what it says: rows against the stored tensors, samples, shard sizes, traces, words."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import structural_similarity
from torch import Tensor

from minadv.bench import cluster, reading, suite
from minadv.bench.executor import Executor, Failed, Finished, Local
from minadv.bench.jobs import Options
from minadv.bench.planning import plan
from minadv.bench.records import MEASURED, ROWS
from minadv.bench.running import Run, View
from minadv.bench.store import Store
from minadv.environment import environment
from minadv.report.bench import report
from tests import benches

# the kinds of public/mnist and public/cifar10, at few steps
KINDS: tuple[dict[str, Any], ...] = (
    {"attack": "alma", "distances": ["l1", "l2"], "steps": [12]},
    {"attack": "ddn", "steps": [12]},
    {"attack": "fmn", "distances": ["l1", "l2"], "steps": [12]},
    {"attack": "fab", "distances": ["l1", "l2"], "steps": [5]},
    {"attack": "pdgd", "steps": [12]},
    {"attack": "pdpgd", "distances": ["l1"], "steps": [12]},
    {"attack": "ead", "steps": [8], "options": {"searches": 3, "compat": "sample"}},
    {"attack": "percal", "steps": [8]},
    {"attack": "cw", "distances": ["l2"], "steps": [10], "options": {"searches": 3, "compat": "sample"}},
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("suite")
    data = benches.write_images(folder / "images.npz", count=16, wrong=(1, 6))
    benches.write_suite(folder, data, *KINDS, shard_size=4)
    return folder


@pytest.fixture(scope="module")
def out(place: Path) -> Path:
    done = benches.bench(place / "suite.toml", place / "out", "--quiet")
    assert done.exit_code == 0, done.output
    return place / "out"


@pytest.fixture(scope="module")
def rows(out: Path) -> pl.DataFrame:
    return reading.read(out).rows


@pytest.fixture(scope="module")
def pairs(out: Path, rows: pl.DataFrame) -> tuple[Tensor, Tensor]:
    """Originals and adversarials as stored, in the order of the rows."""
    stored = benches.tensors(out)
    found = [stored[cell, sample] for cell, sample in rows.select("cell", "sample").iter_rows()]
    return torch.stack([original for original, _ in found]), torch.stack([adversarial for _, adversarial in found])


def small(tmp_path: Path, *attacks: dict[str, Any], count: int = 12, **top: Any) -> Path:
    data = benches.write_images(tmp_path / "images.npz", count=count, wrong=(1, 4))
    return benches.write_suite(tmp_path, data, *attacks, **top)


def logits(x: Tensor) -> Tensor:
    with torch.no_grad():
        return benches.network()(x)


# rows against the stored tensors, computed here once more


def test_rows_have_every_sample_of_every_cell_once(rows: pl.DataFrame):
    assert rows.schema == pl.Schema(ROWS)
    assert len(rows) == 12 * 16 == rows.select("cell", "sample").n_unique()
    assert rows["attack"].n_unique() == rows["cell"].n_unique() == 12
    never_null = [name for name in ROWS if name not in ("lpips", "lpips_paper", "survives_8bit", "distance")]
    assert rows.select(never_null).null_count().sum_horizontal().item() == 0


def test_norms_are_those_of_the_stored_images(rows: pl.DataFrame, pairs: tuple[Tensor, Tensor]):
    originals, adversarials = (part.double().flatten(1).numpy() for part in pairs)
    delta = np.abs(adversarials - originals)
    expected = {
        "l0": (delta > 0).sum(axis=1),
        "l1": delta.sum(axis=1),
        "l2": np.sqrt((delta**2).sum(axis=1)),
        "linf": delta.max(axis=1),
    }
    success = rows["success"].to_numpy()
    assert success.sum() > 150
    for name, values in expected.items():
        np.testing.assert_allclose(rows[name].to_numpy(), np.where(success, values, np.inf), rtol=1e-12, atol=0)
        own = rows["minimises"].to_numpy() == name
        np.testing.assert_allclose(rows["distance"].to_numpy()[own], rows[name].to_numpy()[own], rtol=2e-6)


def test_ssim_and_colours_are_those_of_skimage(rows: pl.DataFrame, pairs: tuple[Tensor, Tensor]):
    sampled = np.flatnonzero(rows["success"].to_numpy())[::7]
    for at in sampled.tolist():
        original, adversarial = (part[at].double().permute(1, 2, 0).numpy() for part in pairs)
        similarity, local = structural_similarity(
            original,
            adversarial,
            data_range=1.0,
            channel_axis=2,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        assert np.isfinite(similarity)
        inside = local[5:-5, 5:-5].mean()  # only windows that lie in the image
        assert rows["ssim"][at] == pytest.approx(1 - inside, rel=1e-6, abs=1e-9)
        difference = deltaE_ciede2000(rgb2lab(original), rgb2lab(adversarial))
        assert rows["ciede2000"][at] == pytest.approx(np.sqrt((difference**2).sum()), rel=2e-3, abs=1e-3)
    percal = rows.filter(pl.col("minimises") == "ciede2000", "success")
    np.testing.assert_allclose(percal["distance"].to_numpy(), percal["ciede2000"].to_numpy(), rtol=1e-4)
    assert rows["ciede2000_paper"].null_count() == 0


def test_distances_without_weights_or_meaning_are_null(tmp_path: Path):
    data = tmp_path / "grey.npz"
    grey = np.random.default_rng(0).integers(0, 256, (6, 8, 8), dtype=np.uint8)
    np.savez(data, images=grey, labels=np.arange(6) % 3)
    path = benches.write_suite(
        tmp_path, data, models=[{"spec": "python:tests.test_bench_run:flat", "name": "net"}]
    )
    assert benches.bench(path, tmp_path / "out").exit_code == 0
    rows = reading.read(tmp_path / "out").rows
    for name in ("ssim", "ciede2000", "ciede2000_paper"):
        assert rows[name].null_count() == 6
    assert rows.select("l0", "l1", "l2", "linf").null_count().sum_horizontal().item() == 0


def flat() -> torch.nn.Module:
    from tests.networks import linear

    return linear(64, classes=5)


def test_status_and_success_are_what_the_model_says(rows: pl.DataFrame, pairs: tuple[Tensor, Tensor]):
    originals, adversarials = pairs
    labels = rows["label"].to_torch()
    clean, attacked = logits(originals), logits(adversarials)
    assert rows["clean_prediction"].to_list() == clean.argmax(dim=1).tolist()
    assert rows["adversarial_prediction"].to_list() == attacked.argmax(dim=1).tolist()
    own = attacked.gather(1, labels[:, None]).squeeze(1)
    others = attacked.scatter(1, labels[:, None], -torch.inf).amax(dim=1)
    margin = (own - others).double().numpy()
    success = rows["success"].to_numpy()
    np.testing.assert_allclose(rows["margin"].to_numpy(), margin, rtol=1e-4, atol=1e-5)
    assert (success == (margin < 0)).all()
    assert bool(((adversarials >= 0) & (adversarials <= 1)).all())
    already = (clean.argmax(dim=1) != labels).numpy()
    assert set(rows["sample"].to_numpy()[already].tolist()) == {1, 6}
    status = rows["status"].to_numpy()
    assert (status == np.where(already, "already adversarial", np.where(success, "found", "not found"))).all()
    unchanged = (adversarials == originals).flatten(1).all(dim=1).numpy()
    assert (unchanged == (already | ~success)).all()
    assert (rows["distance"].to_numpy()[already] == 0).all()
    assert np.isinf(rows["distance"].to_numpy()[~success]).all()


def test_surviving_8_bits_is_what_the_model_says_of_rounded_images(
    rows: pl.DataFrame, pairs: tuple[Tensor, Tensor]
):
    rounded = (pairs[1].double() * 255).round() / 255
    kept = (logits(rounded.float()).argmax(dim=1) != rows["label"].to_torch()).tolist()
    expected = [survived if success else None for survived, success in zip(kept, rows["success"], strict=True)]
    assert rows["survives_8bit"].to_list() == expected
    assert 0 < rows["survives_8bit"].sum() < rows["success"].sum()


def test_costs_and_seconds(rows: pl.DataFrame):
    assert (rows["seconds"] > 0).all()
    attacked = rows.filter(pl.col("status") != "already adversarial")
    assert set(rows.filter(pl.col("status") == "already adversarial").select("forwards", "backwards").rows()) == {
        (1, 0)
    }
    for family, counts in {
        "DDN 12": (12, 12),
        "PDGD 12": (12, 12),
        "FAB ℓ2 5": (11, 25),
        "PerC-AL 8": (17, 8),
    }.items():
        assert set(attacked.filter(pl.col("attack") == family).select("forwards", "backwards").rows()) == {counts}
    for record in rows["shard"].unique():
        assert rows.filter(pl.col("shard") == record)["seconds"].sum() > 0


def test_records_say_what_the_shard_is(out: Path, rows: pl.DataFrame):
    for name in Store(out).shard_names():
        record, own = Store(out).verify(name), rows.filter(pl.col("shard") == name)
        assert [number for number, _, _ in record.samples] == own["sample"].to_list()
        assert [content for _, content, _ in record.samples] == own["content"].to_list()
        assert [label for _, _, label in record.samples] == own["label"].to_list()
        assert own["seconds"].sum() == pytest.approx(record.seconds)
        assert {record.cell} == set(own["cell"])


# shards


def test_shard_sizes_do_not_change_distances(place: Path, rows: pl.DataFrame, tmp_path: Path):
    done = benches.bench(place / "suite.toml", tmp_path / "out", "--quiet", "--shard-size", 16)
    assert done.exit_code == 0, done.output
    other = reading.read(tmp_path / "out").rows
    assert len(benches.shards(tmp_path / "out")) == 12
    assert other["cell"].to_list() == rows["cell"].to_list()
    for name in ("distance", *MEASURED[:4]):
        np.testing.assert_allclose(other[name].to_numpy(), rows[name].to_numpy(), rtol=1e-3, err_msg=name)
    for name in ("status", "forwards", "backwards", "clean_prediction"):
        assert other[name].to_list() == rows[name].to_list(), name


def test_one_sample_a_shard(place: Path, rows: pl.DataFrame, tmp_path: Path):
    words = ("--quiet", "--shard-size", 1, "--limit", 3, "--only", "alma l2", "--only", "ddn")
    assert benches.bench(place / "suite.toml", tmp_path / "out", *words).exit_code == 0
    other = reading.read(tmp_path / "out").rows
    same = rows.filter(pl.col("cell").is_in(other["cell"].unique()), pl.col("sample") < 3)
    np.testing.assert_allclose(other["distance"].to_numpy(), same["distance"].to_numpy(), rtol=1e-3)
    assert len(benches.shards(tmp_path / "out")) == 6


# which samples, which rows


@pytest.mark.filterwarnings("always:.*(asks for|ends after):UserWarning")
def test_limits_and_ranges(tmp_path: Path):
    path = small(tmp_path, samples=[2, 9])
    assert benches.bench(path, tmp_path / "range").exit_code == 0
    assert benches.rows(tmp_path / "range")["sample"].to_list() == list(range(2, 9))
    assert benches.bench(path, tmp_path / "limited", "--limit", 3).exit_code == 0
    assert benches.rows(tmp_path / "limited")["sample"].to_list() == [2, 3, 4]
    assert benches.bench(small(tmp_path, samples=5), tmp_path / "five", "--limit", 30).exit_code == 0
    assert benches.rows(tmp_path / "five")["sample"].to_list() == [0, 1, 2, 3, 4]
    assert benches.bench(small(tmp_path, samples=500), tmp_path / "all").exit_code == 0
    assert benches.rows(tmp_path / "all")["sample"].to_list() == list(range(12))


def test_a_larger_limit_computes_only_what_is_new(tmp_path: Path):
    path, out = small(tmp_path), tmp_path / "out"
    assert benches.bench(path, out, "--limit", 6).exit_code == 0
    before = benches.stamps(out)
    done = benches.bench(path, out)
    assert "2 shards computed" in done.output
    assert before.items() <= benches.stamps(out).items()
    assert sorted(benches.rows(out)["sample"]) == list(range(12))
    assert benches.bench(path, tmp_path / "whole").exit_code == 0
    assert benches.bits(benches.rows(out, "shard")) == benches.bits(benches.rows(tmp_path / "whole", "shard"))
    again = benches.bench(path, out)
    assert "0 shards computed, 3 were finished before" in again.output


@pytest.mark.parametrize("words", [(), ("--population", "correct")])
def test_correctly_classified_samples_are_found_by_classifying(words: tuple[str, ...], tmp_path: Path):
    path = small(tmp_path, samples=6, **({} if words else {"population": "correct"}))
    assert benches.bench(path, tmp_path / "out", *words).exit_code == 0
    rows = benches.rows(tmp_path / "out")
    assert rows["sample"].to_list() == [0, 2, 3, 5, 6, 7]  # 1 and 4 are labelled wrong
    assert rows["clean_prediction"].to_list() == rows["label"].to_list()
    assert {cell.population for cell in reading.read(tmp_path / "out").cells} == {"correct"}
    stored = benches.tensors(tmp_path / "out")
    originals = torch.stack([stored[rows["cell"][0], number][0] for number in rows["sample"]])
    assert logits(originals).argmax(dim=1).tolist() == rows["label"].to_list()


def test_a_folder_that_was_of_correct_samples_has_all_of_those_that_are_asked_for_next(tmp_path: Path):
    path, out = small(tmp_path, samples=6), tmp_path / "out"
    for words, numbers in ((["--population", "correct"], [0, 2, 3, 5, 6, 7]), ([], list(range(6)))):
        assert benches.bench(path, out, *words).exit_code == 0
        (planned,) = reading.read(out).planned
        assert list(planned.samples) == numbers
    shown = report.of(reading.read(out))
    assert sorted(shown.rows["sample"]) == list(range(6))


def test_each_model_has_its_own_correct_samples(tmp_path: Path):
    models = [{"spec": benches.MODEL, "name": "a"}, {"spec": "python:tests.benches:another", "name": "b"}]
    path = small(tmp_path, models=models, samples=4, population="correct", count=24)
    assert benches.bench(path, tmp_path / "out", "--quiet").exit_code == 0
    rows = benches.rows(tmp_path / "out")
    assert (rows["clean_prediction"] == rows["label"]).all()
    found = {name: part["sample"].to_list() for (name,), part in rows.group_by("model")}
    assert found["a"] == [0, 2, 3, 5]
    assert found["b"] != found["a"]


@pytest.mark.parametrize("target", [2, "class 2", "2"])
def test_targets_leave_their_own_class_out(tmp_path: Path, target: int | str):
    path = small(tmp_path, {"attack": "ddn", "steps": [20]}, target=target)
    assert benches.bench(path, tmp_path / "out").exit_code == 0
    rows = benches.rows(tmp_path / "out")
    labels = np.load(tmp_path / "images.npz")["labels"]
    assert rows["sample"].to_list() == np.flatnonzero(labels != 2).tolist()
    assert rows["success"].sum() > 0
    assert set(rows.filter("success")["adversarial_prediction"]) == {2}
    (cell,) = reading.read(tmp_path / "out").cells
    assert cell.goal == "target 2"


def test_only_computes_some_rows_and_keeps_the_others(tmp_path: Path):
    two = ({"attack": "ddn", "steps": [4, 40]}, {"attack": "fmn", "distances": ["l1", "l2"], "steps": [4]})
    path, out = small(tmp_path, *two), tmp_path / "out"
    assert benches.bench(path, out, "--only", "ddn 4").exit_code == 0
    assert set(benches.rows(out)["attack"]) == {"DDN 4"}
    assert benches.bench(path, out, "--only", "FMN l1", "--only", "net ℓ2").exit_code == 0
    assert set(benches.rows(out)["attack"]) == {"DDN 4", "FMN ℓ1 4", "FMN ℓ2 4"}
    assert [planned.attack for planned in reading.read(out).planned] == ["DDN 4", "FMN ℓ1 4", "FMN ℓ2 4"]
    done = benches.bench(path, out, "--only", "nothing")
    assert done.exit_code == 2
    assert "--only nothing leaves nothing" in done.output


def test_budgets_are_kept(tmp_path: Path):
    path = small(tmp_path, {"attack": "fmn", "distances": ["l2"], "steps": [30]}, budgets=[10, 20])
    assert benches.bench(path, tmp_path / "out").exit_code == 0
    rows = benches.rows(tmp_path / "out").filter(pl.col("status") != "already adversarial")
    spent = (
        rows.with_columns(spent=pl.col("forwards") + pl.col("backwards")).group_by("attack").agg(pl.max("spent"))
    )
    assert dict(spent.iter_rows()) == {"FMN ℓ2 30 ≤10": 10, "FMN ℓ2 30 ≤20": 20}


# traces


def test_traces_are_kept_when_asked_for(tmp_path: Path):
    out = tmp_path / "out"
    assert benches.bench(small(tmp_path), out).exit_code == 0
    (cell,) = reading.read(out).cells
    assert reading.read(out).traces(cell.id, range(12)) is None
    done = benches.bench(small(tmp_path, trace=True), out)
    assert "3 shards computed" in done.output
    some = reading.read(out).traces(cell.id, [2, 7])
    assert some is not None
    assert some.distances.shape[1] == 2
    traced = reading.read(out).traces(cell.id, range(12))
    assert traced is not None, "shards without a trace are still there, but every sample has one now"
    propagations, distances = traced.propagations, traced.distances
    assert distances.shape == propagations.shape == (propagations.shape[0], 12)
    assert bool((distances[1:] <= distances[:-1]).all())
    assert bool((propagations[1:] >= propagations[:-1]).all())
    final = sorted(distances[-1][distances[-1] > 0].tolist())
    rows = reading.read(out).rows
    assert len(rows) == 12
    found = rows.filter(pl.col("status") == "found")["distance"].sort().to_numpy()
    np.testing.assert_allclose(final[: len(found)], found, rtol=1e-5)
    assert "0 shards computed, 3 were finished before" in benches.bench(small(tmp_path, trace=True), out).output
    assert "0 shards computed" in benches.bench(small(tmp_path), out).output


# what is said


def test_a_dry_run_says_what_is_missing_and_writes_nothing(tmp_path: Path):
    path, out = small(tmp_path), tmp_path / "out"
    done = benches.bench(path, out, "--dry-run")
    assert done.exit_code == 0
    assert not out.exists()
    assert done.output.split("net")[1].split()[:8] == ["ALMA", "ℓ2", "8", "12", "3", "3", "96", "96"]
    assert benches.bench(path, out, "--limit", 4).exit_code == 0
    before = benches.stamps(out)
    done = benches.bench(path, out, "--dry-run")
    assert done.output.split("net")[1].split()[:8] == ["ALMA", "ℓ2", "8", "12", "3", "2", "64", "64"]
    assert benches.stamps(out) == before


@pytest.mark.filterwarnings("always:.*(asks for|ends after):UserWarning")
def test_fewer_samples_than_a_suite_asks_for_are_said(tmp_path: Path):
    done = benches.bench(small(tmp_path, samples=50), tmp_path / "out", "--dry-run")
    assert "12 samples" in done.output
    assert "asks for 50" in done.output
    again = benches.bench(small(tmp_path, samples=50), tmp_path / "out", "--dry-run", "--limit", 4)
    assert "asks for" not in again.output
    done = benches.bench(small(tmp_path, samples=[2, 50]), tmp_path / "out", "--dry-run")
    assert "samples = [2, 50] ends after the last of 12 samples" in done.output


def test_a_report_says_how_much_is_done_and_what_is_damaged(tmp_path: Path):
    out = tmp_path / "out"
    assert benches.bench(small(tmp_path), out).exit_code == 0
    rows = next(out.glob("shards/*/rows.parquet"))
    rows.write_bytes(rows.read_bytes()[:100])
    done = benches.minadv("report", out)
    assert " of 12 samples of 1 cell are done" in done.output
    assert "rows.parquet has 100 bytes" in " ".join(done.output.split())


def test_a_report_says_which_images_and_traces_are_damaged(tmp_path: Path):
    out = tmp_path / "out"
    assert benches.bench(small(tmp_path, trace=True), out).exit_code == 0
    assert benches.minadv("report", out).exit_code == 0
    assert "Gallery</h2>" in (out / "report" / "index.html").read_text()
    for path in out.glob("shards/*/*.safetensors"):
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    done = benches.minadv("report", out)
    assert done.exit_code == 0
    said = " ".join(done.output.split())
    assert "The cell is complete (12 results)" in said
    page = (out / "report" / "index.html").read_text()
    assert "Gallery</h2>" not in page
    for kind in ("adversarials", "trace"):
        (named, *_) = re.findall(rf"shards/\w+/{kind}.safetensors was altered: what would be drawn from", said)
        assert named in page


def test_a_dry_run_knows_samples_of_other_shards(tmp_path: Path):
    path, out = small(tmp_path), tmp_path / "out"
    assert benches.bench(path, out).exit_code == 0
    done = benches.bench(path, out, "--dry-run", "--shard-size", 6)
    assert done.output.split("net")[1].split()[:8] == ["ALMA", "ℓ2", "8", "12", "2", "0", "0", "0"]


def test_lines_without_a_terminal(tmp_path: Path):
    done = benches.bench(small(tmp_path), tmp_path / "out")
    lines = [line for line in done.output.splitlines() if line.startswith("net, ALMA ℓ2 8:")]
    assert [line.split(": ")[1].split(",")[0] for line in lines] == ["4/12", "8/12", "12/12"]
    rows = benches.rows(tmp_path / "out")
    assert f"ASR {100 * rows['success'].mean():.1f} %" in lines[-1]
    assert lines[-1].endswith("done")
    assert "\x1b" not in done.output
    quiet = benches.bench(small(tmp_path), tmp_path / "out", "--quiet")
    assert quiet.output == ""


def test_bars_of_a_terminal_are_on_stderr_and_what_was_computed_on_stdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as if there were one
    done = benches.bench(small(tmp_path), tmp_path / "out", "--limit", 4)
    assert done.exit_code == 0, done.output
    assert "Ctrl-C stops after the current shard" in done.stderr
    assert "Ctrl-C" not in done.stdout
    assert "4/4" in done.stdout  # the last table stays


def test_two_rows_that_are_one_cell_are_computed_once(tmp_path: Path):
    twice = ({"attack": "ddn", "steps": [4]}, {"attack": "ddn", "steps": [4], "label": "the same"})
    done = benches.bench(small(tmp_path, *twice), tmp_path / "out")
    assert done.exit_code == 0
    assert done.output.splitlines()[-1].startswith("3 shards computed")
    read = reading.read(tmp_path / "out")
    assert [planned.attack for planned in read.planned] == ["DDN 4", "the same"]
    assert len(read.rows) == 12


# the executor is small


class Counting:
    """Runs shards, and remembers when each was taken."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    def run(self, shards: Any) -> Any:
        def counted() -> Any:
            for shard in shards:
                self.taken.append(shard.id)
                yield shard

        return Local().run(counted())


class Quiet:
    """Watches a run."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []

    def begin(self, job: Any, finished: pl.DataFrame) -> None:
        self.seen.append(("begin", len(finished)))

    def finished(self, job: Any, rows: pl.DataFrame) -> None:
        self.seen.append(("finished", len(rows)))

    def failed(self, failed: Failed) -> None:
        self.seen.append(("failed", len(failed.shard.samples)))

    def note(self, text: str) -> None:
        self.seen.append((text, 0))


def test_a_run_needs_only_the_protocols(tmp_path: Path):
    executor, view = Counting(), Quiet()
    assert isinstance(executor, Executor)
    assert isinstance(view, View)
    store = Store(tmp_path / "out")
    store.create()
    planned = plan(suite.load(small(tmp_path)), Options())
    report = Run(planned, store, executor, view, stop=lambda: len(executor.taken) >= 2)()
    assert (report.computed, report.before, report.stopped) == (2, 0, True)
    report = Run(planned, store, executor, view)()
    assert (report.computed, report.before, report.stopped) == (1, 2, False)
    assert len(executor.taken) == len(set(executor.taken)) == 3
    assert view.seen == [("begin", 0), ("finished", 4), ("finished", 4), ("begin", 8), ("finished", 4)]


def test_a_stop_when_all_is_done_is_no_stop(tmp_path: Path):
    executor, store = Counting(), Store(tmp_path / "out")
    store.create()
    planned = plan(suite.load(small(tmp_path)), Options())
    report = Run(planned, store, executor, Quiet(), stop=lambda: len(executor.taken) >= 3)()
    assert (report.computed, report.stopped) == (3, False)


def test_outcomes_say_what_they_are_of(tmp_path: Path):
    planned = plan(suite.load(small(tmp_path)), Options(limit=4))
    from minadv.bench.jobs import shards

    (shard,) = shards(planned.jobs[0], 4)
    (outcome,) = Local().run([shard])
    assert isinstance(outcome, Finished)
    assert outcome.shard is shard
    assert len(outcome.rows) == len(outcome.originals) == len(outcome.adversarials) == 4
    assert "shard" not in outcome.rows.columns
    assert outcome.environment == environment(torch.device("cpu"))


class Elsewhere(Counting):
    """Computes as on a machine that is not this one."""

    def run(self, shards: Any) -> Any:
        for outcome in super().run(shards):
            yield replace(outcome, environment=outcome.environment.model_copy(update={"platform": "elsewhere"}))


def test_a_shard_says_where_it_was_computed_not_where_it_is_stored(tmp_path: Path):
    store = Store(tmp_path / "out")
    store.create()
    Run(plan(suite.load(small(tmp_path)), Options()), store, Elsewhere(), Quiet())()
    assert [found.platform for found in reading.read(tmp_path / "out").environments] == ["elsewhere"]


class Kind:
    """Makes workers as Ray does, but of nothing: it remembers what they were given."""

    def __init__(self, given: list[tuple[Any, ...]]) -> None:
        self.given = given

    def remote(self, *words: Any) -> None:
        self.given.append(words)


@pytest.mark.parametrize(("device", "theirs"), [("cuda", "cuda"), ("cuda:1", "cuda"), ("cpu", "cpu")])
def test_a_clusters_workers_have_gpus_of_their_own(
    device: str, theirs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    given: list[tuple[Any, ...]] = []
    needs: list[dict[str, int]] = []
    ray = SimpleNamespace(
        is_initialized=lambda: True,
        nodes=lambda: [{"Alive": True, "Resources": {"CPU": 64.0, "GPU": 2.0}}],
        remote=lambda **needed: needs.append(needed) or (lambda _: Kind(given)),
    )
    monkeypatch.setattr(cluster, "import_module", lambda _: ray)

    def run(self: cluster.Cluster, shards: Any) -> Any:
        self._worker()
        return iter(())

    monkeypatch.setattr(cluster.Cluster, "run", run)
    done = benches.bench(small(tmp_path), tmp_path / "out", "--engine", "ray", "--device", device)
    assert "cannot be used here" not in done.output
    assert [words[0] for words in given] == [torch.device(theirs)]
    assert [needed["num_gpus"] for needed in needs] == [int(theirs == "cuda")]


def test_a_device_that_nobody_has_is_refused_for_a_cluster_too(tmp_path: Path):
    done = benches.bench(small(tmp_path), tmp_path / "out", "--engine", "ray", "--device", "quantum")
    assert done.exit_code == 2
    assert "--device quantum is none that torch knows" in done.stderr


def test_a_suite_names_classes_and_data(tmp_path: Path):
    names = [f"kind {label}" for label in range(benches.CLASSES)]
    data = benches.write_images(tmp_path / "images.npz", count=4)
    path = benches.write_suite(tmp_path, data, classes=names, data_name="Noise")
    assert benches.bench(path, tmp_path / "out").exit_code == 0
    (cell,) = reading.read(tmp_path / "out").cells
    assert cell.classes == tuple(names)
    assert cell.data_title == "Noise"
    few = benches.write_suite(tmp_path, data, classes=names[:2])
    refused = benches.bench(few, tmp_path / "few")
    assert refused.exit_code == 2
    assert "classes has 2 names" in refused.output

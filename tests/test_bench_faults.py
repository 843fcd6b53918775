"""What can go wrong around a benchmark ends with a clear message, and nothing else is lost."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import torch
from torch import Tensor, nn

from minadv.bench import reading
from minadv.bench.store import Store
from minadv.errors import counted
from minadv.report import bench as report
from tests import benches

MOUNT, UMOUNT = shutil.which("mount"), shutil.which("umount")
TWO = ({"attack": "alma", "distances": ["l2"], "steps": [6]}, {"attack": "ddn", "steps": [6]})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 images, of which number 5 can break the model; 12 shards."""
    folder = tmp_path_factory.mktemp("suite")
    data = benches.write_images(folder / "images.npz", count=24, mark=5)
    benches.write_suite(folder, data, *TWO)
    return folder


@pytest.fixture(scope="module")
def whole(place: Path) -> Path:
    done = benches.bench(place / "suite.toml", place / "whole", "--quiet")
    assert done.exit_code == 0, done.output
    return place / "whole"


class Disk:
    """A small file system in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        done = self._run(MOUNT, "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder)
        if done.returncode != 0:
            pytest.skip(f"cannot mount a file system here: {done.stderr.strip()}")

    def change(self, options: str) -> None:
        done = self._run(MOUNT, "-o", f"remount,{options}", self.folder)
        assert done.returncode == 0, done.stderr

    def close(self) -> None:
        self._run(UMOUNT, self.folder)

    @staticmethod
    def _run(*words: object) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if MOUNT is None or UMOUNT is None:
        pytest.skip("there is no mount here")
    made = Disk(tmp_path / "disk")
    try:
        yield made
    finally:
        made.close()


# disks


def test_a_full_disk_stops_the_run_and_loses_nothing(place: Path, whole: Path, disk: Disk):
    out = disk.folder / "out"
    done = benches.bench(place / "suite.toml", out)
    assert done.exit_code == 3, done.output
    assert "No space left on device" in done.output
    assert f"Finished shards in {out} are kept" in done.output
    assert "make room" in done.output
    assert "Traceback" not in done.output
    finished = benches.stamps(out)
    assert 1 <= len(finished) < 12
    assert all(Store(out).intact(shard) for shard in finished)
    assert not benches.leftovers(out)
    read = reading.read(out)
    assert len(read.rows) == 4 * len(finished)

    again = benches.bench(place / "suite.toml", out)  # still full
    assert again.exit_code == 3
    assert finished.items() <= benches.stamps(out).items()

    disk.change("size=8m")
    finished = benches.stamps(out)
    done = benches.bench(place / "suite.toml", out)
    assert done.exit_code == 0, done.output
    assert f"{counted(12 - len(finished), 'shard')} computed, {len(finished)} were finished before" in done.output
    assert finished.items() <= benches.stamps(out).items()
    assert benches.bits(benches.rows(out)) == benches.bits(benches.rows(whole))
    assert benches.same_tensors(out, whole)
    assert not benches.leftovers(out)


def test_a_disk_that_is_full_from_the_start(place: Path, disk: Disk):
    (disk.folder / "ballast").write_bytes(bytes(256 * 1024))
    done = benches.bench(place / "suite.toml", disk.folder / "out")
    assert done.exit_code == 3, done.output
    assert "cannot write to" in done.output
    assert "No space left on device" in done.output


def test_a_read_only_folder(place: Path, disk: Disk):
    out = disk.folder / "out"
    assert benches.bench(place / "suite.toml", out, "--only", "alma", "--limit", 8).exit_code == 0
    finished = benches.stamps(out)
    disk.change("ro")
    for folder in (out, disk.folder / "new"):
        done = benches.bench(place / "suite.toml", folder)
        assert done.exit_code == 3, done.output
        assert f"cannot write to {folder}" in done.output
        assert "Read-only file system" in done.output
        assert "Traceback" not in done.output
    assert len(reading.read(out).rows) == 8, "it can be read"
    assert benches.bench(place / "suite.toml", out, "--dry-run").exit_code == 0
    disk.change("rw,size=8m")
    assert benches.stamps(out) == finished
    assert benches.bench(place / "suite.toml", out).exit_code == 0


def test_a_folder_that_cannot_be(place: Path, tmp_path: Path):
    (tmp_path / "file").write_text("not a folder")
    for out, code in ((tmp_path / "file", 2), (tmp_path / "file" / "below", 3)):
        done = benches.bench(place / "suite.toml", out)
        assert done.exit_code == code, done.output
        said = f"cannot write to {tmp_path / 'file'}" if code == 3 else f"{out} is a file"
        assert said in done.output
        assert "Traceback" not in done.output
    assert (tmp_path / "file").read_text() == "not a folder"


def test_a_write_that_fails_leaves_nothing_half(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    renamed = Path.rename

    def broken(path: Path, target: Path) -> Path:
        if path.parent.name == "shards":
            raise OSError(5, "Input/output error", str(target))
        return renamed(path, target)

    monkeypatch.setattr(Path, "rename", broken)
    done = benches.bench(place / "suite.toml", tmp_path / "out")
    assert done.exit_code == 3
    assert "Input/output error" in done.output
    assert not benches.shards(tmp_path / "out")
    assert not benches.leftovers(tmp_path / "out")


# what is missing


@pytest.mark.parametrize("optional", [False, True])
def test_a_missing_weight_file_costs_its_own_cells_only(optional: bool, place: Path, whole: Path, nowhere: Path):
    models = [
        {"spec": "zoo:cifar_resnet4b", "name": "absent", "optional": optional},
        {"spec": benches.MODEL, "name": "net"},
    ]
    out = nowhere / "out"
    done = benches.bench(benches.write_suite(nowhere, place / "images.npz", *TWO, models=models), out)
    assert done.exit_code == (0 if optional else 1), done.output
    said = [line for line in done.output.splitlines() if "not available" in line]
    assert len(said) == 1, "one line for one reason"
    for word in ("absent", "cifar_resnet4b", "were not found: get", "https://", "MINADV_WEIGHTS", "and 1 more"):
        assert word in said[0], said
    assert benches.bits(benches.rows(out)) == benches.bits(benches.rows(whole))
    planned = reading.read(out).planned
    assert [(each.model, each.cell is None, each.optional) for each in planned] == [
        ("absent", True, optional),
        ("absent", True, optional),
        ("net", False, False),
        ("net", False, False),
    ]
    again = benches.bench(nowhere / "suite.toml", out)
    assert again.exit_code == (0 if optional else 1)
    assert "0 shards computed, 12 were finished before" in again.output


@pytest.mark.parametrize("optional", [False, True])
def test_a_distance_without_weights_costs_its_own_cells_only(optional: bool, place: Path, nowhere: Path):
    lpips = {"attack": "alma", "distances": ["lpips"], "steps": [3], "optional": optional}
    path = benches.write_suite(nowhere, place / "images.npz", lpips, TWO[1])
    done = benches.bench(path, nowhere / "out")
    assert done.exit_code == (0 if optional else 1), done.output
    assert "ALMA LPIPS 3 on net" in done.output
    assert "alexnet" in done.output
    assert set(benches.rows(nowhere / "out")["attack"]) == {"DDN 6"}


def test_nothing_but_what_is_missing(place: Path, nowhere: Path):
    models = [{"spec": "zoo:cifar_resnet4b"}]
    path = benches.write_suite(nowhere, place / "images.npz", models=models)
    done = benches.bench(path, nowhere / "out")
    assert done.exit_code == 1
    assert "0 shards computed" in done.output
    assert not benches.shards(nowhere / "out")


# models that raise


def test_a_model_that_raises_for_one_batch(
    place: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "out"
    monkeypatch.setenv(benches.BROKEN, "1")
    done = benches.bench(place / "suite.toml", out)
    assert done.exit_code == 1, done.output
    assert "ArithmeticError: this image is too much for me" in done.output
    assert "2 shards failed" in done.output
    assert "the same command goes on" in done.output
    assert "10 shards computed" in done.output
    assert not benches.leftovers(out)
    finished = benches.stamps(out)
    assert len(finished) == 10
    expected = benches.rows(whole).filter(~pl.col("sample").is_in([4, 5, 6, 7]))
    assert benches.bits(benches.rows(out)) == benches.bits(expected)

    failures = [json.loads(path.read_text()) for path in (out / "failures").iterdir()]
    assert {failure["cell"]["attack"] for failure in failures} == {"ALMA ℓ2 6", "DDN 6"}
    for failure in failures:
        assert failure["samples"] == [4, 5, 6, 7]
        assert failure["error"] == "ArithmeticError: this image is too much for me"
        assert "Traceback" in failure["traceback"]
        assert "benches.py" in failure["traceback"]
        assert "in forward" in failure["traceback"]
    assert len(reading.read(out).failures) == 2

    again = benches.bench(place / "suite.toml", out)  # tried again, and fails again
    assert again.exit_code == 1
    assert "0 shards computed, 10 were finished before" in again.output
    assert len(list((out / "failures").iterdir())) == 2

    monkeypatch.delenv(benches.BROKEN)
    repaired = benches.bench(place / "suite.toml", out)
    assert repaired.exit_code == 0, repaired.output
    assert "2 shards computed, 10 were finished before" in repaired.output
    assert finished.items() <= benches.stamps(out).items()
    assert not list((out / "failures").iterdir())
    assert reading.read(out).failures == ()
    assert benches.bits(benches.rows(out)) == benches.bits(benches.rows(whole))


class NaNForOne(nn.Module):
    """Numbers for every image but the marked one."""

    def __init__(self) -> None:
        super().__init__()
        self.network = benches.network()

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x).where((x[:, :1, 0, 0] != benches.MARK), torch.nan)


def test_an_image_that_gives_nan_fails_alone(tmp_path: Path):
    data, out = benches.write_images(tmp_path / "images.npz", count=8, mark=5), tmp_path / "out"
    models = [{"spec": "python:tests.test_bench_faults:NaNForOne", "name": "net"}]
    path = benches.write_suite(tmp_path, data, *TWO, models=models)
    done = benches.bench(path, out)
    assert done.exit_code == 1, done.output
    assert benches.rows(out)["sample"].to_list() == [0, 1, 2, 3, 4, 6, 7] * 2
    failures = reading.read(out).failures
    assert [failure.samples for failure in failures] == [(5,), (5,)]
    for failure in failures:
        said = "ValueError: model returned NaN or infinite logits for 1 of 4 inputs (rows 5): check the model's"
        assert failure.error.startswith(said)
    again = benches.bench(path, out)
    assert "0 shards computed" in again.output
    assert len(list((out / "failures").iterdir())) == 2


def test_failures_that_are_alike_are_told_once(tmp_path: Path):
    """On the terminal and on the page, however many shards and attacks they are of."""
    data, out = benches.write_images(tmp_path / "images.npz", count=12), tmp_path / "out"
    models = [{"spec": "python:tests.test_bench_history:raising", "name": "bad"}]
    done = benches.bench(benches.write_suite(tmp_path, data, *TWO, models=models), out)
    assert done.output.count("weights of layer 3") == 1
    assert "6 shards failed" in done.output
    page = report.write(out, reading.read(out)).read_text(encoding="utf-8")
    assert page.count('<span class="badge">failed</span> ALMA ℓ2 6 on bad, DDN 6 on bad') == 1
    assert page.count('<span class="badge">failed</span>') == 1
    assert f"Samples {', '.join(map(str, range(12)))}: <code>KeyError: &#39;weights of layer 3&#39;</code>" in page
    assert "and alike in 5 more shards" in page


def test_a_failure_with_another_shard_size_is_forgotten(
    place: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "out"
    monkeypatch.setenv(benches.BROKEN, "1")
    assert benches.bench(place / "suite.toml", out, "--shard-size", 24).exit_code == 1
    assert len(reading.read(out).failures) == 2
    monkeypatch.delenv(benches.BROKEN)
    assert benches.bench(place / "suite.toml", out).exit_code == 0
    assert reading.read(out).failures == ()
    assert benches.bits(benches.rows(out)) == benches.bits(benches.rows(whole))


def test_a_damaged_shard_whose_model_raises_is_told_twice(
    place: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = Path(shutil.copytree(whole, tmp_path / "out"))
    rows = reading.read(out).rows.filter(pl.col("sample") == 5)
    victim = out / "shards" / rows["shard"][0]
    (victim / "rows.parquet").write_bytes(b"")
    monkeypatch.setenv(benches.BROKEN, "1")
    done = benches.bench(place / "suite.toml", out)
    assert done.exit_code == 1
    assert "1 shard failed" in done.output
    read = reading.read(out)
    assert [failure.samples for failure in read.failures] == [(4, 5, 6, 7)]
    monkeypatch.delenv(benches.BROKEN)
    assert benches.bench(place / "suite.toml", out).exit_code == 0
    assert benches.bits(benches.rows(out)) == benches.bits(benches.rows(whole))


def test_a_target_that_the_model_does_not_have(place: Path, tmp_path: Path):
    path = benches.write_suite(tmp_path, place / "images.npz", target=99)
    done = benches.bench(path, tmp_path / "out")
    assert done.exit_code == 2
    assert "target is 99, but net tells 5 classes apart" in done.output
    assert "Traceback" not in done.output


def test_no_sample_left_is_said(place: Path, tmp_path: Path):
    models = [{"spec": benches.MODEL, "name": "net"}]
    data = benches.write_images(tmp_path / "wrong.npz", count=4, wrong=(0, 1, 2, 3))
    path = benches.write_suite(tmp_path, data, models=models, population="correct")
    done = benches.bench(path, tmp_path / "out")
    assert done.exit_code == 1  # other models may do better
    assert "classifies none of the 4 samples correctly" in done.output


def test_bad_words_are_bad_input(place: Path, tmp_path: Path):
    for words in (
        ("--shard-size", 0),
        ("--limit", 0),
        ("--population", "none"),
        ("--device", "tpu"),
        ("--engine", "x"),
    ):
        assert benches.bench(place / "suite.toml", tmp_path / "out", *words).exit_code == 2, words
    assert not (tmp_path / "out").exists()

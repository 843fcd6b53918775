import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal
from safetensors.torch import load_file, save_file

from minadv import files, run_folder
from minadv.result import Trace
from tests.runs_by_hand import run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run_folder.write(tmp_path / "one", run())
    return tmp_path / "one"


def test_what_is_written_is_read_again(tmp_path: Path):
    trace = Trace(torch.arange(12).reshape(2, 6), torch.rand(2, 6))
    written = replace(run(), trace=trace)
    run_folder.write(tmp_path, written)
    found = run_folder.read(tmp_path)
    assert found.configuration == written.configuration
    assert_frame_equal(found.results, written.results)
    assert torch.equal(found.adversarials, written.adversarials)
    assert torch.equal(found.originals, written.originals)
    assert found.trace is not None
    assert torch.equal(found.trace.propagations, trace.propagations)
    assert torch.equal(found.trace.distances, trace.distances)


def test_the_files_are_for_other_tools_too(folder: Path):
    assert sorted(path.name for path in folder.iterdir()) == [
        run_folder.TENSORS,
        run_folder.RESULTS,
        run_folder.CONFIGURATION,
    ]
    tensors = load_file(folder / "adversarials.safetensors")
    assert tensors["labels"].tolist() == [0, 1, 0, 1, 0, 1]
    assert tensors["samples"].tolist() == [10, 11, 12, 13, 14, 15]
    assert pl.read_parquet(folder / "results.parquet")["distance"].to_list()[3] == float("inf")
    asked = json.loads((folder / "run.json").read_text())
    assert asked["settings"]["steps"] == 7
    assert asked["settings"]["levels"] is None


def test_files_get_the_usual_permissions(folder: Path):
    (folder / "plain").touch()
    assert {path.stat().st_mode for path in folder.iterdir()} == {(folder / "plain").stat().st_mode}


def test_an_overwritten_run_leaves_no_trace_of_the_earlier_one(tmp_path: Path):
    run_folder.write(tmp_path, replace(run(), trace=Trace(torch.ones(1, 6, dtype=torch.int64), torch.ones(1, 6))))
    run_folder.write(tmp_path, run())
    assert run_folder.read(tmp_path).trace is None


def test_a_failed_write_leaves_the_earlier_file(tmp_path: Path):
    (tmp_path / "file").write_text("before")

    def write_half() -> None:
        with files.in_place(tmp_path / "file") as path:
            path.write_text("half of what was")
            raise KeyError

    with pytest.raises(KeyError):
        write_half()
    assert (tmp_path / "file").read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_an_error_leaves_empty_is_removed_with_those_made_for_it(tmp_path: Path):
    folder = tmp_path / "one" / "two"

    def failing(keep: bool) -> None:
        with run_folder.prepared(folder):
            assert folder.is_dir()
            if keep:
                (folder / "file").touch()
            raise KeyError

    with pytest.raises(KeyError):
        failing(keep=False)
    assert list(tmp_path.iterdir()) == []
    folder.mkdir(parents=True)
    with pytest.raises(KeyError):
        failing(keep=False)
    assert folder.exists(), "it was there before"
    folder.rmdir()
    with pytest.raises(KeyError):
        failing(keep=True)
    assert (folder / "file").exists()


def test_exists(folder: Path, tmp_path: Path):
    assert run_folder.exists(folder)
    assert not run_folder.exists(tmp_path)
    assert not run_folder.exists(tmp_path / "nowhere")
    (folder / run_folder.CONFIGURATION).unlink()
    assert run_folder.exists(folder), "an interrupted run is one too"


@pytest.mark.parametrize("name", [run_folder.CONFIGURATION, run_folder.RESULTS, run_folder.TENSORS])
def test_a_missing_file_is_named(folder: Path, name: str):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"no {name}: that of minadv attack holds run.json, "):
        run_folder.read(folder)


def test_a_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        run_folder.read(tmp_path / "nowhere")


@pytest.mark.parametrize("name", [run_folder.CONFIGURATION, run_folder.RESULTS, run_folder.TENSORS])
@pytest.mark.parametrize("keep", [0, 40])
def test_a_damaged_file_is_named(folder: Path, name: str, keep: int):
    (folder / name).write_bytes((folder / name).read_bytes()[:keep])
    with pytest.raises(ValueError, match=f"{name} cannot be read"):
        run_folder.read(folder)


def test_altered_tensors_are_noticed(folder: Path):
    data = (folder / run_folder.TENSORS).read_bytes()
    (folder / run_folder.TENSORS).write_bytes(data[:-100] + bytes(100))
    with pytest.raises(ValueError, match=f"{run_folder.TENSORS} cannot be read, .*its checksum is another"):
        run_folder.read(folder)


def test_tensors_of_earlier_versions_have_no_checksum(folder: Path):
    save_file(load_file(folder / run_folder.TENSORS), folder / run_folder.TENSORS)
    assert len(run_folder.read(folder).adversarials) == 6


def test_a_configuration_of_another_format_is_refused(folder: Path):
    asked = json.loads((folder / run_folder.CONFIGURATION).read_text())
    (folder / run_folder.CONFIGURATION).write_text(json.dumps(asked | {"format": 2}))
    with pytest.raises(ValueError, match="format"):
        run_folder.read(folder)


def test_missing_columns_are_named(folder: Path):
    run().results.drop("margin").write_parquet(folder / run_folder.RESULTS)
    with pytest.raises(ValueError, match="margin"):
        run_folder.read(folder)


def test_files_of_different_runs_are_refused(folder: Path):
    run().results.head(3).write_parquet(folder / run_folder.RESULTS)
    with pytest.raises(ValueError, match="mixes files of different runs: 3 rows"):
        run_folder.read(folder)
    for column in ("label", "sample"):
        run().results.with_columns(pl.col(column).reverse()).write_parquet(folder / run_folder.RESULTS)
        with pytest.raises(ValueError, match="mixes files of different runs: 6 rows"):
            run_folder.read(folder)

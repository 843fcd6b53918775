import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import nn
from typer.testing import CliRunner, Result

from minadv import Auto, __version__, attacks, cli, distances
from minadv.bench import reading
from minadv.cli import parameters
from minadv.cli.console import OwnCodeError, one_line_errors
from minadv.cli.listing import DISTANCES
from tests import bench_by_hand as by_hand
from tests.networks import convolutional, images, predictions

COUNT, SIDE = 8, 16
MODEL = "python:tests.test_cli:network"


def network() -> nn.Module:
    return convolutional(channels=3, classes=5)


def wider() -> nn.Module:
    return convolutional(channels=3, classes=7)


class Forgetful(nn.Module):
    """It tells classes apart while it is differentiated only, so that no answer stands the second look."""

    def __init__(self) -> None:
        super().__init__()
        self.network = network()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x) * torch.is_grad_enabled()


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads wait for one another on busy machines, which costs such small networks most of their time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random images with the network's own answers as labels, but for the second."""
    path = tmp_path_factory.mktemp("data") / "images.npz"
    stored = (images(COUNT, side=SIDE) * 255).round().to(torch.uint8)
    labels = predictions(network(), stored.float() / 255)
    labels[1] = (labels[1] + 1) % 5
    np.savez(path, images=stored.permute(0, 2, 3, 1).numpy(), labels=labels.numpy())
    return path


@pytest.fixture(scope="module")
def run_folder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "one"
    done = attack(data, folder, "--png", "--trace", "--batch-size", "8")
    assert done.exit_code == 0, done.output
    return folder


def minadv(*words: object) -> Result:
    return CliRunner().invoke(cli.app, [str(word) for word in words])


def attack(data: Path, folder: Path, *words: object) -> Result:
    common = ("--model", MODEL, "--data", f"npz:{data}", "--steps", 25, "--out", folder)
    return minadv("attack", *common, *words)


# the run folder of a real attack


def test_the_run_folder_is_complete(run_folder: Path):
    assert {path.name for path in run_folder.iterdir()} == {
        "adversarials.safetensors",
        "png",
        "report.html",
        "results.parquet",
        "run.json",
        "trace.safetensors",
    }


def test_stored_numbers_are_those_of_the_stored_tensors(run_folder: Path):
    rows = pl.read_parquet(run_folder / "results.parquet")
    tensors = load_file(run_folder / "adversarials.safetensors")
    adversarials, originals = (tensors[name].double().numpy() for name in ("adversarials", "originals"))
    change = (adversarials - originals).reshape(COUNT, -1)
    lost = ~rows["success"].to_numpy()

    def expect(name: str, values: np.ndarray, rtol: float = 1e-6) -> None:
        np.testing.assert_allclose(rows[name].to_numpy(), np.where(lost, np.inf, values), rtol=rtol, atol=1e-12)

    expect("l0", (change != 0).sum(axis=1))
    expect("l1", np.abs(change).sum(axis=1))
    expect("l2", np.sqrt((change**2).sum(axis=1)))
    expect("linf", np.abs(change).max(axis=1))
    expect("distance", np.sqrt((change**2).sum(axis=1)))
    before, after = (rgb2lab(x.transpose(0, 2, 3, 1)) for x in (originals, adversarials))
    expect("ciede2000", np.sqrt((deltaE_ciede2000(before, after) ** 2).sum(axis=(1, 2))), rtol=1e-4)
    assert "ssim" in rows.columns

    model = network()
    assert rows["sample"].to_list() == list(range(COUNT))
    assert rows["label"].to_list() == tensors["labels"].tolist()
    assert rows["clean_prediction"].to_list() == predictions(model, tensors["originals"]).tolist()
    assert rows["adversarial_prediction"].to_list() == predictions(model, tensors["adversarials"]).tolist()
    assert rows["status"].to_list()[1] == "already adversarial"
    assert rows["success"].to_list() == (rows["label"] != rows["adversarial_prediction"]).to_list()
    assert rows["success"].sum() > COUNT // 2


def test_pngs_are_the_stored_images_and_survival_is_true(run_folder: Path):
    rows = pl.read_parquet(run_folder / "results.parquet").filter("success")
    stored = load_file(run_folder / "adversarials.safetensors")["adversarials"]
    for sample, label, survives in rows.select("sample", "label", "survives_8bit").iter_rows():
        with Image.open(run_folder / "png" / f"{sample:06d}.png") as image:
            pixels = np.asarray(image)
        read = torch.tensor(pixels.copy()).permute(2, 0, 1).float() / 255
        assert (read - stored[sample]).abs().max() <= 0.5 / 255 + 1e-6
        assert (int(predictions(network(), read[None])) != label) == survives


def test_the_configuration_says_what_was_done(run_folder: Path):
    asked = json.loads((run_folder / "run.json").read_text())
    assert asked["model"] == MODEL
    assert asked["attack"] == "Auto"  # the default; --steps is its budget
    assert set(asked["settings"]) == {field.name for field in fields(Auto)}
    assert asked["settings"]["budget"] == 25
    assert asked["settings"]["stop_early"] is True
    assert asked["distance"] == "l2"
    assert asked["dtype"] == "float32"
    assert asked["environment"]["torch"] == torch.__version__
    assert asked["seconds"] > 0


def test_the_trace_ends_at_the_result(run_folder: Path):
    trace = load_file(run_folder / "trace.safetensors")
    rows = pl.read_parquet(run_folder / "results.parquet")
    np.testing.assert_allclose(trace["distances"][-1].numpy(), rows["distance"].to_numpy(), rtol=1e-5)


@pytest.mark.parametrize("kind", ["run", "benchmark"])
def test_report_says_what_to_do_where_it_cannot_write(
    kind: str, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = run_folder
    if kind == "benchmark":
        folder = tmp_path / "out"
        (folder / "shards").mkdir(parents=True)
        stored = by_hand.paper_like(10)
        monkeypatch.setattr(reading, "read", lambda _: stored)

    def refused(path: Path, *_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "touch", refused)
    monkeypatch.setattr(Path, "mkdir", refused)
    done = minadv("report", folder)
    assert done.exit_code == 2
    said = " ".join(done.stderr.split())
    assert f"cannot write the report into {folder}" in said
    assert "(Read-only file system)" in said
    assert "copy the folder" in said
    assert "Errno" not in said


def test_report_names_both_kinds_of_folders(tmp_path: Path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        done = minadv("report", folder)
        assert done.exit_code == 2
        assert "give the --out of a minadv attack or minadv bench" in " ".join(done.stderr.split())


def test_report_names_runs_inside_a_folder(run_folder: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(run_folder, tmp_path / name)
    (tmp_path / "bench" / "shards").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    done = minadv("report", tmp_path)
    assert done.exit_code == 2
    runs = ", ".join(str(tmp_path / name) for name in ("bench", "one", "two"))
    assert f"{tmp_path} is not a run, but holds some: give one of them, e.g. {runs}" in done.stderr


def test_report_is_rendered_again_from_the_files(run_folder: Path):
    page = run_folder / "report.html"
    before = page.read_bytes()
    page.unlink()
    done = minadv("report", run_folder)
    assert done.exit_code == 0
    assert str(page) in done.stdout.replace("\n", "")
    assert page.read_bytes() == before


# words and what they do


def test_the_terminal_shows_the_outcome(data: Path, tmp_path: Path):
    done = attack(data, tmp_path / "run", "--samples", 3, "--distance", "l1")
    assert done.exit_code == 0, done.output
    for words in (
        "3 samples of npz:",
        "attack success rate",
        "median ℓ1",
        "0.0001 logits",
        "forwards",
        "report:",
    ):
        assert words in done.stdout


@pytest.mark.filterwarnings("default:.*not classified the same way")
def test_what_is_warned_of_is_shown_and_kept(data: Path, tmp_path: Path):
    done = attack(data, tmp_path, "--model", "python:tests.test_cli:Forgetful", "--batch-size", 4)
    assert done.exit_code == 0, done.output
    said = json.loads((tmp_path / "run.json").read_text())["warnings"]
    assert said
    for text in said:
        assert "not classified the same way by a second forward pass" in text
        assert f"note: {text}\n" in done.stderr
        assert f"<li>{text}</li>" in (tmp_path / "report.html").read_text()


def test_quiet_says_nothing(data: Path, tmp_path: Path):
    done = attack(data, tmp_path / "run", "--samples", 2, "--quiet")
    assert done.exit_code == 0
    assert done.output == ""


def test_a_run_is_not_overwritten_by_accident(data: Path, tmp_path: Path):
    assert attack(data, tmp_path, "--samples", 2, "--png").exit_code == 0
    assert (tmp_path / "png").exists()
    again = attack(data, tmp_path, "--samples", 3)
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr
    assert len(pl.read_parquet(tmp_path / "results.parquet")) == 2
    assert attack(data, tmp_path, "--samples", 3, "--overwrite").exit_code == 0
    assert len(pl.read_parquet(tmp_path / "results.parquet")) == 3
    assert not (tmp_path / "png").exists()


def test_targets_leave_out_samples_of_that_class(data: Path, tmp_path: Path):
    with np.load(data) as stored:
        labels = stored["labels"]
    target = int(labels[0])
    done = attack(data, tmp_path, "--target", target, "--samples", 3)
    assert done.exit_code == 0, done.output
    rows = pl.read_parquet(tmp_path / "results.parquet")
    assert rows["sample"].to_list() == [n for n, label in enumerate(labels) if label != target][:3]
    assert set(rows.filter("success")["adversarial_prediction"]) <= {target}
    assert "of the target class left out" in done.stdout


def test_with_levels_every_success_survives(data: Path, tmp_path: Path):
    assert attack(data, tmp_path, "--levels", 256, "--png").exit_code == 0
    rows = pl.read_parquet(tmp_path / "results.parquet")
    assert rows.filter("success")["survives_8bit"].all()
    assert rows["success"].any()


def test_pngs_that_do_not_survive_are_counted(data: Path, tmp_path: Path):
    done = attack(data, tmp_path, "--png", "--confidence", "0", "--steps", 100)
    lost = pl.read_parquet(tmp_path / "results.parquet").filter(~pl.col("survives_8bit"))
    assert len(lost) > 0
    assert f"{len(lost)} of" in done.stderr
    assert "--levels 256" in done.stderr


def test_a_data_file_without_a_folder_is_looked_for(data: Path, tmp_path: Path):
    given, folder = ("--model", MODEL, "--data", f"npz:{data.name}", "--steps", 2), tmp_path / "run"
    done = minadv("attack", *given, "--out", folder)
    assert done.exit_code == 2
    assert "was not found: looked in" in done.stderr
    done = minadv("attack", *given, "--out", folder, "--files", data.parent)
    assert done.exit_code == 0, done.output
    assert pl.read_parquet(folder / "results.parquet").height == COUNT


def test_bad_input_is_one_line_and_exit_code_2(data: Path, tmp_path: Path):
    for words, expected in (
        (("--attack", "alam"), "did you mean 'alma'"),
        (("--distance", "l3"), "unknown distance 'l3'"),
        (("--distance", ""), "unknown distance ''"),
        (("--model", "zoo:mnist_k"), "mnist_kw"),
        (("-p", "penaltty=P1", "--attack", "alma"), "did you mean 'penalty'"),
        (("-p", "rho"), "KEY=VALUE"),
        (("--device", "quantum"), "--device quantum cannot be used here"),
        (("--target", "zebra"), "unknown class 'zebra'"),
        (("--target", "-1"), "got -1: those of the data are 0 to "),
        (("--data", "npz:nowhere.npz"), "nowhere.npz"),
        (("--data", "npz:"), "'npz:' is incomplete"),
    ):
        done = attack(data, tmp_path / "run", *words)
        assert done.exit_code == 2, words
        assert expected in done.stderr
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        assert "Traceback" not in done.output
        assert not (tmp_path / "run").exists()


def test_bad_choices_are_told_without_the_words_of_pydantic() -> None:
    for words in (("attack", "--precision", "fp16"), ("list", "attack")):
        done = minadv(*words)
        assert done.exit_code == 2
        assert f"'{words[-1]}' is not" in done.stderr
        assert "Value error" not in done.stderr


def test_a_target_without_a_name_in_the_data(data: Path, tmp_path: Path) -> None:
    spec = "python:tests.test_cli:wider"
    done = attack(data, tmp_path / "run", "--model", spec, "--target", 6, "--samples", 1)
    assert done.exit_code == 0, done.output
    assert "targeted at class 6\n" in done.stdout
    done = attack(data, tmp_path / "other", "--model", spec, "--target", 99)
    assert done.exit_code == 2
    assert "targets must be in [0, 7) for a model with 7 logits, got 99" in done.stderr


OWN = """
import torch
from torch import nn

from tests.test_cli import network as good


class Lookup(nn.Module):
    def forward(self, inputs):
        return {}["nokey"]


def lookup():
    return Lookup()


def building():
    raise AssertionError("no weights")


def half():
    return good().half()


def double():
    return good().double()


def distance(x, x0):
    raise IndexError("no such channel")
"""


def test_what_own_code_raises_is_one_line_with_its_place(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "own_code_of_a_test.py"
    file.write_text(OWN)
    monkeypatch.chdir(tmp_path)
    spec = f"python:{file.stem}"
    lines = {number: line.strip() for number, line in enumerate(OWN.splitlines(), 1)}
    for words, expected, code, at in (
        (("--model", f"{spec}:lookup"), "lookup raised KeyError: 'nokey'", 1, 'return {}["nokey"]'),
        (("--model", f"{spec}:building"), "building raised AssertionError: no weights", 1, "raise AssertionError"),
        (("--distance", f"{spec}:distance"), "distance raised IndexError: no such channel", 1, "raise IndexError"),
        (("--model", f"{spec}:half"), "the model is torch.float16, and does not cast them: cast inside", 2, ""),
        (("--model", f"{spec}:double"), "model.to(torch.float32)", 2, ""),
        (("--model", "zoo:mnist_kw@random"), "it was given torch.float32 images of (3, 16, 16)", 2, ""),
    ):
        done = attack(data, tmp_path / "run", "--quiet", *words)
        assert done.exit_code == code, done.output
        assert expected in done.stderr
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / "run").exists()
        if at:
            (place,) = (number for number, line in lines.items() if line.startswith(at))
            assert f"at {file}:{place}" in done.stderr
    done = minadv("diagnose", f"{spec}:lookup", f"npz:{data}")
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "lookup raised KeyError: 'nokey'" in done.stderr
    done = attack(data, tmp_path / "run", "--quiet", "--debug", "--model", f"{spec}:lookup")
    assert isinstance(done.exception, OwnCodeError)
    assert isinstance(done.exception.__cause__, KeyError)


def test_no_steps_are_refused_by_their_own_name(data: Path, tmp_path: Path):
    for word in ("--steps", "--budget"):
        refused = minadv("attack", "--model", MODEL, "--data", f"npz:{data}", word, 0, "--out", tmp_path)
        assert refused.exit_code == 2
        assert f"'{word}'" in refused.stderr


def test_debug_lets_the_error_through(data: Path, tmp_path: Path):
    done = attack(data, tmp_path, "--attack", "alam", "--debug")
    assert isinstance(done.exception, ValueError)


def test_interrupting_exits_with_130(capsys: pytest.CaptureFixture[str]):
    def interrupt() -> None:
        with one_line_errors(debug=False):
            raise KeyboardInterrupt

    with pytest.raises(RuntimeError) as stopped:
        interrupt()
    assert stopped.value.exit_code == 130  # pyright: ignore[reportAttributeAccessIssue]
    assert "interrupted" in capsys.readouterr().err


def test_penalties_are_plotted(tmp_path: Path):
    done = minadv("plot", "penalties", "--out", tmp_path / "four.svg")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "four.svg").stat().st_size > 5000
    refused = minadv("plot", "penalties", "--out", tmp_path / "four.txt")
    assert refused.exit_code == 2
    assert "choose one of" in refused.stderr


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("attacks", attacks.names()),
        ("distances", (*distances.names(), "python:package.module:name")),
        ("models", ("demo", "zoo:cifar_resnet4b", "python:package.module:factory")),
        ("data", ("demo", "npz:PATH", "torchvision:cifar10")),
        ("suites", ("demo", "paper/mnist", "paper/cifar10", "paper/imagenet", "public/mnist", "public/cifar10")),
    ],
)
def test_list(kind: str, words: tuple[str, ...]):
    done = minadv("list", kind)
    assert done.exit_code == 0
    for word in words:
        assert word in done.stdout


def test_list_without_a_kind_is_all_of_them():
    everything = minadv("list")
    assert everything.exit_code == 0
    rest = everything.stdout
    for kind in ("attacks", "distances", "models", "data", "suites"):
        title, alone = kind.capitalize(), minadv("list", kind)
        assert alone.exit_code == 0
        before, found, rest = rest.partition(f"{title}\n{alone.stdout}\n")
        assert found
        assert before == ""
    assert rest == ""


def test_distances_are_described_in_full():
    assert tuple(DISTANCES) == distances.names()


@pytest.mark.parametrize(
    "words",
    [["--help"], ["list"], ["list", "models"], ["list", "data"], ["list", "attacks"], ["list", "distances"]],
)
def test_nothing_heavy_is_imported_for_help_and_lists(words: list[str]):
    heavy = {
        "torch",
        "torchvision",
        "polars",
        "matplotlib",
        "plotly",
        "transformers",
        "numpy",
        "skimage",
        "sklearn",
    }
    program = f"""
import sys
from minadv.cli import app
try:
    app({words!r})
except SystemExit as end:
    assert not end.code, end.code
found = {heavy!r} & set(sys.modules)
assert not found, found
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_command_line_from_outside(data: Path, tmp_path: Path):
    program = "from minadv.cli import main; main()"
    words = [
        "attack",
        "--model",
        MODEL,
        "--data",
        f"npz:{data}",
        "--samples",
        "2",
        "--attack",
        "alma",
        "--steps",
        "5",
        "-p",
        "penalty=PHR",
    ]
    done = subprocess.run(
        [sys.executable, "-c", program, *words, "--out", str(tmp_path / "run"), "--threads", "1"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONWARNINGS": "error"},
    )
    assert done.returncode == 0, done.stderr
    asked = json.loads((tmp_path / "run" / "run.json").read_text())
    assert asked["settings"]["penalty"] == "PHR"
    assert asked["environment"]["threads"] == 1
    assert asked["command"][:2] == ["minadv", "attack"]


@pytest.mark.parametrize("taken", ["file", "file/below"])
def test_a_folder_that_cannot_be_written_is_said_before_the_attack(data: Path, tmp_path: Path, taken: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    done = attack(data, tmp_path / taken)
    assert done.exit_code == 2
    assert "cannot write to" in done.output
    assert "choose another --out" in done.output.replace("\n", " ")
    assert "attacking" not in done.output


def test_the_package_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "minadv", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"minadv {__version__}\n"


def test_progress_bars_are_on_stderr(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as if there were a terminal
    for done in (attack(data, tmp_path / "run"), minadv("diagnose", MODEL, f"npz:{data}", "--no-attack")):
        assert done.exit_code == 0, done.output
        assert "━" in done.stderr
        assert "━" not in done.stdout


def test_an_attack_is_listed_with_every_hyper_parameter() -> None:
    for name in attacks.names():
        listed = parameters.of(attacks.find(name))
        assert {each.name for each in listed} == {field.name for field in fields(attacks.find(name))}
        assert all(each.values and each.default and each.about for each in listed), listed
    done = minadv("list", "attacks", "minimal_apgd")
    assert done.exit_code == 0, done.output
    assert "--steps " in done.stdout
    assert re.search(r"--set target_loss= +label +label \| target +of APGD\^T", done.stdout)
    assert re.search(r"--set n_targets= +9 +int \| none", done.stdout)
    for words, expected in (
        (("attacks", "fmm"), "did you mean 'fmn'"),
        (("models", "demo"), "names are of attacks, got 'demo' of models"),
    ):
        refused = minadv("list", *words)
        assert refused.exit_code == 2
        assert expected in refused.stderr


LAZY = """
import torch

class Lazy(torch.nn.Module):
    def forward(self, x):
        from helps_later import double
        return double(x.flatten(1)[:, :4])

def lazy():
    return Lazy().eval()
"""


def test_own_code_imports_from_the_working_directory_while_it_runs(data: Path, tmp_path: Path) -> None:
    (tmp_path / "imports_later.py").write_text(LAZY)
    (tmp_path / "helps_later.py").write_text("def double(x):\n    return 2 * x\n")
    words = [
        "attack",
        "--model",
        "python:imports_later:lazy",
        "--data",
        f"npz:{data}",
        "--samples",
        "4",
        "--steps",
        "3",
    ]
    done = subprocess.run(
        [sys.executable, "-P", "-c", "from minadv.cli import main; main()", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr


def test_it_runs_where_the_working_directory_is_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    program = f"import os; os.rmdir({str(gone)!r}); from minadv.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, "--version"], capture_output=True, text=True, check=False, cwd=gone
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
def test_streams_that_lack_letters_show_others_instead(encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "minadv", "list", "distances"],
        capture_output=True,
        encoding=encoding,
        check=False,
        env=os.environ | {"PYTHONIOENCODING": encoding},
    )
    assert done.returncode == 0, done.stderr
    assert "ciede2000" in done.stdout


def test_diagnose_says_at_once_that_it_cannot_write(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for path, words in ((tmp_path, "got the folder"), (tmp_path / "file" / "x.json", "choose another --json")):
        done = minadv("diagnose", MODEL, f"npz:{data}", "--no-attack", "--json", path)
        assert done.exit_code == 2
        assert words in done.output.replace("\n", " ")
    made = tmp_path / "new" / "folder" / "x.json"
    assert minadv("diagnose", MODEL, f"npz:{data}", "--no-attack", "--json", made).exit_code == 0
    assert made.is_file()


@pytest.mark.filterwarnings("default:the first 24 samples")
def test_samples_of_one_class_alone_are_told(tmp_path: Path) -> None:
    images, labels = np.zeros((60, 8, 8, 3), np.uint8) + 99, np.repeat(np.arange(3), 20)
    np.savez(tmp_path / "sorted.npz", images=images, labels=labels + (labels == 0))
    words = "attack", "--model", MODEL, "--data", f"npz:{tmp_path / 'sorted.npz'}", "--steps", 1
    assert "are all of class 1, one of 3" in minadv(*words, "--samples", 24).stderr
    assert "are all of class" not in minadv(*words).stderr
    np.savez(tmp_path / "sorted.npz", images=images, labels=np.ones(60, int))  # there is no other class
    assert "are all of class" not in minadv(*words, "--samples", 24).stderr


def test_a_target_is_named_with_its_label(data: Path, tmp_path: Path) -> None:
    assert "targeted at class 2 (label 2)" in attack(data, tmp_path / "run", "--target", 2).output.replace(
        "\n", " "
    )

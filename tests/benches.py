"""Tiny benchmarks for tests: a model and images of our own, suites as TOML, and `minadv bench` run on them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from typer.testing import CliRunner, Result

from minadv import cli
from tests.networks import convolutional, images, predictions
from tests.shared import ROOT

SIDE, CLASSES = 16, 5
MODEL = "python:tests.benches:network"
COMMON = ("--no-report", "--no-diagnosis")

# Switches outside the model's code, which is part of its identity.
BROKEN, SLOW = "MINADV_TEST_BROKEN", "MINADV_TEST_SLOW"
MARK = 0.25  # value of the first pixel of the image that breaks the model; 1/4 is no multiple of 1/255


class Switched(nn.Module):
    """A network that waits, or raises for one image, when the environment says so."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.network = convolutional(channels=3, classes=CLASSES, seed=seed)

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(float(os.environ.get(SLOW, "0")))
        if os.environ.get(BROKEN) and bool((x[:, 0, 0, 0] == MARK).any()):
            raise ArithmeticError("this image is too much for me")
        return self.network(x)


def network() -> nn.Module:
    return Switched(seed=0)


def another() -> nn.Module:
    return Switched(seed=1)


def write_images(path: Path, count: int = 12, wrong: Sequence[int] = (1,), mark: int | None = None) -> Path:
    """Random images with the network's own answers as labels, but for the wrong ones."""
    stored = (images(count, side=SIDE) * 255).round() / 255
    if mark is not None:
        stored[mark, 0, 0, 0] = MARK
    labels = predictions(network(), stored)
    for number in wrong:
        labels[number] = (labels[number] + 1) % CLASSES
    classes = np.array([f"class {label}" for label in range(CLASSES)])
    np.savez(path, images=stored.permute(0, 2, 3, 1).numpy(), labels=labels.numpy(), classes=classes)
    return path


def toml(
    data: Path | str, /, *attacks: Mapping[str, Any], models: Sequence[Mapping[str, Any]] = (), **top: Any
) -> str:
    """Write a suite: one model of our own and ALMA on ℓ2 in few steps, unless told otherwise."""
    found = attacks or ({"attack": "alma", "distances": ["l2"], "steps": [8]},)
    head = {"title": "a test", "data": f"npz:{data}" if isinstance(data, Path) else data, "shard_size": 4} | top
    lines = [f"{key} = {_value(value)}" for key, value in head.items()]
    for kind, entries in (("models", models or ({"spec": MODEL, "name": "net"},)), ("attacks", found)):
        for entry in entries:
            lines += [f"[[{kind}]]", *(f"{key} = {_value(value)}" for key, value in entry.items())]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def write_suite(folder: Path, *args: Any, name: str = "suite.toml", **top: Any) -> Path:
    path = folder / name
    path.write_text(toml(*args, **top), encoding="utf-8")
    return path


def bench(suite: Path | str, out: Path, *words: object) -> Result:
    """`minadv bench` in this process."""
    return minadv("bench", suite, "--out", out, *COMMON, *words)


def minadv(*words: object) -> Result:
    return CliRunner().invoke(cli.app, [str(word) for word in words])


def start(suite: Path | str, out: Path, *words: object, **environment: str) -> subprocess.Popen[str]:
    """`minadv bench` as a process of its own."""
    command = ("bench", suite, "--out", out, "--threads", 1, *COMMON, *words)
    return subprocess.Popen(
        [sys.executable, "-c", "from minadv.cli import main; main()", *map(str, command)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str], seconds: float = 60) -> tuple[int, str]:
    """Exit code and output; a process that takes too long is killed, and the test fails."""
    try:
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return process.returncode, said


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 60) -> None:
    """Wait for what a process does; fail when it ends or takes too long."""
    end = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            process.send_signal(signal.SIGKILL)
            raise AssertionError(f"it did not happen; the process said {process.communicate()[0]}")
        time.sleep(0.005)


def shards(out: Path) -> list[Path]:
    """Folders of the shards in their places."""
    return sorted(path for path in (out / "shards").glob("*") if not path.name.startswith("."))


def stamps(out: Path) -> dict[str, tuple[int, int]]:
    """What changes when a shard is written again: inode and time of its record."""
    found = {}
    for path in shards(out):
        if (path / "shard.json").exists():
            status = (path / "shard.json").stat()
            found[path.name] = (status.st_ino, status.st_mtime_ns)
    return found


def leftovers(out: Path) -> list[str]:
    """Half-written files and folders, and locks of shards."""
    found = [path for path in out.rglob("*") if path.name.startswith(".") or path.suffix == ".lock"]
    return [str(path.relative_to(out)) for path in found if path.name != "plan.lock"]


def rows(out: Path, *without: str) -> pl.DataFrame:
    """Every row of the folder, read by Parquet alone, in order, without what differs from run to run."""
    found = pl.concat([pl.read_parquet(path / "rows.parquet") for path in shards(out)])
    return found.sort("model", "attack", "cell", "sample").drop("seconds", *without)


def tensors(out: Path) -> dict[tuple[str, int], tuple[Tensor, Tensor]]:
    """(cell, sample) → original and adversarial."""
    found: dict[tuple[str, int], tuple[Tensor, Tensor]] = {}
    for path in shards(out):
        cell = pl.read_parquet(path / "rows.parquet")["cell"][0]
        stored = load_file(path / "adversarials.safetensors")
        for number, original, adversarial in zip(
            stored["samples"].tolist(), stored["originals"], stored["adversarials"], strict=True
        ):
            found[cell, number] = (original, adversarial)
    return found


def bits(frame: pl.DataFrame) -> list[list[object]]:
    """Columns as what they are to the last bit: NaN equals itself, 0 is not −0."""
    return [
        [None if value is None else float(value).hex() for value in column]
        if column.dtype == pl.Float64
        else column.to_list()
        for column in frame.sort("cell", "sample").iter_columns()
    ]


def same_tensors(first: Path, second: Path) -> bool:
    one, two = tensors(first), tensors(second)
    return one.keys() == two.keys() and all(
        torch.equal(a, b) for key in one for a, b in zip(one[key], two[key], strict=True)
    )

"""The folder of one finished run: what was asked, what was found, and the tensors themselves.

    run.json                     exact configuration and environment
    results.parquet              one row per sample
    adversarials.safetensors     adversarials, originals, labels and sample numbers
    trace.safetensors            best distance against propagations, on request
    png/                         adversarials as 8-bit images, on request
    unfinished/                  batches that are finished, until all are (`unfinished.py`)
    run.lock                     held by the process that computes the run, and gone with it

Every file is written under another name and then moved into place, `run.json` last: a folder that has it is
complete.
"""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl
from polars.exceptions import PolarsError
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from torch import Tensor

from minadv.claims import Claim
from minadv.files import damaged, in_place, load, prepare, save
from minadv.result import Trace
from minadv.unfinished import kept

CONFIGURATION, RESULTS, TENSORS, TRACE = (
    "run.json",
    "results.parquet",
    "adversarials.safetensors",
    "trace.safetensors",
)
LOCK = "run.lock"
COLUMNS = {
    "sample": pl.Int64,
    "label": pl.Int64,
    "clean_prediction": pl.Int64,
    "adversarial_prediction": pl.Int64,
    "status": pl.String,
    "success": pl.Boolean,
    "distance": pl.Float64,
    "forwards": pl.Int64,
    "backwards": pl.Int64,
    "margin": pl.Float64,
    "survives_8bit": pl.Boolean,
}


class Environment(BaseModel):
    """Where a run was computed."""

    model_config = ConfigDict(frozen=True)

    python: str
    torch: str
    platform: str
    cpus: int
    threads: int
    accelerator: str | None = None
    commit: str | None = None


class Configuration(BaseModel):
    """Everything that is needed to repeat a run.

    Attributes:
        format: version of this layout.
        settings: every hyper-parameter of the attack.
        distance: label of the minimised distance.
        target: class to reach, None when untargeted.
        classes: a name per label.
        warnings: what Python warned of meanwhile, each once.
    """

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    version: str
    model: str
    data: str
    attack: str
    settings: dict[str, JsonValue]
    distance: str
    confidence: float
    target: int | None
    classes: tuple[str, ...]
    dtype: str
    device: str
    batch_size: int | None
    command: tuple[str, ...]
    started: str
    seconds: float
    warnings: tuple[str, ...] = ()
    environment: Environment


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run, as it is stored: `results` has a row for each row of the tensors."""

    configuration: Configuration
    results: pl.DataFrame
    adversarials: Tensor
    originals: Tensor
    trace: Trace | None = None


def exists(folder: Path) -> bool:
    """Whether the folder holds a run, finished or not."""
    return any((folder / name).exists() for name in (CONFIGURATION, RESULTS, TENSORS))


def check_free(folder: Path) -> None:
    """Raise ValueError where a folder holds a run, finished or interrupted."""
    if exists(folder) or kept(folder):
        how = "a run" if exists(folder) else "an interrupted run"
        raise ValueError(f"{folder} holds {how} of minadv attack: choose another folder")


@contextmanager
def alone(folder: Path) -> Generator[None]:
    """Hold a folder that is there, so that meanwhile no other process computes a run for it.

    Raises:
        ValueError: another process does.
    """
    claim = Claim.of(folder / LOCK)
    if claim is None:
        raise ValueError(f"another minadv attack is writing to {folder}: wait for it, or choose another --out")
    try:
        yield
    finally:
        claim.release()


@contextmanager
def prepared(folder: Path) -> Generator[None]:
    """Make a folder for a run: see `files.prepare`. Where an error leaves it empty, it is removed again."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    prepare(folder, "--out")
    try:
        yield
    except BaseException:
        with suppress(OSError):  # something is in it
            for path in made:
                path.rmdir()
        raise


def write(folder: Path, run: Run) -> None:
    """Store a run; one that was there before is replaced."""
    prepare(folder, "--out")
    for stale in (CONFIGURATION, TRACE):
        (folder / stale).unlink(missing_ok=True)
    with in_place(folder / RESULTS) as path:
        run.results.write_parquet(path)
    tensors = {
        "adversarials": run.adversarials,
        "originals": run.originals,
        "labels": run.results["label"].to_torch(),
        "samples": run.results["sample"].to_torch(),
    }
    save(folder / TENSORS, tensors)
    if run.trace is not None:
        save(folder / TRACE, {"propagations": run.trace.propagations, "distances": run.trace.distances})
    with in_place(folder / CONFIGURATION) as path:
        path.write_text(run.configuration.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read(folder: Path) -> Run:
    """Read a run.

    Raises:
        FileNotFoundError: for a folder or file that is not there.
        ValueError: for a file that is damaged, or files that do not belong together.
    """
    configuration = _configuration(_existing(folder, CONFIGURATION))
    results = _results(_existing(folder, RESULTS))
    tensors = load(_existing(folder, TENSORS), ("adversarials", "originals", "labels", "samples"))
    adversarials, originals = tensors["adversarials"], tensors["originals"]
    rows = [results["label"].to_list(), results["sample"].to_list()]
    theirs = [tensors["labels"].tolist(), tensors["samples"].tolist()]
    if rows != theirs or len(results) != len(adversarials) or adversarials.shape != originals.shape:
        raise ValueError(
            f"{folder} mixes files of different runs: {len(results)} rows in {RESULTS}, in {TENSORS} "
            f"adversarials {tuple(adversarials.shape)} and originals {tuple(originals.shape)}; "
            "run the attack again"
        )
    trace = None
    if (folder / TRACE).exists():
        stored = load(folder / TRACE, ("propagations", "distances"))
        trace = Trace(stored["propagations"], stored["distances"])
    return Run(configuration, results, adversarials, originals, trace)


def _existing(folder: Path, name: str) -> Path:
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}: give the --out of a minadv attack or minadv bench")
    if not (folder / name).is_file():
        if samples := kept(folder):
            raise FileNotFoundError(
                f"{folder} is not a finished run: it was interrupted, {samples} samples are kept; the same "
                "command goes on after them"
            )
        raise FileNotFoundError(
            f"{folder} is not a finished run, it has no {name}: that of minadv attack holds {CONFIGURATION}, "
            f"{RESULTS} and {TENSORS}; give the --out of a minadv attack or minadv bench"
        )
    return folder / name


def _configuration(path: Path) -> Configuration:
    try:
        return Configuration.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        raise damaged(path, ".".join(map(str, first["loc"])) + " " + first["msg"]) from error


def _results(path: Path) -> pl.DataFrame:
    try:
        results = pl.read_parquet(path)
    except PolarsError as error:
        raise damaged(path, str(error).partition("\n")[0]) from error
    wrong = [name for name, dtype in COLUMNS.items() if results.schema.get(name) != dtype]
    if wrong or results.is_empty():
        raise damaged(path, f"no rows, or columns missing or of another type: {', '.join(wrong) or 'none'}")
    return results

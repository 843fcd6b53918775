"""What a benchmark folder holds, as files: cells, per-sample rows, failures and the plan. See docs/benchmark.md.

A *cell* is one attack on one model. Its samples are computed in *shards*; each finished shard is an immutable
folder of rows (Parquet) and adversarials (safetensors).
"""

import hashlib
import json
from typing import Annotated, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, JsonValue, StringConstraints

from minadv.bench.suite import PaperData, Population
from minadv.diagnosis.finding import Finding
from minadv.hashes import LENGTH
from minadv.run_folder import COLUMNS, Environment

FORMAT = 1
# What files and folders are called: as `minadv.hashes.digest` writes it, so that no file leads out of its folder.
Name = Annotated[str, StringConstraints(pattern=f"^[0-9a-f]{{{LENGTH}}}$")]
Sample = tuple[int, str, int]  # number in the data set, hash of the image, label
ERROR = "error"  # status of the samples of a shard that failed; the others are those of `minadv.result.Status`

# Distances that are measured whatever was minimised; null where one is not defined for the samples.
MEASURED = ("l0", "l1", "l2", "linf", "ssim", "ciede2000", "ciede2000_paper", "lpips", "lpips_paper")

ROWS: dict[str, type[pl.DataType]] = {
    "cell": pl.String,
    "shard": pl.String,
    "data": pl.String,
    "model": pl.String,
    "attack": pl.String,
    "minimises": pl.String,
    "content": pl.String,
    **COLUMNS,
    **dict.fromkeys(MEASURED, pl.Float64),
    "seconds": pl.Float64,
}


class Record(BaseModel):
    """Immutable, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Cell(Record):
    """One attack on one model.

    Attributes:
        id: hash of everything that decides a sample's numbers: the model's weights, the attack's class,
            hyper-parameters and code, the data set and the goal. Names are not part of it.
        model, attack: what tables call them, e.g. "RN-50" and "ALMA ℓ2 100".
        model_spec, model_hash: as given to `minadv.models.load`, and the content's SHA-256.
        family: the attack's name in the registry, e.g. "alma".
        settings: every hyper-parameter.
        minimises: label of the minimised distance, e.g. "l2" or "ciede2000[paper]".
        column: the column of `ROWS` by which this cell is compared with others: one of `MEASURED`, or
            "distance" for a distance that is not among them.
        goal: "untargeted" or "target N".
        data: data spec.
        data_name: what tables and figures call it; empty for the spec.
        radii: at which tables say how robust the model is, as the suite writes them.
        classes: a name per label.
        paper: the data set of the paper whose tables this cell belongs to, or None.
        population: whether statistics are over all samples or over those classified correctly.
    """

    id: Name
    model: str
    attack: str
    model_spec: str
    model_hash: str
    family: str
    settings: dict[str, JsonValue]
    minimises: str
    column: str
    goal: str
    data: str
    classes: tuple[str, ...]
    paper: PaperData | None
    population: Population
    data_name: str = ""
    radii: tuple[str, ...] = ()

    @property
    def data_title(self) -> str:
        """What tables and figures call the data."""
        return self.data_name or self.data


class Planned(Record):
    """A cell that was asked for: its samples, or the reason why it cannot be computed here.

    Attributes:
        cell: None when the model, the data or the distance is not available.
        samples: numbers of the samples in the data set.
        unavailable: why there is no cell.
        data: data spec, where there is no cell to say so.
        optional: whether being unavailable is no failure.
    """

    model: str
    attack: str
    cell: Cell | None
    samples: tuple[int, ...]
    unavailable: str | None = None
    data: str = ""
    optional: bool = False

    @property
    def name(self) -> tuple[str, str, str]:
        """What it is in the tables, whatever its settings: data, model, attack."""
        return self.data if self.cell is None else self.cell.data, self.model, self.attack


class Plan(Record):
    """What was asked of a folder, over all calls: `plan.json`. Its checksum is empty in older ones."""

    format: Literal[1] = FORMAT
    title: str
    planned: tuple[Planned, ...]
    checksum: str = ""

    def sealed(self) -> "Plan":
        """Return it with its checksum."""
        return self.model_copy(update={"checksum": _digest(self)})

    def intact(self) -> bool:
        """Whether the checksum is that of the content."""
        return self.checksum in ("", _digest(self))


class Failure(Record):
    """A shard that raised: `failures/SHARD.json`. It is tried again by the next run."""

    format: Literal[1] = FORMAT
    shard: Name
    cell: Cell
    samples: tuple[int, ...]
    error: str
    traceback: str
    when: str


class File(Record):
    """A file of a shard: its SHA-256 and size."""

    sha256: str
    size: int


class ShardRecord(Record):
    """`shard.json`.

    Attributes:
        cell: its cell's id.
        samples: (number in the data set, hash of the image, label) of each.
        checksum: SHA-256 of everything else in it.
    """

    format: Literal[1] = FORMAT
    id: Name
    cell: Name
    samples: tuple[Sample, ...]
    files: dict[str, File]
    seconds: float
    started: str
    warnings: tuple[str, ...]
    environment: Environment
    checksum: str = ""

    def sealed(self) -> "ShardRecord":
        """Return it with its checksum."""
        return self.model_copy(update={"checksum": _digest(self)})

    def intact(self) -> bool:
        """Whether the checksum is that of the content."""
        return self.checksum == _digest(self)


class Diagnosis(Record):
    """`diagnoses/NAME.json`; the name is a hash of the models, the samples, the data's name and the checks' code.

    Attributes:
        model: what tables call it.
        data: data spec; empty in older ones.
        when: it was last asked for, so that of several on the same data and model the newest counts.
        samples: how many samples were looked at.
        checks: names of the checks that ran.
    """

    format: Literal[1] = FORMAT
    name: Name
    model: str
    model_hash: str
    samples: int
    checks: tuple[str, ...]
    findings: tuple[Finding, ...]
    data: str = ""
    when: str = ""


def _digest(record: Record) -> str:
    """SHA-256 of everything in a record but its checksum, as it is once it was stored."""
    content = json.loads(record.model_dump_json(exclude={"checksum"}))
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

"""Suites: what to run, as a TOML file. Importing this does not import torch."""

import math
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from minadv import errors
from minadv.bench import problems
from minadv.numerals import number as radius

PACKAGED = "minadv.bench"
Count = Annotated[int, Field(ge=1)]
Index = Annotated[int, Field(ge=0)]
Population = Literal["all", "correct"]
PaperData = Literal["mnist", "cifar10", "imagenet"]
Text = Annotated[str, Field(min_length=1)]
Compat = Literal["sample", "batch"]


# one value may stand without its brackets
def _one_or_more(value: object) -> object:
    return value if isinstance(value, tuple) else (value,)  # pyright: ignore[reportUnknownVariableType]


OneOrMore = BeforeValidator(_one_or_more)
Texts = Annotated[tuple[Text, ...], OneOrMore]
Counts = Annotated[tuple[Count, ...], OneOrMore]


def _radius(value: object) -> str:
    """Keep a radius as it is written: "8/255" says more than 0.0313725."""
    text = f"{value:.12g}" if isinstance(value, int | float) and not isinstance(value, bool) else value
    try:
        positive = isinstance(text, str) and 0 < radius(text) < math.inf
    except ValueError:
        positive = False
    if not isinstance(text, str) or not positive:
        raise ValueError('needs numbers > 0, or fractions such as "8/255"')
    return text


Radii = Annotated[tuple[Annotated[str, BeforeValidator(_radius)], ...], OneOrMore]
TableDistance = Literal["l1", "l2", "ssim", "ciede2000", "lpips"]


class Part(BaseModel):
    """Immutable; a key that is not known is an error, and so is a value of another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ModelEntry(Part):
    """`[[models]]`: a spec of `minadv.models.load`, and what tables call it (default: the spec)."""

    spec: Text
    name: Text | None = None
    optional: bool = False

    @property
    def label(self) -> str:
        """What tables call it."""
        return self.name or self.spec.removeprefix("zoo:")


class AttackEntry(Part):
    """`[[attacks]]`: one attack with every combination of the given distances, steps and budgets.

    Attributes:
        attack: its name in `minadv list attacks`.
        distances: what to minimise; default: the attack's usual one.
        steps: lengths of the search; default: the attack's own.
        budgets: most propagations per sample, forwards plus backwards (of auto: of each); default: the suite's.
        paper: start from the settings of the paper's tables.
        label: what tables call it; {distance}, {steps} and {budget} are filled in.
        options: any other hyper-parameter.
        optional: whether it may be left out without an error where something it needs is not there.
    """

    attack: Text
    distances: Texts = ()
    steps: Counts = ()
    budgets: Counts = ()
    paper: bool = False
    label: Text | None = None
    options: dict[str, bool | int | float | str] = {}
    optional: bool = False


class TableEntry(Part):
    """`[[tables]]`: every attack of the paper's table for a distance, with the paper's settings.

    Attributes:
        distance: of the table.
        like: data set of the paper whose settings are used (radii of APGD^T, FAB or FAB^T); default: `paper`.
        compat: whether C&W and EAD give up runs for each sample alone (results do not depend on the shard), or
            for the whole shard, as the published codes do for a batch.
        optional: as for attacks.
    """

    distance: TableDistance
    like: PaperData | None = None
    compat: Compat = "sample"
    optional: bool = False


class Suite(Part):
    """A suite file.

    Attributes:
        title: of tables and report.
        about: a sentence on it.
        data: a spec of `minadv.data.load`. A file that is named without a folder is looked for as weights are.
        data_name: what tables and figures call it; default: the spec.
        classes: a name per label, where the data set has none.
        samples: the first N samples, or [first, end); default: all.
        population: "all": the samples as they come, those adversarial from the start count with distance 0;
            "correct": so many samples that the model classifies correctly.
        target: a class to reach, by number or name, instead of leaving the label; its own samples are left out.
        seed: of every attack.
        budgets: most propagations per sample, forwards plus backwards (of auto: of each); each makes a row.
        radii: by distance, as attacks and tables write it: where the tables say how robust a model is, e.g.
            {linf = "8/255", l2 = [0.5, 1]}.
        shard_size: samples per shard, the unit that is stored and that an interruption can cost.
        trace: keep the best distance against propagations.
        paper: data set of the paper whose numbers are laid beside.
        models, attacks, tables: what is combined.
    """

    title: Text
    about: str = ""
    data: Text
    data_name: Text | None = None
    classes: tuple[Text, ...] = ()
    samples: Count | tuple[Index, Count] | None = None
    population: Population = "all"
    target: Index | Text | None = None
    seed: int = 42
    budgets: Counts = ()
    radii: dict[str, Radii] = {}
    shard_size: Count = 50
    trace: bool = False
    paper: PaperData | None = None
    models: Annotated[tuple[ModelEntry, ...], Field(min_length=1)]
    attacks: tuple[AttackEntry, ...] = ()
    tables: tuple[TableEntry, ...] = ()

    @field_validator("samples")
    @classmethod
    def _in_order(cls, samples: int | tuple[int, int] | None) -> int | tuple[int, int] | None:
        if isinstance(samples, tuple) and samples[0] >= samples[1]:
            raise ValueError("a range is [first, end) with first < end")
        return samples

    @model_validator(mode="after")
    def _fits_together(self) -> "Suite":
        if not self.attacks and not self.tables:
            raise ValueError("it has neither [[attacks]] nor [[tables]], so there is nothing to run")
        if self.paper is None and any(entry.like is None for entry in self.tables):
            raise ValueError(
                '[[tables]] needs to know whose settings: add like = "mnist", "cifar10" or "imagenet"'
            )
        labels = [entry.label for entry in self.models]
        twice = next((label for label in labels if labels.count(label) > 1), None)
        if twice is not None:
            raise ValueError(f"two models are called {twice!r}: give each a name of its own")
        return self


def names() -> tuple[str, ...]:
    """List the suites that come with the package."""
    return tuple(_packaged())


def load(suite: str | Path) -> Suite:
    """Read a suite by its name, or from a file.

    Raises:
        ValueError: an unknown name, or a file that is not a suite; the message names the file and key, what it
            got and what is allowed.
        FileNotFoundError: there is no such file.
    """
    packaged = _packaged()
    if str(suite) in packaged:
        return parse(packaged[str(suite)], f"suite {suite}")
    path = Path(suite).expanduser()
    if path.suffix != ".toml" and not path.exists():
        raise errors.unknown("suite (or write the path of a .toml file)", str(suite), packaged)
    if not path.is_file():
        raise FileNotFoundError(f"there is no suite file {path}")
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8, as TOML files are ({error})") from error


def parse(text: str, source: str) -> Suite:
    """Read a suite from TOML.

    Raises:
        ValueError: naming `source`, the key, what it got and what is allowed.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{source} is no valid TOML: {error}") from error
    try:
        return Suite.model_validate(_tuples(content))
    except ValidationError as error:
        found = problems.of(error, Suite, {"models": ModelEntry, "attacks": AttackEntry, "tables": TableEntry})
        raise ValueError(f"{source}: {'; '.join(found[:5])}") from error


def _packaged() -> dict[str, str]:
    root = files(PACKAGED).joinpath("suites")
    folders = {"": root} | {f"{part.name}/": part for part in root.iterdir() if part.is_dir()}
    found = {
        prefix + file.name.removesuffix(".toml"): file.read_text(encoding="utf-8")
        for prefix, folder in folders.items()
        for file in folder.iterdir()
        if file.name.endswith(".toml")
    }
    return dict(sorted(found.items()))


def _tuples(value: Any) -> Any:
    """Arrays as tuples: strict validation takes no list for one."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
    return tuple(map(_tuples, value)) if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]

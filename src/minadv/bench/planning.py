"""From a suite to shards: which samples of which cell, and what it is that decides their numbers."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

import minadv
from minadv import settings
from minadv.attacks.base import Attack
from minadv.bench import fingerprints, places, rows
from minadv.bench.entries import Wanted, wanted
from minadv.bench.records import Cell, Plan, Planned
from minadv.bench.suite import ModelEntry, Population, Suite
from minadv.data import Data
from minadv.distances import resolve
from minadv.guard import guarded

T = TypeVar("T")
BATCH = 256
Sample = tuple[int, str, int]  # number in the data set, hash of the image, label


@dataclass(frozen=True)
class Options:
    """What the command line adds to a suite.

    Attributes:
        only: words; a row is kept when all words of one of them are in its model's and attack's names.
        limit: most samples.
        files: folders in which weights and data are looked for first.
        population, shard_size: in place of the suite's.
    """

    only: tuple[str, ...] = ()
    limit: int | None = None
    files: tuple[Path, ...] = ()
    population: Population | None = None
    shard_size: int | None = None


@dataclass(frozen=True)
class Job:
    """A cell that can be computed here: the attack, where model and data are, and the samples."""

    cell: Cell
    attack: Attack
    model_spec: str
    data_spec: str
    target: int | None
    trace: bool
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class Shard:
    """The unit of work. Its id is a hash of everything that decides its numbers."""

    id: str
    job: Job
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class Planning:
    """A suite, looked at: what was asked, and what can be computed."""

    plan: Plan
    jobs: tuple[Job, ...]
    shard_size: int


def plan(suite: Suite, options: Options, say: Callable[[str], None] = lambda _: None) -> Planning:
    """Load data and models once, and say what is to be computed.

    Args:
        suite: what was asked for.
        options: of the command line.
        say: told what is being looked at.

    Raises:
        ValueError, TypeError: for settings that do not fit, or nothing left to compute.
        OSError, RuntimeError, ImportError: when the data cannot be had. A model or a distance that cannot be
            had is part of the plan.
    """
    population = options.population or suite.population
    all_rows = wanted(suite)
    pairs = [
        (model, [row for row in all_rows if matches(model.label, row.label, options.only)])
        for model in suite.models
    ]
    if not any(found for _, found in pairs):
        raise ValueError(f"--only {' '.join(options.only)} leaves nothing: {_names(suite, all_rows)}")
    say(f"data {suite.data}")
    data_spec = places.data_spec(suite.data, options.files)
    data = minadv.data.load(data_spec)
    chosen = _range(suite, len(data))
    planned: list[Planned] = []
    jobs: list[Job] = []
    contents: dict[int, str] = {}
    for entry, found in pairs:
        if not found:
            continue
        say(f"model {entry.label}")
        model_spec = places.model_spec(entry.spec, options.files)
        model = _or_reason(lambda spec=model_spec: minadv.models.load(spec))
        if isinstance(model, str):
            planned += [_missing(entry, row, suite, model) for row in found]
            continue
        model_hash = fingerprints.of_module(model)  # before it is used: a forward pass may change it
        numbers = _samples(data, chosen, suite, model if population == "correct" else None, options.limit)
        images, labels = data.batch(numbers)
        contents |= dict(zip(numbers, fingerprints.of_samples(images), strict=True))
        samples = tuple(
            (number, contents[number], int(label)) for number, label in zip(numbers, labels, strict=True)
        )
        for row in found:
            attack = _or_reason(lambda row=row, spec=entry.spec: row.build(spec))
            if isinstance(attack, str):
                planned.append(_missing(entry, row, suite, attack))
                continue
            if suite.target is not None:
                attack.check_targeted()
            cell = _cell(entry, row, attack, model_hash, suite, data, population)
            planned.append(
                Planned(model=entry.label, attack=row.label, cell=cell, samples=tuple(numbers), data=suite.data)
            )
            jobs.append(Job(cell, attack, model_spec, data_spec, suite.target, suite.trace, samples))
    return Planning(
        Plan(title=suite.title, planned=tuple(planned)), tuple(jobs), options.shard_size or suite.shard_size
    )


def shards(job: Job, size: int, done: frozenset[Sample] = frozenset()) -> Iterator[Shard]:
    """Cut a job into shards of `size` samples, leaving out what is finished.

    The cuts do not depend on what is finished, so that an interrupted run goes on with the same shards.
    """
    for start in range(0, len(job.samples), size):
        block = tuple(sample for sample in job.samples[start : start + size] if sample not in done)
        if block:
            yield Shard(fingerprints.of_json([job.cell.id, job.trace, block]), job, block)


def matches(model: str, attack: str, only: Sequence[str]) -> bool:
    """Whether all words of one of `only` are in a row's names; "100" is not in "1000", and l2 is ℓ2.

    Args:
        model: as tables call it.
        attack: likewise.
        only: e.g. ("alma l2 100", "fab").
    """
    text = _plain(f"{model} {attack}")
    return not only or any(all(_contains(text, word) for word in _plain(words).split()) for words in only)


def _contains(text: str, word: str) -> bool:
    places_of = [place for place in range(len(text)) if text.startswith(word, place)]

    def whole(place: int) -> bool:
        before, after = text[place - 1 : place], text[place + len(word) :][:1]
        return not (before.isdigit() and word[0].isdigit()) and not (after.isdigit() and word[-1].isdigit())

    return any(whole(place) for place in places_of)


def _plain(text: str) -> str:
    return text.lower().replace("ℓ", "l").replace("∞", "inf").replace("×", "x").replace("σ", "sigma")


def _names(suite: Suite, found: Sequence[Wanted]) -> str:
    models = ", ".join(entry.label for entry in suite.models)
    return f"models are {models}; attacks are {', '.join(row.label for row in found)}"


def _or_reason(load: Callable[[], T]) -> T | str:
    """Return what `load` does, or why it is not available here. Bad settings are errors all the same."""
    try:
        return load()
    except (OSError, ImportError, RuntimeError) as error:
        return " ".join(str(error).split())


def _range(suite: Suite, available: int) -> range:
    first, end = suite.samples if isinstance(suite.samples, tuple) else (0, available)
    if first >= available:
        raise ValueError(
            f"samples = [{first}, {end}] begins after the last of {available} samples of {suite.data}"
        )
    return range(first, min(end, available))


def _samples(data: Data, chosen: range, suite: Suite, model: nn.Module | None, limit: int | None) -> list[int]:
    """Numbers of the samples to attack: the first so many, of those classified correctly when a model is given."""
    labels = data.labels
    numbers = [number for number in chosen if suite.target is None or int(labels[number]) != suite.target]
    counts = [count for count in (suite.samples, limit) if isinstance(count, int)]
    most = min(counts, default=len(numbers))
    if model is None:
        kept = numbers[:most]
    else:
        kept: list[int] = []
        for start in range(0, len(numbers), BATCH):
            if len(kept) >= most:
                break
            part = numbers[start : start + BATCH]
            kept += [number for number, right in zip(part, _right(model, *data.batch(part)), strict=True) if right]
        kept = kept[:most]
    if not kept:
        raise ValueError(
            f"no sample of {data.name} is left: all are of the target class, or none is classified correctly"
        )
    return kept


def _right(model: nn.Module, images: Tensor, labels: Tensor) -> list[bool]:
    with guarded(model, images) as logits, torch.no_grad():
        return [bool(right) for right in logits(images).argmax(dim=1) == labels]


def _missing(entry: ModelEntry, row: Wanted, suite: Suite, why: str) -> Planned:
    return Planned(
        model=entry.label,
        attack=row.label,
        cell=None,
        samples=(),
        data=suite.data,
        unavailable=why,
        optional=entry.optional or row.optional,
    )


def _cell(
    entry: ModelEntry,
    row: Wanted,
    attack: Attack,
    model_hash: str,
    suite: Suite,
    data: Data,
    population: Population,
) -> Cell:
    goal = "untargeted" if suite.target is None else f"target {suite.target}"
    minimises = resolve(attack.distance).name
    return Cell(
        id=fingerprints.digest(model_hash, fingerprints.of_attack(attack), fingerprints.of_data(data), goal),
        model=entry.label,
        attack=row.label,
        model_spec=entry.spec,
        model_hash=model_hash,
        family=row.attack,
        settings=settings.as_plain(attack),
        minimises=minimises,
        column=rows.column(minimises),
        goal=goal,
        data=suite.data,
        data_name=suite.data_name or "",
        classes=data.classes,
        paper=suite.paper,
        population=population,
    )

"""From a suite to jobs: which samples of which cell, and what it is that decides their numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor, nn

import minadv
from minadv import hashes, hyper_parameters
from minadv.attacks.base import Attack
from minadv.bench import choosing, fingerprints, places, rows
from minadv.bench.entries import Wanted, wanted
from minadv.bench.jobs import Job, Options, Planning
from minadv.bench.records import Cell, Plan, Planned
from minadv.bench.suite import ModelEntry, Population, Suite
from minadv.data import Data
from minadv.data.dataset import class_number
from minadv.distances import resolve
from minadv.importing import place_of

T = TypeVar("T")


def plan(suite: Suite, options: Options, say: Callable[[str], None] = lambda _: None) -> Planning:
    """Look at the data, and at one model after the other, and say what is to be computed.

    Args:
        suite: what was asked for.
        options: of the command line.
        say: told what is being looked at.

    Raises:
        ValueError, TypeError: for settings that do not fit, or nothing left to compute.
        OSError, RuntimeError, ImportError: when the data cannot be had. A model or a distance that cannot be
            had is part of the plan.
    """
    found = wanted(suite)
    pairs = [
        (model, [row for row in found if choosing.matches(model.label, row.label, options.only)])
        for model in suite.models
    ]
    if not any(kept for _, kept in pairs):
        models = ", ".join(entry.label for entry in suite.models)
        attacks = ", ".join(row.label for row in found)
        raise ValueError(
            f"--only {' '.join(options.only)} leaves nothing: models are {models}; attacks are {attacks}"
        )
    say(f"data {suite.data}")
    source = _Source.of(suite, options)
    planned: list[Planned] = []
    jobs: list[Job] = []
    for entry, kept in pairs:
        if kept:
            say(f"model {entry.label}")
            of_model, jobs_of_model = _of_model(suite, options, entry, kept, source)
            planned += of_model
            jobs += jobs_of_model
    # a row may be another by its settings: it is in the tables, and computed once
    different = {job.cell.id: job for job in reversed(jobs)}
    once = tuple(reversed(different.values()))
    return Planning(Plan(title=suite.title, planned=tuple(planned)), once, options.shard_size or suite.shard_size)


@dataclass(frozen=True)
class _Source:
    """The data of a suite, looked at: where it is, the class to reach, and the samples that can be attacked."""

    spec: str
    data: Data
    target: int | None
    numbers: list[int]

    @classmethod
    def of(cls, suite: Suite, options: Options) -> "_Source":
        spec = places.data_spec(suite.data, options.files)
        data = minadv.data.load(spec)
        if suite.classes and len(suite.classes) < len(data.classes):
            raise ValueError(
                f"classes has {len(suite.classes)} names, {suite.data} has {len(data.classes)} classes"
            )
        target = suite.target
        if isinstance(target, str):
            target = class_number(target, suite.classes or data.classes)
        return cls(spec, data, target, choosing.candidates(suite, data, target))


def _of_model(
    suite: Suite, options: Options, entry: ModelEntry, kept: list[Wanted], source: _Source
) -> tuple[list[Planned], list[Job]]:
    """Plan the rows of one model."""

    def missing(why: str) -> tuple[list[Planned], list[Job]]:
        return [_missing(suite, entry, row, why) for row in kept], []

    spec = places.model_spec(entry.spec, options.files)
    place = f"models[{suite.models.index(entry)}]"
    try:
        model = _or_reason(entry.spec, lambda: minadv.models.load(spec, files=options.files), Exception)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{place}.spec: {_said(entry.spec, error)}") from error
    if isinstance(model, str):
        return missing(model)
    try:
        model_hash = fingerprints.of_module(model)  # before it is used: a forward pass may change it
    except Exception as error:  # what own objects do when they are looked at is anybody's guess
        return missing(f"it cannot be told apart: {_reason(entry.spec, error)}")
    population, most = options.population or suite.population, choosing.at_most(suite, options.limit)
    numbers = source.numbers[:most]
    if population == "correct":
        try:
            numbers = choosing.correct(source.data, source.numbers, most, model)
        except Exception as error:  # the model is somebody's own code, and costs its own rows only
            return missing(_reason(entry.spec, error))
        if not numbers:
            return missing(f"it classifies none of the {len(source.numbers)} samples correctly")
    choosing.warn_of_fewer(suite, options.limit, entry.label, len(numbers))
    images, labels = source.data.batch(numbers)
    outputs = _outputs(model, source)
    if source.target is not None and not 0 <= source.target < outputs:
        raise ValueError(f"target is {suite.target}, but {entry.label} tells {outputs} classes apart, from 0 on")
    samples = tuple(zip(numbers, fingerprints.of_samples(images), map(int, labels), strict=True))
    planned: list[Planned] = []
    jobs: list[Job] = []
    trace = suite.trace or options.trace
    for row in kept:
        attack = _or_reason(row.distance, lambda row=row: row.build(entry.spec))
        if isinstance(attack, str):
            planned.append(_missing(suite, entry, row, attack))
            continue
        _check(row, attack, images[:1], targeted=source.target is not None)
        cell = _cell(suite, entry, row, attack, model_hash, source, population)
        planned.append(
            Planned(model=entry.label, attack=row.label, cell=cell, samples=tuple(numbers), data=suite.data)
        )
        jobs.append(Job(cell, attack, spec, source.spec, outputs, source.target, trace, samples))
    return planned, jobs


def _outputs(model: nn.Module, source: _Source) -> int:
    """Count the model's classes; those of the data when it raises, which its shards will record."""
    try:
        return choosing.classify(model, source.data.batch(source.numbers[:1])[0]).shape[1]
    except Exception:  # somebody's code can raise anything, and a plan is not the place to fail
        return len(source.data.classes)


def _check(row: Wanted, attack: Attack, images: Tensor, *, targeted: bool) -> None:
    """Raise ValueError where an attack cannot have a target, or its distance does not take such images."""
    try:
        if targeted:
            attack.check_targeted()
        resolve(attack.distance).anchored(images)
    except ValueError as error:
        raise ValueError(f"{row.place} ({row.label}): {error}") from error
    except Exception:  # somebody's own distance: its shards record what it raises
        return


def _or_reason(spec: str, load: Callable[[], T], *more: type[Exception]) -> T | str:
    """Return what `load` does, or why it is not available here. Bad settings are errors all the same.

    Args:
        spec: of what is loaded.
        load: loads or builds something.
        more: errors besides those of files, libraries and torch: somebody's own code can raise anything.
    """
    try:
        return load()
    except (OSError, ImportError, RuntimeError) as error:
        return _said(spec, error)
    except (ValueError, TypeError):
        raise
    except more as error:
        return _reason(spec, error)


def _said(spec: str, error: Exception) -> str:
    """Say an error of loading in one line: ours speak for themselves, those of somebody's own code do not."""
    return " ".join(str(error).split()) if place_of(error) is None else _reason(spec, error)


def _reason(spec: str, error: Exception) -> str:
    """Say in one line what somebody's own code raised, and where."""
    place = place_of(error)
    where = "" if place is None else f" (at {place})"
    return " ".join(f"{spec} raised {type(error).__name__}: {error}{where}".split())


def _missing(suite: Suite, entry: ModelEntry, row: Wanted, why: str) -> Planned:
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
    suite: Suite,
    entry: ModelEntry,
    row: Wanted,
    attack: Attack,
    model_hash: str,
    source: _Source,
    population: Population,
) -> Cell:
    data, goal = source.data, "untargeted" if source.target is None else f"target {source.target}"
    return Cell(
        id=hashes.digest(model_hash, fingerprints.of_attack(attack), fingerprints.of_data(data), goal),
        model=entry.label,
        attack=row.label,
        model_spec=entry.spec,
        model_hash=model_hash,
        family=row.attack,
        settings=hyper_parameters.as_plain(attack),
        minimises=resolve(attack.distance).name,
        column=rows.column(row.scored(attack, entry.spec)),
        goal=goal,
        data=suite.data,
        data_name=suite.data_name or "",
        classes=suite.classes or data.classes,
        paper=suite.paper,
        population=population,
        radii=row.radii,
    )

"""From a model spec to a model."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from minadv import errors
from minadv.models import factories, hubs, search, specs, weights, zoo
from minadv.models.architectures import BUILDERS
from minadv.models.specs import Folders, Spec
from minadv.models.wrap import frozen, normalised


def load(spec: str, *, device: torch.device | str | None = None, files: Folders = ()) -> nn.Module:
    """Load a model: inputs (n, channels, height, width) in [0, 1] go in, logits (n, classes) come out.

    Normalisation is part of the model, which is in evaluation mode with no parameter that needs a gradient.
    No weight file is ever unpickled, and PyTorch's global random state is left as it was.

    Args:
        spec: `demo`; `zoo:NAME`, with the weights found in `$MINADV_WEIGHTS`, `./weights`, `../shared/data`
            or `~/.cache/minadv`, or `zoo:NAME@FILE`; `file:ARCHITECTURE@FILE` where ARCHITECTURE is a name of
            the zoo or one of its architectures, with the normalisation of its models in the zoo;
            `torchvision:NAME[@WEIGHTS|@FILE]`; `timm:NAME[@FILE]`; `hf:NAME`; `robustbench:NAME`, for those
            of its models that are in the zoo; `python:package.module:factory`. `@random` in place of a file
            gives an untrained network, always the same.
        device: where to put it; the CPU by default.
        files: a folder, or several, in which weights are looked for first.

    Raises:
        TypeError: the spec is no string, or files are no folders.
        ValueError: the spec is malformed or unknown, or a weight file is damaged or does not fit.
        FileNotFoundError: the weights are not there; the message says what to get and where to put it.
        RuntimeError: a download failed.
        ImportError: an optional library is missing.
    """
    parsed = specs.parse(spec, files)
    if parsed.kind == "python":
        model = factories.load(parsed)  # the user's own code, and so are its random numbers
    else:
        with _own_randomness():
            model = LOADERS[parsed.kind](parsed)
    return frozen(model).to(device)


def _demo(spec: Spec) -> nn.Module:
    return _network(spec, "demo", lambda: search.DEMO_WEIGHTS)


def _zoo(spec: Spec) -> nn.Module:
    entry, name = _entry(spec), zoo.spelt(spec.name)

    def default() -> Path:
        found = search.find(name, entry, spec.first)
        if found is None:
            raise search.not_found(name, entry, spec.first)
        return search.compared(found, name, entry)

    return _network(spec, entry.architecture, default, entry.mean, entry.std)


def _robustbench(spec: Spec) -> nn.Module:
    name = zoo.ROBUSTBENCH.get(spec.name)
    if name is None:
        raise errors.unknown("RobustBench model of the zoo", spec.name, zoo.ROBUSTBENCH)
    return _zoo(replace(spec, name=name))


def _file(spec: Spec) -> nn.Module:
    return _network(spec, "demo", lambda: Path(spec.at or "")) if spec.name == "demo" else _zoo(spec)


def _entry(spec: Spec) -> zoo.Entry:
    """Find a zoo entry by name, or the entry of a bare architecture, whose models share one normalisation."""
    name = zoo.spelt(spec.name)
    if name == "demo":
        raise specs.malformed(spec.text, "the embedded network is demo, demo@random or file:demo@FILE")
    if name in zoo.ENTRIES:
        return zoo.ENTRIES[name]
    of_architecture = [
        entry for entry in zoo.ENTRIES.values() if entry.architecture == name.replace("wrn_", "wrn")
    ]
    if not of_architecture:
        raise errors.unknown("zoo model or architecture", spec.name, (*zoo.ENTRIES, *BUILDERS))
    if spec.at is None:
        raise specs.malformed(spec.text, f"{spec.name} is an architecture: say which weights, @FILE or @random")
    return of_architecture[0]


def _network(
    spec: Spec,
    architecture: str,
    default: Callable[[], Path],
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> nn.Module:
    network = BUILDERS[architecture]()
    if not spec.random:
        path = default() if spec.at is None else search.located(spec.at, spec.first)
        weights.fit(network, weights.read(path), path, mean, std)
    return normalised(network, mean, std)


LOADERS: dict[str, Callable[[Spec], nn.Module]] = {
    "demo": _demo,
    "file": _file,
    "hf": hubs.transformers,
    "robustbench": _robustbench,
    "timm": hubs.timm,
    "torchvision": hubs.torchvision,
    "zoo": _zoo,
}


@contextmanager
def _own_randomness() -> Generator[None]:
    # Networks draw their initial weights from the CPU's global generator. Seeding that generator alone, not
    # torch.manual_seed, leaves those of other devices untouched as well.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        yield

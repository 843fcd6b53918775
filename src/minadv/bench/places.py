"""Where a suite's models and data are on this machine: in a given folder, or where weights are looked for."""

import os
from collections.abc import Sequence
from pathlib import Path

from minadv.models import search, zoo

NPZ, PT = "npz", "pt"
FILES = ("demo", "file", "robustbench", "timm", "torchvision", "zoo")  # their specs may end in @FILE
SOURCES = {
    "imagenet_1000_random.pth": zoo.ZENODO,
    "mnist_test.npz": zoo.SHARED,
    "cifar10_test_1000.npz": zoo.SHARED,
}


def model_spec(spec: str, files: Sequence[Path]) -> str:
    """Return the spec of a model with its weight file where a folder has it, else as it is."""
    head, at, file = spec.partition("@")
    kind, _, name = head.partition(":")
    if at and kind in FILES:
        return _with_file(spec, head, file, files)
    name = zoo.ROBUSTBENCH.get(name, "") if kind == "robustbench" else zoo.spelt(name)
    if kind not in ("zoo", "robustbench") or name not in zoo.ENTRIES:
        return spec
    found = search.find(name, zoo.ENTRIES[name], files)
    if found is None:
        return spec
    return f"zoo:{name}@{search.compared(found, name, zoo.ENTRIES[name])}"


def _with_file(spec: str, head: str, file: str, files: Sequence[Path]) -> str:
    if not Path(file).suffix:  # @random, or the name of published weights
        return spec
    try:
        return f"{head}@{search.located(file, files)}"
    except FileNotFoundError:
        return spec


def data_spec(spec: str, files: Sequence[Path]) -> str:
    """Return the spec of a data file with its folder, when the suite names none.

    Raises:
        FileNotFoundError: no folder has it; the message says what to get and where to put it.
    """
    kind, _, name = spec.partition(":")
    if kind not in (NPZ, PT) or not name or Path(name).name != name or Path(name).is_file():
        return spec
    variable = os.environ.get("MINADV_DATA")
    folders = (*files, *((Path(variable).expanduser(),) if variable else ()), *search.folders())
    found = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if found is None:
        source = f"get it from {SOURCES[name]}; " if name in SOURCES else ""
        places = ", ".join(str(folder.absolute()) for folder in folders)
        raise FileNotFoundError(
            f"the data file {name} was not found: {source}looked in {places}. Put it there, give its "
            "folder as --files, or set MINADV_DATA"
        )
    return f"{kind}:{found}"

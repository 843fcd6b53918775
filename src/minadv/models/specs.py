"""The grammar of model specs: KIND[:NAME][@AT]."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from minadv import errors

KINDS = ("demo", "file", "hf", "python", "robustbench", "timm", "torchvision", "zoo")
RANDOM = "random"
GRAMMAR = (
    "demo, zoo:NAME[@FILE|@random], file:ARCHITECTURE@FILE, torchvision:NAME[@WEIGHTS|@FILE|@random], "
    "timm:NAME[@FILE|@random], hf:NAME[@random], robustbench:NAME[@FILE|@random] or "
    "python:package.module:factory"
)

Folders = Sequence[Path | str] | Path | str  # one or several


@dataclass(frozen=True)
class Spec:
    """A model spec in its parts.

    Attributes:
        text: as it was given.
        kind: one of KINDS.
        name: what follows the colon.
        at: what follows the @, None without one.
        first: folders in which its weights are looked for first.
    """

    text: str
    kind: str
    name: str
    at: str | None
    first: tuple[Path, ...] = ()

    @property
    def random(self) -> bool:
        """Whether an untrained model is asked for."""
        return self.at == RANDOM


def parse(text: object, files: Folders = ()) -> Spec:
    """Take a model spec apart; its weights are looked for in `files` first.

    Raises:
        TypeError: it is no string, or `files` are no folders.
        ValueError: the kind is unknown, or a part is missing or too much; the message shows the grammar.
    """
    if not isinstance(text, str):
        raise TypeError(f"spec must be a string, got {type(text).__name__}: {GRAMMAR}")
    head, at, where = text.partition("@")
    kind, colon, name = head.partition(":")
    if kind not in KINDS:
        raise errors.unknown("model spec", kind, KINDS)
    if at and not where:
        raise malformed(text, "nothing follows the @")
    if kind == "demo":
        if colon:
            raise malformed(text, "demo takes no name")
    elif not name:
        raise malformed(text, f"{kind}: needs a name")
    if kind == "file" and not where:
        raise malformed(text, "file: needs a weight file after an @")
    if kind == "hf" and where not in ("", RANDOM):
        raise malformed(text, "hf: loads a name or a folder, only @random can follow it")
    if kind == "python" and (at or not all(name.partition(":"))):
        raise malformed(text, "python: needs a module, a colon and the name of a factory in it")
    return Spec(text, kind, name, where or None, _folders(files))


def _folders(files: object) -> tuple[Path, ...]:
    given = cast(
        "Sequence[object]", files if isinstance(files, Sequence) and not isinstance(files, str) else (files,)
    )
    folders = [Path(folder) for folder in given if isinstance(folder, str | Path)]
    if len(folders) < len(given):
        raise TypeError(f"files must be a folder or several, as strings or paths, got {files!r}")
    return tuple(folders)


def malformed(text: str, what: str) -> ValueError:
    """Build the error for a spec that does not follow the grammar."""
    return ValueError(f"the model spec {text!r} is malformed: {what}; specs are {GRAMMAR}")

"""Files that are written under another name and then moved into place, and tensors in them, with a checksum."""

import json
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, cast

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from minadv.hashes import digest, of_tensors

CHECKSUM = "checksum"  # among a file's words: of all others and of the tensors


@contextmanager
def in_place(path: Path) -> Generator[Path]:
    """Yield a path to write to; it becomes `path` when the block ends without an error."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode  # what a new file gets here; safetensors makes its own private
        yield temporary
        temporary.chmod(mode)
        temporary.replace(path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def prepare(folder: Path, option: str) -> None:
    """Make a folder, which `option` asked for, before anything is computed that could be lost.

    Raises:
        ValueError: where no file can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"cannot write to the folder {folder} ({error.strerror}): choose another {option}"
        ) from error


def prepare_file(path: Path, option: str) -> None:
    """Make the folder of a file, which `option` asked for: see `prepare`.

    Raises:
        ValueError: where no such file can be written.
    """
    if path.is_dir():
        raise ValueError(f"{option} must be the name of a file, got the folder {path}")
    prepare(path.parent, option)


def save(path: Path, tensors: Mapping[str, Tensor], words: Mapping[str, str] | None = None) -> None:
    """Write tensors, and some words about them, into place, with a checksum of both.

    Raises:
        OSError: when they cannot be written.
    """
    with in_place(path) as temporary:
        try:
            whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
            said = dict(words or {})
            save_file(whole, temporary, metadata=said | {CHECKSUM: _checksum(whole, said)})
        except SafetensorError as error:  # the disk is full, say
            raise OSError(f"cannot write {path}: {error}") from error


def load(path: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """Read tensors that must have these names among them, and be what was written.

    A file without a checksum, as earlier versions wrote it, is believed.

    Raises:
        ValueError: for a file that is damaged or lacks one.
    """
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise damaged(path, str(error)) from error
    absent = [name for name in names if name not in tensors]
    if absent:
        raise damaged(path, f"it lacks {', '.join(absent)}")
    said = words(path)
    if said.pop(CHECKSUM, None) not in (None, _checksum(tensors, said)):
        raise damaged(path, "its checksum is another")
    return tensors


def words(path: Path) -> dict[str, str]:
    """Read the words about the tensors in a file; none where it cannot be read."""
    try:
        with safe_open(path, "pt") as file:  # pyright: ignore[reportUnknownVariableType]
            return dict(cast("dict[str, str] | None", file.metadata()) or {})
    except (SafetensorError, OSError):
        return {}


def _checksum(tensors: Mapping[str, Tensor], said: Mapping[str, str]) -> str:
    names = sorted(tensors)
    return digest(json.dumps([names, sorted(said.items())]), of_tensors(*(tensors[name] for name in names)))


def damaged(path: Path, why: str) -> ValueError:
    """Say that a file is not what was written."""
    return ValueError(f"{path} cannot be read, it may be damaged: {why}; run the attack again")

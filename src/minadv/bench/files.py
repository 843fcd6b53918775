"""Small files, written in one step and read without trust."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from minadv.bench.records import Record
from minadv.files import in_place

Kind = TypeVar("Kind", bound=Record)


def write_text(path: Path, text: str) -> None:
    """Write a small file in one step; the caller is the only one who writes it now.

    Raises:
        OSError: when it cannot be written; what was there before stays.
    """
    for stale in path.parent.glob(f".{path.name}.*"):  # what a killed process left of it
        stale.unlink(missing_ok=True)
    with in_place(path) as half:
        write(half, (text + "\n").encode())


def write(path: Path, data: bytes) -> None:
    """Write a file, and wait until it lasts through a loss of power."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """Make a move last through a loss of power, where the system has that."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sha256(data: bytes) -> str:
    """Hash bytes."""
    return hashlib.sha256(data).hexdigest()


def read(kind: type[Kind], path: Path) -> tuple[Kind | None, str | None]:
    """Read a JSON file; None, and why, when it is not there or not what it should be."""
    try:
        return kind.model_validate_json(path.read_bytes()), None
    except FileNotFoundError:
        return None, f"{path.name} is missing"
    except (OSError, ValidationError) as error:
        first = str(error).partition("\n")[0]
        return None, f"{path.name} cannot be read ({first})"

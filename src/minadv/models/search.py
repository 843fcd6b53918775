"""Where weight files are looked for. Importing this does not import torch."""

import hashlib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

from minadv.models.zoo import Entry

DEMO_WEIGHTS = Path(__file__).parent / "demo.safetensors"


def folders() -> tuple[Path, ...]:
    """List the folders, in order: those of $MINADV_WEIGHTS, ./weights, ../shared/data, ~/.cache/minadv."""
    own = [Path(part).expanduser() for part in os.environ.get("MINADV_WEIGHTS", "").split(os.pathsep) if part]
    return (*own, Path("weights"), Path("..") / "shared" / "data", Path.home() / ".cache" / "minadv")


def file_names(name: str, entry: Entry) -> tuple[str, ...]:
    """List the names a weight file may have: NAME.safetensors (a conversion), then the official ones."""
    return tuple(dict.fromkeys((f"{name}.safetensors", *entry.files)))


def find(name: str, entry: Entry, first: Sequence[Path] = ()) -> Path | None:
    """Find the weights of a zoo entry, in the folders given first; None when no folder has them."""
    candidates = (folder / file for folder in (*first, *folders()) for file in file_names(name, entry))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def located(file: str, first: Sequence[Path] = ()) -> Path:
    """Return a weight file: as it is given or, of a name without folder, in the first folder that has it.

    Raises:
        FileNotFoundError: it is nowhere; the message lists every place looked at.
    """
    given = Path(file).expanduser()
    others = (*first, *folders()) if Path(file).name == file else ()
    places = (given, *(folder / file for folder in others))
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        looked = ", ".join(str(place.absolute()) for place in places)
        raise FileNotFoundError(f"there is no weight file {file} (looked at {looked})")
    return found


def compared(path: Path, name: str, entry: Entry) -> Path:
    """Return a weight file that was found by name, with a warning when it is not the official one.

    Sources that publish no checksum cannot be compared with.

    Warns:
        UserWarning: its SHA-256 is another.
    """
    if entry.sha256 is not None and path.name == Path(entry.files[0]).name:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if not found.startswith(entry.sha256):
            warnings.warn(
                f"{path} is not the official file of zoo:{name} (SHA-256 {found[:16]}…, {entry.sha256[:16]}… is "
                f"official): results are those of another model; fetch it from {entry.source}",
                UserWarning,
                stacklevel=2,
            )
    return path


def not_found(name: str, entry: Entry, first: Sequence[Path] = ()) -> FileNotFoundError:
    """Build the error that says what to get, from where, and where to put it."""
    places = ", ".join(str(folder.absolute()) for folder in (*first, *folders()))
    return FileNotFoundError(
        f"the weights of zoo:{name} were not found: get {' or '.join(file_names(name, entry))} from "
        f"{entry.source}; looked in {places}. Put it there, set MINADV_WEIGHTS to its folder, or write "
        f"zoo:{name}@FILE (zoo:{name}@random for an untrained model)"
    )

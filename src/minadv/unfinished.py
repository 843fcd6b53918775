"""What an attack on a data set has found so far: a file for each finished batch, until the whole run is written.

unfinished/00000256.safetensors    the batch that begins with this sample, all or nothing of it
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from minadv import files
from minadv.result import Result, Status, Trace, concatenate

FOLDER = "unfinished"
STATUSES = tuple(Status)
TENSORS = (
    "adversarials",
    "success",
    "distances",
    "forwards",
    "backwards",
    "margins",
    "predictions",
    "clean_predictions",
)
STATUS, SPENT, BEST = "status", "trace.propagations", "trace.distances"


@dataclass(frozen=True)
class Unfinished:
    """The finished batches of a run that is not written yet.

    Attributes:
        out: the run's folder.
        identity: of everything that decides the results: batches of anything else are not taken for its own.
        samples: of the run.
    """

    out: Path
    identity: str
    samples: int

    @property
    def folder(self) -> Path:
        """Where they are."""
        return self.out / FOLDER

    def keep(self, numbers: Sequence[int], result: Result, seconds: float, said: Sequence[str] = ()) -> None:
        """Store a batch of these sample numbers, found in so many seconds, and the warnings meanwhile.

        Raises:
            OSError: when it cannot be written.
        """
        self.folder.mkdir(exist_ok=True)
        tensors: dict[str, Tensor] = {name: getattr(result, name) for name in TENSORS}
        tensors[STATUS] = torch.tensor([STATUSES.index(status) for status in result.status])
        if result.trace is not None:
            tensors |= {SPENT: result.trace.propagations, BEST: result.trace.distances}
        words = {"distance": result.distance, "confidence": repr(result.confidence), "seconds": repr(seconds)}
        words["warnings"] = json.dumps(list(said))
        files.save(self.folder / _name(numbers[0]), tensors, words | {"identity": self.identity})

    def found(self) -> tuple[Result | None, float, list[str]]:
        """Return the batches from the first on, None without any, how many seconds they took, and the warnings."""
        batches = list(self._batches())
        if not batches:
            return None, 0.0, []
        results, seconds, warnings = zip(*batches, strict=True)
        return concatenate(results), sum(seconds), [text for said in warnings for text in said]

    def of_another(self) -> bool:
        """Whether there are batches of a run of anything else."""
        return any(_words(path).get("identity", self.identity) != self.identity for path in self._paths())

    def forget(self) -> None:
        """Remove all batches."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("*.safetensors"))

    def _batches(self) -> Iterator[tuple[Result, float, list[str]]]:
        """Read them in order, up to the first that is missing or not what was written."""
        done = 0
        while done < self.samples:
            read = _read(self.folder / _name(done), self.identity)
            if read is None or done + len(read[0]) > self.samples:
                return
            yield read
            done += len(read[0])


def _name(first: int) -> str:
    return f"{first:08d}.safetensors"


def _words(path: Path) -> dict[str, str]:
    try:
        with safe_open(path, "pt") as file:  # pyright: ignore[reportUnknownVariableType]
            return dict(cast("dict[str, str] | None", file.metadata()) or {})
    except (SafetensorError, OSError):
        return {}


def _read(path: Path, identity: str) -> tuple[Result, float, list[str]] | None:
    words = _words(path)
    if words.get("identity") != identity:
        return None
    try:
        tensors: dict[str, Tensor] = files.load(path, (*TENSORS, STATUS))
        numbers = cast("list[int]", tensors.pop(STATUS).tolist())
        status = tuple(STATUSES[number] for number in numbers)
        trace = Trace(tensors.pop(SPENT), tensors.pop(BEST)) if SPENT in tensors else None
        confidence, seconds = float(words["confidence"]), float(words["seconds"])
        said: list[str] = json.loads(words["warnings"])
        result = Result(**tensors, status=status, distance=words["distance"], confidence=confidence, trace=trace)
    except (KeyError, ValueError, TypeError, IndexError):
        return None
    whole = all(len(value) == len(result) for value in tensors.values())
    return (result, seconds, said) if whole and len(result) else None

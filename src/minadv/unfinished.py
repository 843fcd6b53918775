"""What an attack on a data set has found so far: a file for each finished batch, until the whole run is written.

unfinished/00000256.safetensors    the batch that begins with this sample, all or nothing of it
"""

import json
import shutil
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
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
        words |= {"warnings": json.dumps(list(said)), "samples": str(len(result))}
        files.save(self.folder / _name(numbers[0]), tensors, words | {"identity": self.identity})

    def found(self) -> tuple[Result | None, float, list[str]]:
        """Return the batches from the first on, None without any, how many seconds they took, and the warnings.

        Warns:
            UserWarning: when a batch is there that is not what was written: it counts for nothing, nor does what
                is behind it.
        """
        batches = list(self._batches())
        if not batches:
            return None, 0.0, []
        results, seconds, said = zip(*batches, strict=True)
        return concatenate(results), sum(seconds), [text for of_one in said for text in of_one]

    def of_another(self) -> bool:
        """Whether there are batches of a run of anything else."""
        return any(_of_another(path, self.identity) for path in sorted(self.folder.glob("*.safetensors")))

    def forget(self) -> None:
        """Remove all batches."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _batches(self) -> Iterator[tuple[Result, float, list[str]]]:
        """Read them in order, up to the first that is missing or not what was written."""
        done = 0
        while done < self.samples:
            path = self.folder / _name(done)
            read = _read(path, self.identity)
            if read is None or done + len(read[0]) > self.samples:
                if path.exists() and not _of_another(path, self.identity):
                    text = f"{path} is damaged: the run's samples from number {done} on are attacked again"
                    warnings.warn(text, UserWarning, stacklevel=4)
                return
            yield read
            done += len(read[0])


def kept(out: Path) -> int:
    """Return how many samples of an interrupted run a folder holds, whatever the run was."""
    return sum(int(files.words(path).get("samples", "0")) for path in (out / FOLDER).glob("*.safetensors"))


def _name(first: int) -> str:
    return f"{first:08d}.safetensors"


def _of_another(path: Path, identity: str) -> bool:
    if files.words(path).get("identity", identity) == identity:
        return False
    try:
        return bool(files.load(path, ()))
    except ValueError:  # damaged words may have been this run's
        return False


def _read(path: Path, identity: str) -> tuple[Result, float, list[str]] | None:
    words = files.words(path)
    if words.get("identity") != identity or files.CHECKSUM not in words:
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

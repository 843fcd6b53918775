"""A diagnosis as JSON, for scripts."""

import json
import math
from pathlib import Path

from pydantic import JsonValue
from torch import Tensor

from minadv import files
from minadv.diagnosis.run import Diagnosis

FORMAT = 1


def document(done: Diagnosis, data: str) -> dict[str, JsonValue]:
    """Return checks, findings and per-sample distances; infinite distances are "inf", missing ones null."""
    distances: JsonValue = None
    if done.distances is not None:
        distances = {
            "samples": list(done.distances.samples),
            "steps": done.distances.steps,
            "few": _plain(done.distances.few),
            "many": _plain(done.distances.many),
            "random": _plain(done.distances.random),
            "soft": _plain(done.distances.soft),
            "transfer": {other: _plain(values) for other, values in done.distances.transfer.items()},
        }
    return {
        "format": FORMAT,
        "model": done.model,
        "data": data,
        "samples": done.samples,
        "correct": done.correct,
        "checks": [
            {
                "check": ran.check,
                "finished": ran.finished,
                "findings": [finding.model_dump(mode="json") for finding in ran.findings],
            }
            for ran in done.checks
        ],
        "distances": distances,
    }


def write(path: Path, done: Diagnosis, data: str) -> None:
    """Write the document; the file is there whole or not at all.

    Raises:
        OSError: when it cannot be written.
    """
    text = json.dumps(document(done, data), indent=1, ensure_ascii=False, allow_nan=False)
    with files.in_place(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _plain(distances: Tensor) -> list[JsonValue]:
    values = [float(value) for value in distances]
    return [value if math.isfinite(value) else None if math.isnan(value) else "inf" for value in values]

"""The checks of `minadv diagnose` on every model of a benchmark, once."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache

from torch import nn

import minadv
from minadv import diagnosis, hashes
from minadv.bench import fingerprints
from minadv.bench.jobs import Planning
from minadv.bench.records import Diagnosis
from minadv.bench.store import Store

SAMPLES, FEWER = 32, 8  # the first ones of the suite; fewer where a pass takes long
LARGE = 2**15  # entries of an image
KEPT = 4  # models that are held at a time: a suite's need not all fit into memory


class _Models(Mapping[str, nn.Module]):
    """Models by the names that tables call them, each there when it is looked at."""

    def __init__(self, specs: Mapping[str, str], load: Callable[[str], nn.Module]) -> None:
        self._specs, self._load = specs, load

    def __getitem__(self, label: str) -> nn.Module:
        return self._load(self._specs[label])

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)


def diagnose(planned: Planning, store: Store, say: Callable[[str], None], stop: Callable[[], bool]) -> None:
    """Look at each model with the first samples of the suite, unless that was done before.

    Adversarials of the suite's other models are tried on it too. A model that raises is a finding.

    Args:
        planned: the suite.
        store: where findings are kept.
        say: told which model is being looked at.
        stop: asked all the time whether to leave it for another run.
    """

    def go_on(_what: str, _share: float) -> None:
        if stop():
            raise KeyboardInterrupt

    data, model = lru_cache(maxsize=1)(minadv.data.load), lru_cache(maxsize=KEPT)(minadv.models.load)
    jobs = {job.cell.model_hash: job for job in planned.jobs}
    code = fingerprints.of_code("minadv.diagnosis")
    for model_hash, job in jobs.items():
        inputs, labels = data(job.data_spec).batch([number for number, _, _ in job.samples[:SAMPLES]])
        if inputs[0].numel() > LARGE:
            inputs, labels = inputs[:FEWER], labels[:FEWER]
        others = {other.cell.model: other.model_spec for name, other in jobs.items() if name != model_hash}
        samples = hashes.of_tensors(inputs, labels)
        name = fingerprints.of_json([code, model_hash, sorted(jobs), job.cell.data, samples])
        if (known := store.diagnosis(name)) is not None:
            store.write_diagnosis(known.model_copy(update={"when": _now()}))
            continue
        if stop():
            return
        say(f"checking {job.cell.model}")
        try:
            found = diagnosis.diagnose_or_finding(
                lambda job=job: model(job.model_spec),
                inputs,
                labels,
                name=job.cell.model,
                transfer=_Models(others, model),
                progress=go_on,
            )
        except KeyboardInterrupt:
            if stop():  # asked for it: nothing is lost but this look
                return
            raise
        store.write_diagnosis(
            Diagnosis(
                name=name,
                model=job.cell.model,
                model_hash=model_hash,
                samples=len(inputs),
                checks=tuple(check.check for check in found),
                findings=tuple(finding for check in found for finding in check.findings),
                data=job.cell.data,
                when=_now(),
            )
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")

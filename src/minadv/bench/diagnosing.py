"""The checks of `minadv diagnose` on every model of a benchmark, once."""

from collections.abc import Callable

import minadv
from minadv.bench import fingerprints
from minadv.bench.planning import Planning
from minadv.bench.records import Diagnosis
from minadv.bench.store import Store

SAMPLES, FEWER = 32, 8  # the first ones of the suite; fewer where a pass takes long
LARGE = 2**15  # entries of an image


def diagnose(planned: Planning, store: Store, say: Callable[[str], None]) -> None:
    """Look at each model with the first samples of the suite, unless that was done before.

    Adversarials of the suite's other models are tried on it too.
    """
    jobs = {job.cell.model_hash: job for job in planned.jobs}
    code = fingerprints.of_code("minadv.diagnosis")
    for model_hash, job in jobs.items():
        inputs, labels = minadv.data.load(job.data_spec).batch([number for number, _, _ in job.samples[:SAMPLES]])
        if inputs[0].numel() > LARGE:
            inputs, labels = inputs[:FEWER], labels[:FEWER]
        others = {other.cell.model: other for name, other in jobs.items() if name != model_hash}
        name = fingerprints.of_json([code, model_hash, sorted(jobs), fingerprints.of_samples(inputs)])
        if store.diagnosis(name) is not None:
            continue
        say(f"checking {job.cell.model}")
        found = minadv.diagnose(
            minadv.models.load(job.model_spec),
            inputs,
            labels,
            name=job.cell.model,
            transfer={label: minadv.models.load(other.model_spec) for label, other in others.items()},
        )
        store.write_diagnosis(
            Diagnosis(
                name=name,
                model=job.cell.model,
                model_hash=model_hash,
                samples=found.samples,
                checks=tuple(check.check for check in found.checks),
                findings=found.findings,
            )
        )

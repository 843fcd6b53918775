"""The checks of `minadv diagnose` on every model of a benchmark, once."""

from collections.abc import Callable

import minadv
from minadv.bench import fingerprints
from minadv.bench.planning import Planning
from minadv.bench.records import Diagnosis
from minadv.bench.store import Store

SAMPLES = 32  # the first ones of the suite


def diagnose(planned: Planning, store: Store, say: Callable[[str], None]) -> None:
    """Look at each model with the first samples of the suite, unless that was done before."""
    jobs = {job.cell.model_hash: job for job in planned.jobs}
    for model_hash, job in jobs.items():
        name = fingerprints.digest(model_hash, fingerprints.of_code("minadv.diagnosis"), job.cell.data)
        if store.diagnosis(name) is not None:
            continue
        say(f"checking {job.cell.model}")
        model = minadv.models.load(job.model_spec)
        numbers = [number for number, _, _ in job.samples[:SAMPLES]]
        inputs, labels = minadv.data.load(job.data_spec).batch(numbers)
        found = minadv.diagnose(model, inputs, labels, name=job.cell.model)
        store.write_diagnosis(Diagnosis(name=name, model_hash=model_hash, findings=found.findings))

"""Whether a benchmark's models still answer as they did when the shards in its folder were computed.

A model's identity is what can be read of it (`minadv.bench.reach`). Whatever else decides its answers is noticed
here, by classifying images again that are stored with their margins.
"""

from collections.abc import Callable

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

import minadv
from minadv.bench import choosing, finished
from minadv.bench.jobs import Job, Planning
from minadv.bench.records import ShardRecord
from minadv.bench.store import TENSORS_FILE, DamagedError, Store
from minadv.goals import Targeted, Untargeted
from minadv.logit_scale import deciding_or_usual, differ

AGREEMENT = 0.01  # of the logits that decide: other machines and libraries round by far less


def confirm(planned: Planning, store: Store, say: Callable[[str], None]) -> None:
    """Classify one stored shard of each model again.

    Raises:
        ValueError: when a model gives other margins than those that are stored, which names it.
    """
    jobs, seen = {job.cell.id: job for job in planned.jobs}, set[str]()
    for record in finished.records(store)[0]:
        job = jobs.get(record.cell)
        if job is None or job.cell.model_hash in seen:
            continue
        try:
            images, labels, margins = _stored(store, record)
        except DamagedError:
            continue  # it is set aside when the run begins
        seen.add(job.cell.model_hash)
        say(f"comparing {job.cell.model} with what is stored")
        off = _off(_answers(job.model_spec, images), job, labels, margins)
        if off:
            raise ValueError(
                f"{store.folder} was computed with another {job.cell.model}: {off} of {len(images)} images stored "
                "there have other margins now, though weights and code look the same: something else decides its "
                "answers (a file or the environment, say): give another --out"
            )


def _answers(spec: str, images: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return a model's logits, (n, classes), in one batch and in two; None when it raises, as shards will say."""
    half = (len(images) + 1) // 2
    try:
        model = minadv.models.load(spec)
        whole = choosing.classify(model, images)
        parts = [choosing.classify(model, part) for part in (images[:half], images[half:]) if len(part)]
    except Exception:  # the model is somebody's own code
        return None
    return whole, torch.cat(parts)


def _off(answers: tuple[Tensor, Tensor] | None, job: Job, labels: Tensor, margins: Tensor) -> int:
    """Count images whose margin is another; none where answers are others every time, or in any batch."""
    if answers is None:
        return 0
    logits, again = answers
    goal = Untargeted(labels) if job.target is None else Targeted(torch.full_like(labels, job.target))
    now = goal.margin(logits)
    bound = AGREEMENT * deciding_or_usual(logits, now)
    if differ(logits, again, AGREEMENT, bound).any():
        return 0
    return int(((now - margins).abs() > bound).sum())


def _stored(store: Store, record: ShardRecord) -> tuple[Tensor, Tensor, Tensor]:
    """Return a shard's answers, (n, ...), labels and margins, (n,).

    Raises:
        DamagedError: when they are not what was written.
    """
    rows = finished.rows_of(store, record).sort("sample")
    try:
        tensors = load(store.bytes_of(record, TENSORS_FILE))
    except SafetensorError as error:
        raise DamagedError(f"{TENSORS_FILE} of shard {record.id} cannot be read: {error}") from error
    images = tensors["adversarials"][tensors["samples"].argsort()]
    return images, rows["label"].to_torch(), rows["margin"].to_torch().to(images.dtype)

"""Attack a whole data set: batches, progress, and a batch size that survives running out of memory."""

import logging
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from torch import Tensor

from minadv import resumed
from minadv.attacks.base import Attack, require, whole
from minadv.distances import resolve
from minadv.errors import RowError
from minadv.guard import Model
from minadv.memory import or_none
from minadv.networks import home, networks
from minadv.probe import Step
from minadv.result import Result, concatenate
from minadv.samples import Samples, check_samples, classes_to_reach, paired, take
from minadv.validation import usable_device
from minadv.verification import Precision

logger = logging.getLogger(__name__)

LARGEST_BATCH = 256
ENTRIES_PER_BATCH = 2**21


def evaluate(
    model: Model,
    data: Samples,
    attack: Attack,
    *,
    targets: Tensor | int | None = None,
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    limit: int | None = None,
    progress: bool = True,
    trace: bool = False,
    precision: Precision | None = None,
    channels_last: bool = False,
    finished: Result | None = None,
    on_batch: Callable[[Sequence[int], Result], None] | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Result:
    """Attack every sample of a data set and return one verified result, on the CPU, in the data's order.

    Args:
        model: from inputs in [0, 1] to logits.
        data: a `minadv.data.Data`, any map-style data set of (image, label), or a pair (inputs, labels). A pair
            is checked as a whole before the first batch, other data batch by batch.
        attack: the attack.
        targets: one class for all samples or a (samples,) int64 tensor; None for an untargeted attack. Samples
            that are of this class have to be left out.
        batch_size: samples per batch; None chooses by the image's size. Either is halved, down to 1, when memory
            runs out: the batch is tried again and finished batches are kept.
        device: where to compute ("cpu", "cuda", "mps", ...); None is where the model is. A model that has to be
            moved is moved back afterwards.
        limit: attack only the first so many samples.
        progress: show a bar with ASR and median so far, on stderr.
        trace: keep the best distance against propagations.
        precision: of the model's passes in the search, see `Attack.__call__`.
        channels_last: memory layout of the images in these passes.
        finished: what an earlier call of the same attack found of the first samples: they are not attacked again.
            As results do not depend on batches, the whole is as if it had never stopped. One pass holds them to
            these samples, labels, targets and this model; other hyper-parameters than the distance and the
            confidence cannot be told from a result. With trace=True, they must have their trace, too.
        on_batch: called with (sample numbers, result) after each batch. What it keeps is not lost when a later
            batch raises or is interrupted: joined by `minadv.result.concatenate`, it can be `finished`.
        on_progress: called before every step with the number of samples done, in fractions of a batch.

    Raises:
        ValueError: for no samples, for inputs, labels, targets or a finished part that do not fit, and for a
            device that cannot be used here.
        TypeError: for data that are neither a data set nor a pair of tensors, or what is no attack.
        MemoryError: when memory does not even suffice for one sample.
    """
    _check_options(attack, limit, batch_size)
    samples = paired(data)
    total = len(samples) if limit is None else min(len(samples), int(limit))
    if total < 1:
        raise ValueError("evaluate needs at least one sample, got none")
    wanted = classes_to_reach(targets, total, len(samples))
    check_samples(samples, wanted, total)
    size = int(batch_size or 0) or _first_batch_size(take(samples, range(1))[0])
    options = {"trace": trace, "precision": precision, "channels_last": channels_last}
    if finished is not None:
        finished = finished.to("cpu")
        resumed.check_attack(finished, attack, total, trace)
    results = [] if finished is None else [finished]
    before = done = len(finished or ())
    fill_up = True
    with _on_device(model, device) as where, _Bar(total, done, progress, on_progress) as bar:
        if finished is not None:
            resumed.check_samples(finished, model, samples, wanted, resolve(attack.distance), where, size)
        while done < total:
            numbers = range(done, min(done + size, total))
            with _explained(numbers, lost=0 if on_batch else done - before):
                inputs, labels = take(samples, numbers)
                goal = None if wanted is None else wanted[list(numbers)]
                run = partial(attack, model, fill_up=fill_up, on_step=bar.on_step(len(numbers)), **options)
                result = or_none(partial(_attacked, run, inputs, labels, goal, where))
                if result is None and len(numbers) == 1 and not fill_up:
                    raise MemoryError(f"not enough memory on {where} to attack even one sample at a time")
            if result is None:
                size, fill_up = max(len(numbers) // 2, 1), False
                logger.warning("out of memory: going on with batches of %d", size)
                continue
            results.append(result.to("cpu"))
            done += len(numbers)
            bar.finished(results)
            if on_batch is not None:
                on_batch(numbers, results[-1])
    return concatenate(results)


def _attacked(
    run: Callable[..., Result], inputs: Tensor, labels: Tensor, targets: Tensor | None, where: torch.device
) -> Result:
    """Attack one batch on a device."""
    goal = None if targets is None else targets.to(where)
    return run(inputs.to(where), labels.to(where), targets=goal)


def _check_options(attack: object, limit: int | None, batch_size: int | None) -> None:
    if not isinstance(attack, Attack):
        given = repr(attack) if isinstance(attack, str | type) else type(attack).__name__
        raise TypeError(
            "attack must be one with its hyper-parameters, e.g. minadv.Auto() or minadv.attacks.get('auto'), "
            f"got {given}"
        )
    for name, value in (("limit", limit), ("batch_size", batch_size)):
        satisfied = value is None or (whole(value) and value >= 1)
        require(name, value, satisfied, "None or a whole number ≥ 1")


@contextmanager
def _explained(numbers: Sequence[int], lost: int) -> Generator[None]:
    """Let errors name rows by their numbers in the data, and tell how many finished samples go with them."""
    try:
        yield
    except Exception as error:
        if isinstance(error, RowError):
            error.number(numbers)
        if lost:
            error.add_note(
                f"{lost} samples were finished before, and are lost: evaluate(..., on_batch=...) can keep each "
                "batch, and evaluate(..., finished=...) go on from there"
            )
        raise


def _first_batch_size(sample: Tensor) -> int:
    return max(1, min(LARGEST_BATCH, ENTRIES_PER_BATCH // sample.numel()))


@contextmanager
def _on_device(model: Model, device: torch.device | str | None) -> Generator[torch.device]:
    """Yield the device to compute on, with the model there; move it back afterwards."""
    away = home(model) if device is None else usable_device(device, "device={!r}")
    if device is not None and away.type == "meta":
        raise ValueError(
            "device='meta' holds no values, and a model that is moved there loses its own: try device='cpu'"
        )
    moved = [(network, home(network)) for network in networks(model) if home(network) != away]
    try:
        for network, _ in moved:
            network.to(away)
        yield away
    finally:
        for network, before in moved:
            network.to(before)


class _Bar:
    """Progress bar over samples, moving within a batch, with ASR and median so far."""

    def __init__(self, total: int, done: int, enabled: bool, on_progress: Callable[[float], None] | None) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f}%"),
            TextColumn("{task.fields[so_far]}", markup=False),  # labels hold brackets
            TimeRemainingColumn(),
        )
        # what the caller prints meanwhile stays on stdout, but for a terminal, where it would cut through the bar
        redirected = sys.stdout is not None and sys.stdout.isatty()
        self._progress = Progress(
            *columns, console=Console(stderr=True), redirect_stdout=redirected, disable=not enabled
        )
        self._task: TaskID = self._progress.add_task("attacking", total=total, completed=done, so_far="")
        self._done = done
        self._on_progress = on_progress

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def on_step(self, batch: int) -> Callable[[Step], None]:
        """Return a callback that moves the bar within a batch."""

        def update(step: Step) -> None:
            done = self._done + batch * step.index / step.steps
            self._progress.update(self._task, completed=done)
            if self._on_progress is not None:
                self._on_progress(done)

        return update

    def finished(self, results: list[Result]) -> None:
        """Show what is known after a batch."""
        self._done += len(results[-1])
        success = torch.cat([result.success for result in results])
        median = torch.cat([result.distances for result in results]).median().item()
        so_far = f"ASR {100 * success.double().mean().item():.1f} %, median {results[-1].distance} {median:.4g}"
        self._progress.update(self._task, completed=self._done, so_far=so_far)

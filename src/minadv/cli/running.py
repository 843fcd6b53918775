"""What `minadv attack` does, once the words are understood."""

import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import torch
from rich.table import Table
from rich.text import Text

import minadv
from minadv import hashes, hyper_parameters, measurement, run_folder
from minadv.bench import fingerprints
from minadv.bench.store import Store
from minadv.cli import console
from minadv.cli.own_code import own_code
from minadv.cli.request import Request, Work, passes, understood
from minadv.distances import resolve
from minadv.environment import environment
from minadv.report import pictures, summary
from minadv.report import write as write_report
from minadv.report.symbols import symbol
from minadv.result import Result
from minadv.unfinished import Unfinished, kept

PNG = "png"


def run(request: Request) -> None:
    """Attack, write the run folder, print a table.

    Raises:
        ValueError, TypeError, OSError, ImportError, MemoryError: for what cannot be done, saying why.
    """
    if Store(request.out).exists():
        raise ValueError(f"{request.out} holds a benchmark: choose another --out")
    # from the look at what is there until all is written, which may be hours later
    with run_folder.prepared(request.out), run_folder.alone(request.out):
        _run(request)


def _run(request: Request) -> None:
    # with batches that are kept, it was interrupted while it was written, or is about to be replaced
    if run_folder.exists(request.out) and not kept(request.out) and not request.overwrite:
        raise ValueError(
            f"{request.out} already holds a run: choose another --out, or add --overwrite to replace it"
        )
    if request.threads is not None:
        torch.set_num_threads(request.threads)
    say = console.Console(quiet=True) if request.quiet else console.out()
    with console.kept_warnings() as said:
        work = understood(request)
        unfinished = begun(work)
        say.print(Text(introduction(work)), soft_wrap=True)
        started = datetime.now(UTC)
        with own_code(request.model, request.distance, work.model, work.originals):
            result, seconds = attacked(work, unfinished, say, said)
            stored = recorded(work, result, started, seconds, said)
    pictures.remove_all(request.out / PNG)  # of a run that is replaced
    run_folder.write(request.out, stored)
    facts = summary.of(stored)
    if request.png:
        pictures.write_all(request.out / PNG, stored)
        if facts.survivors < facts.successes:
            console.warn(
                f"{facts.successes - facts.survivors} of {facts.successes} PNGs are not adversarial any "
                "more, rounding to 8 bits undid them: with --levels 256 all survive"
            )
    page = write_report(request.out)
    unfinished.forget()
    say.print(outcome(facts))
    if facts.doubt is not None and not request.quiet:
        console.warn(facts.doubt)
    say.print(Text(f"report: {page}"), soft_wrap=True)


def begun(work: Work) -> Unfinished:
    """Return where finished batches are kept, with those of the same run that was interrupted.

    Raises:
        ValueError: where batches of another run are that nobody has asked to replace.
    """
    request = work.request
    model, attack = fingerprints.of_module(work.model), fingerprints.of_attack(work.attack)
    samples = hashes.of_tensors(work.originals, work.labels)
    asked = f"{work.target} {request.trace} {passes(request)} {work.device.type}"
    unfinished = Unfinished(request.out, hashes.digest(model, attack, samples, asked), len(work.samples))
    if unfinished.of_another():
        if not request.overwrite:
            raise ValueError(
                f"{unfinished.folder} has what another run (other words, model, data or version) found before it "
                "was interrupted: repeat its command to go on, choose another --out, or start anew by --overwrite"
            )
        unfinished.forget()
    return unfinished


def attacked(work: Work, unfinished: Unfinished, say: console.Console, said: list[str]) -> tuple[Result, float]:
    """Attack what is not finished yet: return the whole result, and how many seconds it took in all.

    `said` is what was warned of so far; what was when finished samples were attacked comes to it.

    Raises:
        KeyboardInterrupt: with words on what is kept.
    """
    request = work.request
    finished, before, earlier = unfinished.found()
    said.extend(text for text in earlier if text not in said)
    done, clock, told = len(finished or ()), time.perf_counter(), len(said)
    if done:
        say.print(Text(f"{done} of {len(work.samples)} samples were finished before, and are kept", "bold"))

    def keep(numbers: Sequence[int], result: Result) -> None:
        nonlocal done, clock, told
        now = time.perf_counter()
        unfinished.keep(numbers, result, now - clock, said[told:])
        done, clock, told = done + len(numbers), now, len(said)

    began = clock
    try:
        result = minadv.evaluate(
            work.model,
            (work.originals, work.labels),
            work.attack,
            targets=work.target,
            batch_size=request.batch_size,
            device=work.device,
            progress=console.err().is_terminal and not request.quiet,
            trace=request.trace,
            precision=request.precision,
            channels_last=request.channels_last,
            finished=finished,
            on_batch=keep,
        )
    except KeyboardInterrupt as interrupt:
        safe = f"{done} of {len(work.samples)} samples are kept in {request.out}"
        again = f"{safe}, the same command goes on" if done else "no batch was finished, nothing is kept"
        raise KeyboardInterrupt(again) from interrupt
    return result, before + time.perf_counter() - began


def recorded(work: Work, result: Result, started: datetime, seconds: float, said: Sequence[str]) -> run_folder.Run:
    """Return what is stored of a run: how it was made, a row for each sample, and the images."""
    request, originals = work.request, work.originals
    survives = measurement.survive_8_bits(work.model, result.adversarials, work.labels, work.target, work.device)
    configuration = run_folder.Configuration(
        version=minadv.__version__,
        model=request.model,
        data=request.data,
        attack=type(work.attack).__name__,
        settings=hyper_parameters.as_plain(work.attack) | passes(request),
        distance=result.distance,
        confidence=result.confidence,
        target=work.target,
        classes=work.classes,
        dtype=str(originals.dtype).removeprefix("torch."),
        device=str(work.device),
        batch_size=request.batch_size,
        command=("minadv", *sys.argv[1:]),
        started=started.isoformat(timespec="seconds"),
        seconds=seconds,
        warnings=tuple(said),
        environment=environment(work.device),
    )
    rows = measurement.table(result, work.samples, work.labels, originals, survives)
    return run_folder.Run(configuration, rows, result.adversarials, originals, result.trace)


def introduction(work: Work) -> str:
    """One or two sentences about what is going to happen."""
    request = work.request
    goal = "" if work.target is None else f", targeted at class {_named(work.classes, work.target)}"
    skipped = f" ({work.left_out} of the target class left out)" if work.left_out else ""
    label, radius = symbol(resolve(work.attack.distance).name), work.attack.fixed_radius
    how = f"minimising {label}" if radius is None else f"in a ball of {label} radius {radius:.4g}"
    borrowed = (
        "\nLPIPS takes its features from the demo network here, which needs no weight file; its numbers "
        "cannot be compared with those of the usual trunks."
        if request.distance == "lpips" and label != symbol("lpips")
        else ""
    )
    samples = f"{len(work.samples)} samples of {request.data}{skipped}"
    what = f"{type(work.attack).__name__} on {request.model}, {samples}"
    return f"{what}, {how}{goal}{borrowed}"


def _named(classes: Sequence[str], label: int) -> str:
    return f"{classes[label]} (label {label})" if label < len(classes) else str(label)


def outcome(facts: summary.Summary) -> Table:
    """Return the numbers that the report opens with as a table for the terminal."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in facts.lines():
        table.add_row(Text(name, "bold"), Text(value))
    return table

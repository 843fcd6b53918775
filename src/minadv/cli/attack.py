"""`minadv attack`: attack a data set, write a run folder, say what was found."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from minadv.cli.console import one_line_errors, plain_warnings
from minadv.cli.options import SPEED, Debug, Device, Files, Quiet, Threads

MODEL, ATTACK, OUTPUT = "Model and data", "Attack", "Output"
DEMO_SAMPLES = 100


def attack(
    model: Annotated[
        str, typer.Option(help="Model spec; see [b]minadv list models[/].", rich_help_panel=MODEL)
    ] = "demo",
    data: Annotated[
        str, typer.Option(help="Data spec; see [b]minadv list data[/].", rich_help_panel=MODEL)
    ] = "demo",
    samples: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Attack the first N samples. [dim]default: all of them, {DEMO_SAMPLES} of the demo data[/]",
            show_default=False,
            rich_help_panel=MODEL,
            metavar="N",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help="Reach this class (number or name) instead of leaving the true one; "
            "samples that are of this class are left out.",
            rich_help_panel=MODEL,
            metavar="CLASS",
        ),
    ] = None,
    files: Files = None,
    attack: Annotated[
        str | None,
        typer.Option(
            help="See [b]minadv list attacks[/]. [dim]default: auto, and alma with --paper[/]",
            show_default=False,
            rich_help_panel=ATTACK,
        ),
    ] = None,
    distance: Annotated[
        str | None,
        typer.Option(
            help="What to minimise, as NAME, NAME:key=value,… or your own as python:MODULE:NAME; "
            "see [b]minadv list distances[/]. "
            "[dim]default: the attack's own, l2 for most[/]",
            show_default=False,
            rich_help_panel=ATTACK,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Length of the search; of auto, its budget. [dim]default: the attack's own[/]",
            show_default=False,
            rich_help_panel=ATTACK,
        ),
    ] = None,
    levels: Annotated[
        int | None,
        typer.Option(
            help="Only images on a grid of so many values are answers; those of 256 survive being saved. "
            "[dim]default: no grid; of percal, 256[/]",
            show_default=False,
            rich_help_panel=ATTACK,
        ),
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(
            help="How many logits beyond the boundary counts. [dim]default: the attack's own[/]",
            show_default=False,
            rich_help_panel=ATTACK,
        ),
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Most propagations (forwards plus backwards) per sample; of auto, most of each. "
            "[dim]default: no limit; of auto, 1000[/]",
            show_default=False,
            rich_help_panel=ATTACK,
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the attack's random numbers.", rich_help_panel=ATTACK)
    ] = None,
    paper: Annotated[
        bool,
        typer.Option("--paper", help="Exactly the settings of the paper's tables.", rich_help_panel=ATTACK),
    ] = False,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-p",
            help="Any other hyper-parameter, see [b]minadv list attacks NAME[/]; can be repeated.",
            rich_help_panel=ATTACK,
            metavar="KEY=VALUE",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to write the run to.", rich_help_panel=OUTPUT)] = Path(
        "runs/one"
    ),
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace the run that the folder holds.", rich_help_panel=OUTPUT),
    ] = False,
    png: Annotated[
        bool, typer.Option("--png", help="Write the adversarial images as PNGs too.", rich_help_panel=OUTPUT)
    ] = False,
    trace: Annotated[
        bool,
        typer.Option("--trace", help="Keep the best distance against propagations.", rich_help_panel=OUTPUT),
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Samples at a time; halved when memory runs out. [dim]default: by the images' size[/]",
            show_default=False,
            rich_help_panel=SPEED,
        ),
    ] = None,
    device: Device = "cpu",
    threads: Threads = None,
    precision: Annotated[
        Literal["float32", "bfloat16", "float16"] | None,
        typer.Option(
            help="Search in this precision, by automatic mixed precision; what is found is verified in float32. "
            "[dim]default: as the model is[/]",
            show_default=False,
            rich_help_panel=SPEED,
        ),
    ] = None,
    channels_last: Annotated[
        bool,
        typer.Option(
            "--channels-last", help="Search on images in channels-last memory layout.", rich_help_panel=SPEED
        ),
    ] = False,
) -> None:
    """Find the smallest perturbations that change a model's answers; write them to a folder with a report."""
    if attack is None:
        attack = "alma" if paper else "auto"
    with one_line_errors(debug), plain_warnings():
        from minadv import hyper_parameters
        from minadv.cli.request import Request
        from minadv.cli.running import run

        run(
            Request(
                model=model,
                data=data,
                samples=DEMO_SAMPLES if samples is None and data == "demo" else samples,
                target=target,
                attack=attack,
                distance=hyper_parameters.usual_distance(attack) if distance is None else distance,
                options={
                    "steps": steps,
                    "levels": levels,
                    "confidence": confidence,
                    "budget": budget,
                    "seed": seed,
                },
                assignments=tuple(assignments or ()),
                paper=paper,
                files=tuple(files or ()),
                out=out,
                overwrite=overwrite,
                png=png,
                trace=trace,
                quiet=quiet,
                batch_size=batch_size,
                device=device,
                threads=threads,
                precision=precision,
                channels_last=channels_last,
            )
        )

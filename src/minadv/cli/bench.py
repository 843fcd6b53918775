"""`minadv bench` and `minadv merge`: run what is missing of a suite, put folders together."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from minadv.cli.console import one_line_errors, plain_warnings
from minadv.cli.options import Debug, Device, Files, Quiet, Threads

WHAT, RUN = "What to run", "How"
EPILOG = (
    "Exit codes: 0 everything is finished; 1 something failed or is not available; 2 bad input; "
    "3 the folder cannot be written to; 130 interrupted."
)


class Engine(StrEnum):
    """Where shards are computed."""

    LOCAL = "local"
    RAY = "ray"


class Population(StrEnum):
    """Which samples statistics are over."""

    ALL = "all"
    CORRECT = "correct"


def bench(
    suite: Annotated[
        str, typer.Argument(help="Name of a suite (see [b]minadv list suites[/]) or a TOML file.", metavar="SUITE")
    ],
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Only rows whose model and attack have all of these words, e.g. 'alma l2 100'; can be repeated.",
            rich_help_panel=WHAT,
            metavar="WORDS",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most the first N samples.", rich_help_panel=WHAT, metavar="N")
    ] = None,
    population: Annotated[
        Population | None,
        typer.Option(
            help="Attack the first samples as they come, or the first that are classified correctly. "
            "[dim]default: the suite's[/]",
            show_default=False,
            rich_help_panel=WHAT,
        ),
    ] = None,
    files: Files = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the run. [dim]default: runs/bench-SUITE[/]", show_default=False, rich_help_panel=RUN
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would be computed and what it costs.", rich_help_panel=RUN),
    ] = False,
    shard_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Samples per shard. [dim]default: the suite's[/]",
            show_default=False,
            rich_help_panel=RUN,
            metavar="N",
        ),
    ] = None,
    trace: Annotated[
        bool,
        typer.Option(
            "--trace",
            help="Keep best distances against propagations, as trace = true does.",
            rich_help_panel=RUN,
        ),
    ] = False,
    diagnosis: Annotated[
        bool, typer.Option(help="Check the models first, as minadv diagnose does.", rich_help_panel=RUN)
    ] = True,
    report: Annotated[bool, typer.Option(help="Write the report afterwards.", rich_help_panel=RUN)] = True,
    engine: Annotated[
        Engine,
        typer.Option(
            help="Compute in this process, or on a Ray cluster (docs/benchmark.md).", rich_help_panel=RUN
        ),
    ] = Engine.LOCAL,
    device: Device = "cpu",
    threads: Threads = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Run a suite of models × attacks × data, or what is missing of it; finished work is never lost."""
    with one_line_errors(debug), plain_warnings():
        from minadv.bench.jobs import Options
        from minadv.cli import benchmarking

        request = benchmarking.Request(
            suite=suite,
            options=Options(
                only=tuple(only or ()),
                limit=limit,
                files=tuple(files or ()),
                population=None if population is None else population.value,
                shard_size=shard_size,
                trace=trace,
            ),
            out=out or Path("runs") / f"bench-{_stem(suite)}",
            dry_run=dry_run,
            diagnosis=diagnosis,
            report=report,
            engine=engine.value,
            device=device,
            threads=threads,
            quiet=quiet,
        )
        code = benchmarking.run(request)
        if code:
            raise typer.Exit(code)


def _stem(suite: str) -> str:
    return Path(suite).with_suffix("").as_posix().strip("/.").replace("/", "-")


def merge(
    source: Annotated[Path, typer.Argument(help="Run folder to take finished shards from.", metavar="FROM")],
    target: Annotated[
        Path, typer.Argument(help="Run folder to put them into; made when missing.", metavar="INTO")
    ],
    debug: Debug = False,
) -> None:
    """Copy what one benchmark folder has and another lacks; damaged shards are left behind."""
    with one_line_errors(debug):
        from minadv.bench.merging import merge as merge_folders
        from minadv.cli.console import out as console
        from minadv.cli.console import warn
        from minadv.errors import counted

        merged = merge_folders(source, target)
        for note in merged.damaged:
            warn(note)
        console().print(
            f"{counted(merged.copied, 'shard')} copied, {merged.there} were there already", soft_wrap=True
        )

"""Options that several commands have, written once."""

from pathlib import Path
from typing import Annotated

import typer

SPEED = "Speed"

Debug = Annotated[bool, typer.Option("--debug", help="Show errors with their traceback.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say only what goes wrong.")]
Files = Annotated[
    list[Path] | None,
    typer.Option(
        help="Folder in which weights and data files are looked for first; can be repeated. "
        "[dim]Then $MINADV_DATA (data), $MINADV_WEIGHTS, ./weights, ../shared/data, ~/.cache/minadv.[/]",
        metavar="DIR",
    ),
]
Device = Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1, mps, …", rich_help_panel=SPEED)]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1024,  # far beyond any use; torch crashes where the system gives no more
        help="CPU threads. [dim]default: torch's choice[/]",
        show_default=False,
        rich_help_panel=SPEED,
    ),
]

"""`minadv diagnose`: say what makes robustness results of a model doubtful."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from minadv.cli.console import FAILED, err, one_line_errors, out, plain_warnings
from minadv.cli.options import Debug, Files
from minadv.cli.own_code import own_code

if TYPE_CHECKING:
    from torch import nn

    from minadv.diagnosis import Diagnosis
    from minadv.diagnosis.finding import Finding

COLOURS = {"problem": "red", "warning": "yellow", "note": "cyan"}


def diagnose(
    model: Annotated[str, typer.Argument(help="Model spec; see [b]minadv list models[/].", metavar="MODEL")],
    data: Annotated[str, typer.Argument(help="Data spec; see [b]minadv list data[/].", metavar="DATA")],
    samples: Annotated[int, typer.Option(min=1, help="Look at the first N samples.", metavar="N")] = 32,
    steps: Annotated[
        int, typer.Option(min=1, help="Steps of the white-box attack; it also runs with 10 times as many.")
    ] = 100,
    transfer: Annotated[
        list[str] | None,
        typer.Option(help="Another model whose adversarials are tried; can be repeated.", metavar="SPEC"),
    ] = None,
    attack: Annotated[
        bool, typer.Option("--attack/--no-attack", help="Look for gradient masking by attacking, too.")
    ] = True,
    files: Files = None,
    json: Annotated[Path | None, typer.Option(help="Write checks, findings and distances to a file.")] = None,
    debug: Debug = False,
) -> None:
    """Look for what makes robustness results of a model doubtful: what was seen, why it matters, what to do.

    Exit code 0 without problems, 1 with one or a model that raises, 2 for bad input.
    """
    with one_line_errors(debug), plain_warnings():
        from minadv import data as datasets
        from minadv import models
        from minadv.bench import places
        from minadv.data.dataset import tell_of_one_class
        from minadv.diagnosis import diagnose as examine
        from minadv.files import prepare_file

        folders = tuple(files or ())
        if json is not None:
            prepare_file(json, "--json")
        source = datasets.load(places.data_spec(data, folders))
        tell_of_one_class(source, range(min(samples, len(source))))
        inputs, labels = source.tensors(samples)

        def loaded(spec: str) -> "nn.Module":
            with own_code(spec):
                return models.load(places.model_spec(spec, folders), files=folders)

        network, others = loaded(model), {spec: loaded(spec) for spec in transfer or ()}
        with _progress() as bar, own_code(model, network=network, images=inputs):
            task = bar.add_task("", total=1.0)
            done = examine(
                network,
                inputs,
                labels,
                name=model,
                transfer=others,
                steps=steps,
                attack=attack,
                progress=lambda what, share: bar.update(task, description=what, completed=share),
            )
        out().print(page(done, data))
        if json is not None:
            from minadv.diagnosis.document import write

            write(json, done, data)
            out().print(Text(f"wrote {json}"), soft_wrap=True)
        if done.problems:
            raise typer.Exit(FAILED)


def page(done: "Diagnosis", data: str) -> Group:
    """Return a line per check, then each finding, for the terminal."""
    head = f"{done.model}: {done.samples} samples of {data}, {done.correct} classified correctly"
    lines = [Text(head, "bold"), Text()]
    for check in done.checks:
        worst = next((s for s in COLOURS if any(finding.severity == s for finding in check.findings)), None)
        lines.append(Text.assemble((f"{worst or 'ok':<8}", COLOURS.get(worst or "", "green")), check.check))
    counts = {severity: sum(finding.severity == severity for finding in done.findings) for severity in COLOURS}
    told = (f"{count} {severity}{'s' * (count > 1)}" for severity, count in counts.items() if count)
    summary = Text(", ".join(told) or "nothing found", "bold")
    return Group(*lines, *(part for finding in done.findings for part in described(finding)), Text(), summary)


def described(finding: "Finding") -> tuple[Text | Padding, ...]:
    """Return one finding: what was seen, why it matters, what to do."""
    title = Text.assemble((finding.severity, f"bold {COLOURS[finding.severity]}"), (f"  {finding.check}", "bold"))
    facts = (("seen", finding.seen), ("why it matters", finding.matters), ("what to do", finding.remedy))
    body = (Padding(Text.assemble((f"{name}: ", "bold"), fact), (0, 0, 0, 2)) for name, fact in facts)
    return (Text(), title, *body)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.percentage:3.0f}%"))
    console = err()
    return Progress(
        *columns,
        console=console,
        transient=True,
        redirect_stdout=out().is_terminal,
        disable=not console.is_terminal,
    )

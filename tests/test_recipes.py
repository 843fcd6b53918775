"""The code of docs/recipes.md runs, in its order."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from minadv import cli, run_folder

PAGE = Path(__file__).parents[1] / "docs" / "recipes.md"


def test_every_recipe_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = PAGE.read_text(encoding="utf-8")
    (command,) = re.findall(r"```sh\nminadv (.*?)\n```", page)
    done = CliRunner().invoke(cli.app, shlex.split(command))
    assert done.exit_code == 0, done.output
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(blocks) == 11
    scope: dict[str, object] = {"__name__": "recipes"}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for block in blocks:
            exec(compile(block, str(PAGE), "exec"), scope)  # noqa: S102
    result = scope["result"]
    assert result.asr == 1  # type: ignore[attr-defined]
    columns = scope["rows"].columns  # type: ignore[attr-defined]
    explained = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", page, flags=re.MULTILINE)))
    assert columns[: len(run_folder.COLUMNS)] == list(run_folder.COLUMNS)
    assert sorted(explained) == sorted(columns)

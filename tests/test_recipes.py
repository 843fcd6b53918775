"""The code of docs/recipes.md runs, in its order."""

import re
from pathlib import Path

import torch

PAGE = Path(__file__).parents[1] / "docs" / "recipes.md"


def test_every_recipe_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 10
    scope: dict[str, object] = {"__name__": "recipes"}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for block in blocks:
            exec(compile(block, str(PAGE), "exec"), scope)  # noqa: S102
    result = scope["result"]
    assert result.asr == 1  # type: ignore[attr-defined]

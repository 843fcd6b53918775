"""Shapes and types are checked at run time in every test: the hook must come before minadv is imported."""

from pathlib import Path

import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

from tests import typechecker as typechecker  # the hook finds it by name

install_import_hook("minadv", "tests.typechecker.check")

# No timed tests on shared machines; the same examples every time.
settings.register_profile("minadv", deadline=None, derandomize=True)
settings.load_profile("minadv")

# Small tensors on a shared machine: threads would wait for one another longer than they work.
torch.set_num_threads(1)


@pytest.fixture
def as_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of four and eight, whose rows are counted or looked into: no CPU fills them up further."""
    monkeypatch.setattr("minadv.verification.fewest_rows", lambda: 1)


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory and a home without any weights."""
    here = tmp_path / "here" / "below"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.delenv("MINADV_WEIGHTS", raising=False)
    return here

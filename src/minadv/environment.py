"""What a run has to say about the machine and the code that computed it."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import torch

from minadv.run_folder import Environment


def environment(device: torch.device) -> Environment:
    """Describe this process."""
    return Environment(
        python=platform.python_version(),
        torch=torch.__version__,
        platform=platform.platform(),
        cpus=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        accelerator=torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        commit=commit(),
    )


def commit() -> str | None:
    """Return the git commit of a checkout that minadv runs from, marked when files were changed."""
    git = shutil.which("git")
    if git is None:
        return None
    here = Path(__file__)
    # an installed package may lie inside somebody else's checkout, whose commit would say nothing
    tracked = _run(git, "ls-files", "--error-unmatch", here.name, folder=here.parent)
    described = _run(git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*", folder=here.parent)
    return described if tracked else None


def _run(*command: str, folder: Path) -> str | None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 (fixed words)
    return done.stdout.strip() if done.returncode == 0 else None

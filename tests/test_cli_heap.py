"""The command line's heap: memory that is freed and taken again costs no page faults."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
from minadv.cli.heap import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "keep" else None
import torch

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        blocks = [torch.ones(2**23) for _ in range(4)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(kept, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_freed_memory_is_kept() -> None:
    def run(mode: str) -> list[str]:
        done = subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, check=True)
        return done.stdout.split()

    kept, few = run("keep")
    _, many = run("leave")
    assert kept == "True"
    assert int(few) < int(many) / 10

"""The heap during a search on a CPU: memory that one pass over the model has freed is kept for the next one.

glibc gives freed memory back to the system as soon as some megabytes are free at the end of the heap, and takes it
anew, page by page, in the next pass. On a CPU that can be a third of a pass, of any attack's time.
"""

import ctypes
import os
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache

import torch

# of malloc.h: what may be free at the end before it is given back, from what size on blocks are mapped on their
# own, and how many of them
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
NEVER = 2**31 - 1
# glibc adapts its thresholds to the largest block that was freed, up to these, and no more once they were set: so
# they are what a process that works with large tensors has come to by itself
AFTERWARDS = {MMAP_THRESHOLD: 2**25, TRIM_THRESHOLD: 2**26, MMAP_MAX: 2**16}


@contextmanager
def kept(device: torch.device) -> Generator[None]:
    """Inside, keep what is freed; then give it back, and go on by glibc's own rules (`AFTERWARDS`).

    Nothing happens for accelerators, with other C libraries, or where the environment has settings for glibc's
    heap (`MALLOC_TRIM_THRESHOLD_` and its kin, `GLIBC_TUNABLES`): these are the user's choice.
    """
    glibc = _glibc() if device.type == "cpu" and not _chosen() else None
    if glibc is None:
        yield
        return
    glibc.mallopt(TRIM_THRESHOLD, NEVER)
    glibc.mallopt(MMAP_MAX, 0)
    try:
        yield
    finally:
        for rule, value in AFTERWARDS.items():
            glibc.mallopt(rule, value)
        glibc.malloc_trim(AFTERWARDS[TRIM_THRESHOLD])


def _chosen() -> bool:
    own = any(name.startswith("MALLOC_") and name.endswith("_") for name in os.environ)
    return own or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")


@cache
def _glibc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows
        return None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None

"""The heap of our own process: memory that a pass has freed is kept for the next one.

glibc gives freed memory back to the system as soon as some megabytes are free at the end of the heap, and takes it
anew, page by page, in the next pass over the model. That can take a third of a pass on a CPU. A library has no
business with the allocator of its host; the command line is the host.
"""

import ctypes
from contextlib import suppress

# of malloc.h: what may be free at the end before it is given back, and how many blocks are mapped on their own
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell glibc to keep what is freed; return whether there is a glibc to be told."""
    with suppress(OSError, AttributeError, TypeError):  # other C libraries, other systems
        mallopt = ctypes.CDLL(None).mallopt
        return bool(mallopt(M_TRIM_THRESHOLD, NEVER)) and bool(mallopt(M_MMAP_MAX, 0))
    return False

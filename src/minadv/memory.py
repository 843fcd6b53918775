"""Running out of memory, which is no error where less at a time will do."""

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")


def ran_out(error: Exception) -> bool:
    """Whether an error says that memory ran out: on some devices it is of no type of its own."""
    text = str(error).lower()
    return (
        isinstance(error, MemoryError | torch.OutOfMemoryError)
        or "out of memory" in text
        or "can't allocate memory" in text
    )


def or_none(run: Callable[[], T]) -> T | None:
    """Return the result of `run`, or None, with its memory freed, when memory ran out."""
    try:
        return run()
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
    # outside the handler, so that the traceback no longer holds the batch's tensors
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None

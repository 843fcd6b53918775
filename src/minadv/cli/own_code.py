"""What a model or a distance of somebody's own raises: said in one line, with the place in their code."""

import traceback
from collections.abc import Generator
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

from minadv.cli.console import EXPECTED, OwnCodeError
from minadv.importing import PACKAGE, PREFIX, place_of

if TYPE_CHECKING:
    from torch import Tensor, nn


@contextmanager
def own_code(
    model: str, distance: str = "", network: "nn.Module | None" = None, images: "Tensor | None" = None
) -> Generator[None]:
    """Say of an error that it comes from the code behind a spec, if it does; others pass.

    Args:
        model: its spec.
        distance: its spec, where one is called as well.
        network: the model, where it is called, and not just loaded.
        images: on which.

    Raises:
        OwnCodeError: for what own code raises, with its innermost line.
        ValueError: for what a model raises without own code: it does not take these images.
    """
    try:
        yield
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        in_model = _in_model(frames)
        place = place_of(error)
        ours = in_model is None or in_model.filename.startswith(str(PACKAGE))
        if place is None and ours and (network is not None or isinstance(error, EXPECTED)):
            raise
        of_distance = in_model is None and distance.startswith(PREFIX)
        what = f"the distance {distance}" if of_distance else f"the model {model}"
        raised = f"{what} raised {type(error).__name__}: {error}"
        hint = "" if of_distance else _given(network, images)
        if place is None and network is not None:
            raise ValueError(f"{raised}{hint}") from error
        where = "--debug shows where" if place is None else f"at {place}; --debug shows the traceback"
        raise OwnCodeError(f"{raised} ({where}){hint}") from error


def _in_model(frames: traceback.StackSummary) -> traceback.FrameSummary | None:
    """Return the innermost frame of a call of the model; None for an error that did not come through one."""
    guard = str(PACKAGE / "guard.py")
    through = any(one.filename == guard != other.filename for one, other in pairwise(frames))
    return frames[-1] if through else None


def _given(network: "nn.Module | None", images: "Tensor | None") -> str:
    """Say what the model was given, and what may be wrong with it."""
    if network is None or images is None:
        return ""
    given = f"; it was given {images.dtype} images of {tuple(images.shape[1:])}"
    others = {weight.dtype for weight in network.parameters() if weight.is_floating_point()} - {images.dtype}
    if not others:
        return given
    weights = ", ".join(sorted(map(str, others)))
    return f"{given}, and its weights are {weights}: have it cast, e.g. with .to({images.dtype}) in its factory"

"""Data sets from specs: `load("demo")`, `load("npz:PATH")`, `load("torchvision:mnist")` and so on."""

from typing import TYPE_CHECKING, Any

from minadv.data.catalogue import Description, describe, names

if TYPE_CHECKING:
    from minadv.data.dataset import Data
    from minadv.data.loading import load

__all__ = ["Data", "Description", "describe", "load", "names"]


def __getattr__(name: str) -> Any:
    # torch is imported with the first data set, not with the list of their names
    if name == "load":
        from minadv.data.loading import load

        return load
    if name == "Data":
        from minadv.data.dataset import Data

        return Data
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Models from specs: `load("demo")`, `load("zoo:NAME")`, `load("torchvision:resnet50")` and so on."""

from typing import TYPE_CHECKING, Any

from minadv.models.catalogue import Description, describe, names

if TYPE_CHECKING:
    from minadv.models.loading import load
    from minadv.models.softened import Softened

__all__ = ["Description", "Softened", "describe", "load", "names"]


def __getattr__(name: str) -> Any:
    # torch is imported with the first model, not with the list of their names
    if name == "load":
        from minadv.models.loading import load

        return load
    if name == "Softened":
        from minadv.models.softened import Softened

        return Softened
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

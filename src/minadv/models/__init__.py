"""Models from specs: `load("demo")`, `load("zoo:NAME")`, `load("torchvision:resnet50")` and so on."""

from typing import TYPE_CHECKING, Any

from minadv.models.catalogue import Description, describe, names

if TYPE_CHECKING:
    from minadv.models.loading import load

__all__ = ["Description", "describe", "load", "names"]


def __getattr__(name: str) -> Any:
    # torch is imported with the first model, not with the list of their names
    if name == "load":
        from minadv.models.loading import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

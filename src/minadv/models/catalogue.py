"""What `minadv list models` shows. Importing this does not import torch."""

from dataclasses import dataclass
from pathlib import Path

from minadv.models import search, zoo


@dataclass(frozen=True)
class Description:
    """A model spec, what it gives, and where its weights were found (None: not on this machine)."""

    spec: str
    architecture: str
    training: str
    source: str
    weights: Path | None


def names() -> tuple[str, ...]:
    """List the specs of the models with a name: the embedded one and the zoo."""
    return ("demo", *(f"zoo:{name}" for name in zoo.ENTRIES))


def describe() -> tuple[Description, ...]:
    """Describe the models of `names`, looking for the weights of each."""
    demo = Description("demo", "demo", "plain, scripts/train_demo.py", "embedded", search.DEMO_WEIGHTS)
    entries = (
        Description(f"zoo:{name}", entry.architecture, entry.training, entry.source, search.find(name, entry))
        for name, entry in zoo.ENTRIES.items()
    )
    return (demo, *entries)

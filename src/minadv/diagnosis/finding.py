"""What a check says: plain facts, which a benchmark keeps in its folder as they are."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Finding(BaseModel):
    """Something about a model, or about how attacks fare on it, that makes results doubtful.

    Attributes:
        check: name of the check, e.g. "probabilities".
        severity: "problem" when results can be wrong, "warning" when they may be, "note" otherwise.
        model: what it was found on.
        seen, matters, remedy: what was observed (with numbers), why it matters, what to do.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    check: str
    severity: Literal["problem", "warning", "note"]
    model: str
    seen: str
    matters: str
    remedy: str

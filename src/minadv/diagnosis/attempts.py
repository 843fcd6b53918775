"""Checks that ran, and checks that failed: what a model raises is a finding, never the end of a diagnosis."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from minadv.diagnosis.finding import Finding

T = TypeVar("T")


@dataclass(frozen=True)
class Ran:
    """One check: its name, what it found, and whether it ran to its end."""

    check: str
    findings: tuple[Finding, ...] = ()
    finished: bool = True


def attempt(check: str, model: str, function: Callable[[], T]) -> T | Ran:
    """Return what the function returns, or, when it raises, the failed check with the error as its finding."""
    try:
        return function()
    except Exception as error:  # forward passes are somebody's code and can raise anything; Ctrl-C passes
        return Ran(check, (raised(check, model, error),), finished=False)


def raised(check: str, model: str, error: Exception) -> Finding:
    """Describe what a model raised during a check."""
    what = " ".join(str(error).split())
    return Finding(
        check=check,
        severity="problem",
        model=model,
        seen=f"the check ended with {type(error).__name__}{': ' if what else ''}{what}",
        matters="What this check looks for is unknown, and an attack may end the same way.",
        remedy="Call the model as the check does: on the same batch again, with inputs that need a gradient, and "
        "for batch dependence on single samples and on larger batches.",
    )

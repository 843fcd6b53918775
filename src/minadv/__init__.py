"""Minimal adversarial perturbations: the smallest change that makes a classifier wrong, under any distance.

    >>> import minadv
    >>> result = minadv.minimise(model, inputs, labels, distance="l2", budget=1000)
    >>> result.adversarials, result.success, result.distances

Everything is imported when it is first used, so that `import minadv` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minadv import attacks, data, diagnosis, distances, goals, losses, metrics, models, penalties
    from minadv.attacks import (
        ADMM,
        ALMA,
        APGD,
        CW,
        DDN,
        EAD,
        FAB,
        FMN,
        LPA,
        PDGD,
        PDPGD,
        PQP,
        Auto,
        DeepFool,
        MinimalAPGD,
        PerCAL,
        SigmaZero,
        StrAttack,
        SuperDeepFool,
        TrustRegion,
    )
    from minadv.attacks.base import Attack
    from minadv.attacks.minimise import minimise
    from minadv.diagnosis import diagnose
    from minadv.evaluation import evaluate
    from minadv.goals import Targeted, Untargeted
    from minadv.result import Result, Status

__version__ = "0.1.0"

__all__ = [
    "ADMM",
    "ALMA",
    "APGD",
    "CW",
    "DDN",
    "EAD",
    "FAB",
    "FMN",
    "LPA",
    "PDGD",
    "PDPGD",
    "PQP",
    "Attack",
    "Auto",
    "DeepFool",
    "MinimalAPGD",
    "PerCAL",
    "Result",
    "SigmaZero",
    "Status",
    "StrAttack",
    "SuperDeepFool",
    "Targeted",
    "TrustRegion",
    "Untargeted",
    "attacks",
    "data",
    "diagnose",
    "diagnosis",
    "distances",
    "evaluate",
    "goals",
    "losses",
    "metrics",
    "minimise",
    "models",
    "penalties",
]

_MODULES = ("attacks", "data", "diagnosis", "distances", "goals", "losses", "metrics", "models", "penalties")
_HOMES = {
    "Attack": "attacks.base",
    "Result": "result",
    "Status": "result",
    "Targeted": "goals",
    "Untargeted": "goals",
    "diagnose": "diagnosis",
    "evaluate": "evaluation",
    "minimise": "attacks.minimise",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"minadv.{name}")
    if name in _HOMES:
        return getattr(import_module(f"minadv.{_HOMES[name]}"), name)
    if name in __all__:  # what is left are attacks
        return getattr(import_module("minadv.attacks"), name)
    raise AttributeError(f"module 'minadv' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

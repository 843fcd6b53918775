"""Attacks by name, from `registry`; an attack's module is imported when it is used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from minadv.attacks.registry import REGISTRY, Card
from minadv.errors import unknown

if TYPE_CHECKING:
    from minadv.attacks.admm import ADMM as ADMM
    from minadv.attacks.alma import ALMA as ALMA
    from minadv.attacks.apgd import APGD as APGD
    from minadv.attacks.apgd import MinimalAPGD as MinimalAPGD
    from minadv.attacks.auto import Auto as Auto
    from minadv.attacks.base import Attack
    from minadv.attacks.cw import CW as CW
    from minadv.attacks.ddn import DDN as DDN
    from minadv.attacks.deepfool import DeepFool as DeepFool
    from minadv.attacks.deepfool import SuperDeepFool as SuperDeepFool
    from minadv.attacks.ead import EAD as EAD
    from minadv.attacks.fab import FAB as FAB
    from minadv.attacks.fmn import FMN as FMN
    from minadv.attacks.lpa import LPA as LPA
    from minadv.attacks.pdgd import PDGD as PDGD
    from minadv.attacks.pdgd import PDPGD as PDPGD
    from minadv.attacks.percal import PerCAL as PerCAL
    from minadv.attacks.pqp import PQP as PQP
    from minadv.attacks.sigma_zero import SigmaZero as SigmaZero
    from minadv.attacks.strattack import StrAttack as StrAttack
    from minadv.attacks.trust_region import TrustRegion as TrustRegion

__all__ = ["REGISTRY", "Card", "find", "get", "names"]


def names() -> tuple[str, ...]:
    """Return the names of all attacks."""
    return tuple(REGISTRY)


def find(name: str) -> "type[Attack]":
    """Return the attack class of that name.

    Raises:
        ValueError: for an unknown name, with the nearest known one.
    """
    if name not in REGISTRY:
        raise unknown("attack", name, REGISTRY)
    card = REGISTRY[name]
    return getattr(import_module(f"minadv.attacks.{card.module or name}"), card.attack)


def get(name: str, **hyper_parameters: Any) -> "Attack":
    """Return the attack of that name with the given hyper-parameters.

    Raises:
        ValueError: for an unknown name or hyper-parameter, with the nearest known one.
    """
    return find(name)(**hyper_parameters)


def __getattr__(name: str) -> Any:
    for module, card in REGISTRY.items():
        if card.attack == name:
            return find(module)
    raise AttributeError(f"module 'minadv.attacks' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *(card.attack for card in REGISTRY.values())])

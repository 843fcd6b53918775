"""Attacks by name. An attack joins by one line here; its module is imported when it is used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from minadv.errors import unknown

if TYPE_CHECKING:
    from minadv.attacks.alma import ALMA as ALMA
    from minadv.attacks.base import Attack

# name: (class, what it is in one line); the class lives in the module of that name
REGISTRY: dict[str, tuple[str, str]] = {
    "alma": ("ALMA", "augmented Lagrangian, any differentiable distance (Rony et al., ICCV 2021)"),
}


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
    return getattr(import_module(f"minadv.attacks.{name}"), REGISTRY[name][0])


def get(name: str, **hyper_parameters: Any) -> "Attack":
    """Return the attack of that name with the given hyper-parameters.

    Raises:
        ValueError: for an unknown name or hyper-parameter, with the nearest known one.
    """
    from dataclasses import fields

    attack = find(name)
    known = [field.name for field in fields(attack)]
    for parameter in hyper_parameters:
        if parameter not in known:
            raise unknown(f"hyper-parameter of {name}", parameter, known)
    return attack(**hyper_parameters)


def __getattr__(name: str) -> Any:
    for module, (attack, _) in REGISTRY.items():
        if attack == name:
            return getattr(import_module(f"minadv.attacks.{module}"), name)
    raise AttributeError(f"module 'minadv.attacks' has no attribute {name!r}")

"""Attacks of ours and of other packages, each called as its documentation has it, and what it claims.

`peers` calls the others as it suits measurements: seeded, without what is not the attack itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

import minadv


@dataclass(frozen=True)
class Answers:
    """What an attack returned, and which of it the package calls adversarial."""

    images: Tensor
    called: Tensor


Attack = Callable[[nn.Module, Tensor, Tensor], Answers]


def ours(attack: minadv.Attack) -> Attack:
    def run(model: nn.Module, x: Tensor, y: Tensor) -> Answers:
        result = attack(model, x, y)
        return Answers(result.adversarials, result.success)

    return run


def adv_lib(name: str, **settings: Any) -> Attack:
    """Call a function of adv-lib, which returns images alone: its examples classify them again."""

    def run(model: nn.Module, x: Tensor, y: Tensor) -> Answers:
        images = getattr(import_module("adv_lib.attacks"), name)(model, x, y, **settings)
        return Answers(images.detach(), wrong(model, images, y))

    return run


def foolbox(name: str, **settings: Any) -> Attack:
    def run(model: nn.Module, x: Tensor, y: Tensor) -> Answers:
        package = import_module("foolbox")
        wrapped = package.PyTorchModel(model, bounds=(0, 1), device="cpu")
        _, images, success = getattr(package.attacks, name)(**settings)(wrapped, x, y, epsilons=None)
        return Answers(images.detach(), success)

    return run


def torchattacks(name: str, **settings: Any) -> Attack:
    """Call an attack of torchattacks, which returns images alone: its examples classify them again."""

    def run(model: nn.Module, x: Tensor, y: Tensor) -> Answers:
        images = getattr(import_module("torchattacks"), name)(model, **settings)(x, y)
        return Answers(images.detach(), wrong(model, images, y))

    return run


def carlini_wagner(searches: int, steps: int) -> dict[str, Attack]:
    """C&W of every package; torchattacks has no search, and takes a weight of 10 as its examples do."""
    return {
        "minadv": ours(minadv.CW(distance="l2", searches=searches, steps=steps)),
        "adv-lib": adv_lib("carlini_wagner_l2", binary_search_steps=searches, max_iterations=steps),
        "foolbox": foolbox("L2CarliniWagnerAttack", binary_search_steps=searches, steps=steps),
        "torchattacks": torchattacks("CW", c=10, steps=searches * steps),
    }


def elastic_net(searches: int, steps: int) -> dict[str, Attack]:
    return {
        "minadv": ours(minadv.EAD(searches=searches, steps=steps)),
        "foolbox": foolbox("EADAttack", binary_search_steps=searches, steps=steps),
    }


def fast_minimum_norm(steps: int) -> dict[str, Attack]:
    return {
        "minadv": ours(minadv.FMN(distance="l2", steps=steps)),
        "adv-lib": adv_lib("fmn", norm=2, steps=steps),
        "foolbox": foolbox("L2FMNAttack", steps=steps),
    }


def decoupled(steps: int, levels: int | None) -> dict[str, Attack]:
    exact = {"foolbox": foolbox("DDNAttack", steps=steps)} if levels is None else {}
    return {
        "minadv": ours(minadv.DDN(steps=steps, levels=levels)),
        "adv-lib": adv_lib("ddn", steps=steps, levels=levels),
        **exact,
    }


def lagrangian(steps: int) -> dict[str, Attack]:
    return {
        "minadv": ours(minadv.ALMA(distance="l2", steps=steps)),
        "adv-lib": adv_lib("alma", distance="l2", num_steps=steps),
    }


def wrong(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return predictions(model, images) != labels


def predictions(model: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return model(images).argmax(dim=1)

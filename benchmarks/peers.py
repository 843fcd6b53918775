"""Attacks of other packages, as functions from a model, inputs and labels to perturbed inputs.

`pip install 'minadv[peers]'` brings the packages; they are imported when an attack runs, never before.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from operator import attrgetter
from typing import Any, Literal

import torch
from torch import Tensor, nn

Side = Literal["ours", "peer"]
MODULES = {"adv-lib": "adv_lib.attacks"}  # of packages that are imported by another name


class Counting(nn.Module):
    """A model that counts the rows that pass through it, forwards and backwards."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.forwards = self.backwards = 0
        self.train(model.training)

    def forward(self, x: Tensor) -> Tensor:
        self.forwards += len(x)
        x = x.view_as(x)  # a hook of its own: the caller may pass one leaf several times
        if x.requires_grad:
            x.register_hook(self._count)
        return self.model(x)

    def _count(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


@dataclass(frozen=True)
class Peer:
    """An attack of another package; two are equal when their package, name and settings are."""

    package: str
    settings: str
    run: Callable[[nn.Module, Tensor, Tensor], Tensor] = field(compare=False, repr=False)

    def load(self) -> None:
        """Import the package, which takes seconds that are not the attack's, and warns."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import_module(MODULES.get(self.package, self.package))

    @property
    def installed(self) -> str:
        return installed(self.package)

    def __call__(self, model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        """Run with a fixed seed; the packages' many warnings (deprecations, NaN) are not ours to show."""
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.run(model, inputs.clone(), labels.clone()).detach()


def there(package: str) -> bool:
    """Whether a package is installed."""
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def installed(package: str) -> str:
    """Package and version, or how to get it."""
    return (
        f"{package} {version(package)}" if there(package) else f"{package} not installed: make parity installs it"
    )


def adv_lib(name: str, **settings: Any) -> Peer:
    """Attack function of adv-lib; `name` may be dotted, from `adv_lib.attacks` on."""

    def run(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        attack = attrgetter(name)(import_module(MODULES["adv-lib"]))
        return attack(model, inputs, labels, **settings)

    return Peer("adv-lib", _call(name, settings), run)


def foolbox(name: str, **settings: Any) -> Peer:
    """Attack class of foolbox, without the final check of its wrapper, which costs a forward.

    Some return a black image for a failure, and a model may well misclassify it: it becomes the input.
    """

    def run(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        package = import_module("foolbox")
        attack = getattr(package.attacks, name)(**settings)
        wrapped = package.PyTorchModel(model, bounds=(0, 1), device=inputs.device)
        found = attack.run(wrapped, inputs, package.Misclassification(labels))
        black = (found == 0).flatten(1).all(dim=1)
        return torch.where(black.reshape(-1, *[1] * (inputs.ndim - 1)), inputs, found)

    return Peer("foolbox", _call(name, settings), run)


def torchattacks(name: str, method: str = "__call__", **settings: Any) -> Peer:
    """Attack class of torchattacks; `method` runs it, where its usual call does more than the attack."""

    def run(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        attack = getattr(import_module("torchattacks"), name)(model, **settings)
        return getattr(attack, method)(inputs, labels)

    return Peer("torchattacks", _call(name, settings), run)


def autoattack(norm: Literal["Linf", "L2"], radius: float) -> Peer:
    """AutoAttack's standard version within one radius, by its authors.

    torchattacks' class of that name is weaker: its APGD and FAB take 10 steps, these 100.
    """

    def run(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        attack = import_module("pyautoattack").AutoAttack(
            model, norm=norm, eps=radius, seed=0, device=inputs.device
        )
        images, *_ = attack.run_standard_evaluation(inputs, labels, batch_size=len(inputs))
        return images

    return Peer("pyautoattack", f"AutoAttack(norm={norm!r}, eps={radius!r})", run)


def _call(name: str, settings: dict[str, Any]) -> str:
    return f"{name.rpartition('.')[2]}({', '.join(f'{key}={value!r}' for key, value in settings.items())})"

"""The networks that are found in a model that is no module, and what an attack then leaves as it was."""

import copy
import functools
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

import minadv
from minadv.networks import home, networks
from tests.networks import images


def normalising() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(64, 5)
    model = nn.Sequential(*layers).train()
    model[1].eval()  # frozen by its user
    return model


MODEL = normalising()


class Holder:
    """A model that is a plain object."""

    def __init__(self, model: nn.Module) -> None:
        self.parts = {"network": [model], "itself": self, "other": nn.Identity}

    def __call__(self, x: Tensor) -> Tensor:
        return self.parts["network"][0](x)

    def predict(self, x: Tensor) -> Tensor:
        return self(x)


def by_global(x: Tensor) -> Tensor:
    return [MODEL(part) for part in (x,)][0]  # noqa: RUF015 a global in a scope of its own


def inside(model: nn.Module) -> dict[str, object]:
    def closure(x: Tensor, *, scale: float = 1.0) -> Tensor:
        return model(scale * x)

    return {
        "module": model,
        "closure": closure,
        "partial": functools.partial(closure, scale=0.5),
        "wrapped": functools.wraps(closure)(lambda x: closure(x)),
        "bound": model.forward,
        "object": Holder(model),
        "method": Holder(model).predict,
        "default": lambda x, net=model: net(x),
        "interactive": eval("lambda x: net(x)", {"net": model}),  # noqa: S307
    }


KINDS = tuple(inside(MODEL))


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_is_found(kind: str) -> None:
    model = normalising()
    assert networks(inside(model)[kind]) == [model]
    assert home(inside(model)[kind]) == torch.device("cpu")


def test_what_is_not_there_is_not_found() -> None:
    assert networks(by_global) == [MODEL]
    assert networks(lambda x: torch.nn.functional.relu(x)) == []
    assert networks(MODEL[0].forward) == [MODEL[0]]
    both = nn.ModuleList([normalising(), normalising()])
    assert networks(lambda x: both[0](x) + both(x) + normalising()(x)) == [both]
    assert home(torch.relu) == torch.device("cpu")


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_left_as_it_was(kind: str) -> None:
    """Attacked in evaluation mode, with a warning; flags, statistics and gradients are as before."""
    model, x = normalising(), images(4)
    model[0].requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [(module.training, [p.requires_grad for p in module.parameters()]) for module in model.modules()]
    with torch.no_grad(), warnings.catch_warnings():
        labels = model.eval()(x).argmax(dim=1)
        for module, (mode, _) in zip(model.modules(), modes, strict=True):
            module.training = mode
    with pytest.warns(UserWarning, match="training mode"):
        result = minadv.minimise(inside(model)[kind], x, labels, budget=20)
    assert result.asr == 1
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert modes == [
        (module.training, [p.requires_grad for p in module.parameters()]) for module in model.modules()
    ]
    assert all(p.grad is None for p in model.parameters())


def test_it_is_checked_as_a_module_is() -> None:
    model, x = normalising().eval().double(), images(4)
    labels = torch.zeros(4, dtype=torch.int64)
    with pytest.raises(TypeError, match=r"inputs are torch.float32 but the model is torch.float64"):
        minadv.minimise(lambda z: model(2 * z - 1), x, labels)
    findings = minadv.diagnose(lambda z: MODEL(z), x, labels, attack=False)
    assert any("BatchNorm" in str(f) or "training" in str(f) for f in findings.findings)


class Named(nn.Module):
    """A module that holds a function, which torch knows nothing of."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def test_networks_behind_functions_that_modules_hold_are_found() -> None:
    model = normalising()
    held = Named(lambda x: model(x))
    assert {id(one) for one in networks(nn.Sequential(nn.Flatten(), held))} >= {id(model)}
    assert id(model) in {id(one) for one in networks(Named(model.forward))}
    assert len(networks(Named(torch.relu))) == 1


def test_a_module_without_values_may_be_called_with_those_of_others() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 5)).eval()
    base, values = copy.deepcopy(model).to("meta"), dict(model.named_parameters())

    def called(x: Tensor) -> Tensor:
        return functional_call(base, values, (x,))

    x = images(4)
    y = model(x).argmax(dim=1)
    one, other = (minadv.minimise(each, x, y, budget=20) for each in (called, model))
    assert torch.equal(one.adversarials, other.adversarials)
    with pytest.raises(ValueError, match="the model's parameters on meta"):
        minadv.minimise(base, x, y, budget=20)

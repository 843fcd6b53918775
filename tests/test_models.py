import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torchvision.transforms.functional import normalize

from minadv import data, minimise, models
from minadv.models import search, weights, zoo
from minadv.models.architectures import BUILDERS
from minadv.models.architectures.demo import FEATURES
from minadv.models.specs import parse
from tests.shared import SHARED, needs_shared


@torch.no_grad()
def accuracy(model: nn.Module, images: data.Data) -> float:
    inputs, labels = images.tensors()
    predicted = torch.cat([model(batch).argmax(1) for batch in inputs.split(500)])
    return (predicted == labels).float().mean().item()


# --- trained models do what they were trained for ---


def test_demo_model_knows_the_demo_data() -> None:
    assert accuracy(models.load("demo"), data.load("demo")) >= 0.9


def test_demo_weights_are_small_and_its_features_are_named() -> None:
    assert search.DEMO_WEIGHTS.stat().st_size < 1_000_000
    model = models.load("demo")
    assert sum(weight.numel() for weight in model.parameters()) < 250_000
    for number, name in enumerate(FEATURES, start=1):
        assert isinstance(model.get_submodule(name), nn.ReLU)
        assert isinstance(model.get_submodule(f"conv{number}"), nn.Conv2d)


@needs_shared
@pytest.mark.parametrize(
    ("name", "images", "expected"),
    [
        # published by their authors: advertorch (all of MNIST), VNN-COMP 2021 (all of CIFAR-10)
        ("mnist_lenet5_std", "mnist_test", 0.9889),
        ("mnist_lenet5_linf_at", "mnist_test", 0.9864),
        ("cifar_resnet4b", "cifar10_test_1000", 0.7720),
        # no published figure: the one of ../shared/data/README.md, and what was measured on these images
        ("mnist_kw", "mnist_test", 0.981),
        ("cifar_cnn_a_adv", "cifar10_test_1000", 0.697),
    ],
)
def test_zoo_models_have_their_accuracy(
    monkeypatch: pytest.MonkeyPatch, name: str, images: str, expected: float
) -> None:
    monkeypatch.setenv("MINADV_WEIGHTS", str(SHARED))
    model = models.load(f"zoo:{name}")
    assert accuracy(model, data.load(f"npz:{SHARED / images}.npz")) == pytest.approx(expected, abs=0.005)


# --- every model is the same kind of thing ---


@pytest.mark.parametrize("architecture", [name for name in BUILDERS if name != "resnet50"])
def test_architectures_give_ten_logits(architecture: str) -> None:
    grey = architecture in ("lenet5", "mnist_convex", "smallcnn", "crown_ibp_large")
    model = models.load(f"file:{architecture}@random")
    logits = model(torch.rand(2, 1, 28, 28) if grey else torch.rand(2, 3, 32, 32))
    assert logits.shape == (2, 10)
    assert logits.dtype == torch.float32
    assert not model.training
    assert not any(weight.requires_grad for weight in model.parameters())


@pytest.mark.parametrize(("name", "size"), [("wrn28_10", 36_479_194), ("cifar_resnet50", 23_520_842)])
def test_large_architectures_have_their_published_size(name: str, size: int) -> None:
    with torch.device("meta"):
        network = BUILDERS[name]()
    assert sum(weight.numel() for weight in network.parameters()) == size


def test_normalisation_is_part_of_the_model() -> None:
    entry = zoo.ENTRIES["cifar_cnn_a_adv"]
    model = models.load("zoo:cifar_cnn_a_adv@random")
    inputs = torch.rand(2, 3, 32, 32)
    by_hand = model.get_submodule("network")(normalize(inputs, list(entry.mean or ()), list(entry.std or ())))
    assert torch.allclose(model(inputs), by_hand, atol=1e-6)


@pytest.mark.parametrize("spec", ["demo", "zoo:mnist_smallcnn@random", "torchvision:resnet18@random"])
def test_global_random_state_is_untouched(spec: str) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].tobytes()  # noqa: NPY002
    models.load(spec)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tobytes()  # noqa: NPY002


def test_random_models_are_always_the_same() -> None:
    torch.manual_seed(5)
    once = models.load("zoo:mnist_kw@random").state_dict()
    torch.manual_seed(6)
    again = models.load("zoo:mnist_kw@random").state_dict()
    assert all(torch.equal(value, again[name]) for name, value in once.items())


def test_device() -> None:
    assert next(models.load("demo", device="meta").parameters()).device.type == "meta"


# --- the user's own code ---

OWN = """
import torch
class Net(torch.nn.Linear):
    def __init__(self): super().__init__(4, 2)
def module(): return torch.nn.Sequential(torch.nn.Flatten(), Net())
def function(): return lambda inputs: inputs.flatten(1)[:, :2]
def number(): return 3
def fails(): raise KeyError("mine")
value = 5
itself = torch.nn.Flatten()
"""


TORCHSCRIPT = """
import torch

def network():
    layer = torch.nn.Linear(4, 3)
    layer.weight.data.copy_(torch.eye(3, 4))
    return torch.nn.Sequential(torch.nn.Flatten(), layer).eval()
def scripted(): return torch.jit.script(network())
def traced(): return torch.jit.trace(network(), torch.rand(1, 1, 2, 2))
def frozen(): return torch.jit.freeze(scripted())
"""


def test_python_factories(nowhere: Path) -> None:
    (nowhere / "own_models_a.py").write_text(OWN)
    paths = list(sys.path)
    module = models.load("python:own_models_a:module")
    assert module(torch.rand(3, 1, 2, 2)).shape == (3, 2)
    assert not module.training
    assert not any(weight.requires_grad for weight in module.parameters())
    assert models.load("python:own_models_a:function")(torch.rand(3, 1, 2, 2)).shape == (3, 2)
    assert models.load("python:own_models_a:itself")(torch.rand(3, 1, 1, 2)).shape == (3, 2)
    assert sys.path == paths
    for attribute, error, message in (
        ("modul", ValueError, "has no 'modul'; did you mean 'module'"),
        ("value", TypeError, r"value is 5 \(int\); needed is a function"),
        ("number", TypeError, r"number\(\) returned 3 \(int\); needed is an nn.Module or a callable"),
        ("fails", KeyError, "mine"),
    ):
        with pytest.raises(error, match=message):
            models.load(f"python:own_models_a:{attribute}")


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.parametrize("kind", ["scripted", "traced", "frozen"])
def test_python_factories_of_torchscript(kind: str, nowhere: Path) -> None:
    (nowhere / f"own_models_{kind}.py").write_text(TORCHSCRIPT)
    model, x = models.load(f"python:own_models_{kind}:{kind}"), torch.rand(3, 1, 2, 2)
    assert not any(weight.requires_grad for weight in model.parameters())
    labels = model(x).argmax(dim=1)
    result = minimise(model, x, labels, budget=30)
    assert result.success.all()
    assert (model(result.adversarials).argmax(dim=1) != labels).all()


def test_python_modules_that_cannot_be_imported(nowhere: Path) -> None:
    (nowhere / "own_models_b.py").write_text("import a_package_that_is_not_there")
    with pytest.raises(ValueError, match=rf"no module 'own_models_c' on the path, which begins with {nowhere}"):
        models.load("python:own_models_c.deep:factory")
    with pytest.raises(ModuleNotFoundError, match="a_package_that_is_not_there"):
        models.load("python:own_models_b:factory")


# --- specs and names ---


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("zo:mnist_kw", "unknown model spec 'zo'; did you mean 'zoo'"),
        ("zoo:mnist_kv", "unknown zoo model or architecture 'mnist_kv'; did you mean 'mnist_kw'"),
        ("zoo:", "zoo: needs a name; specs are demo, zoo:NAME"),
        ("zoo:mnist_kw@", "nothing follows the @"),
        ("demo:small", "demo takes no name"),
        ("zoo:demo", "the embedded network is demo"),
        ("file:lenet5", "needs a weight file after an @"),
        ("file:lenet6@x.pt", "unknown zoo model or architecture 'lenet6'; did you mean 'lenet5'"),
        ("python:module", "needs a module, a colon and the name of a factory"),
        ("hf:name@file", "only @random can follow it"),
        ("torchvision:resnet19", "unknown torchvision model 'resnet19'; did you mean"),
        (
            "torchvision:resnet18@IMAGENET",
            "weights for torchvision:resnet18 'IMAGENET'; did you mean 'IMAGENET1K_V1'",
        ),
        ("timm:resnet19", "unknown timm model 'resnet19'; did you mean"),
        ("robustbench:Standart", "did you mean 'Standard'"),
    ],
)
def test_wrong_specs(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        models.load(spec)


def test_a_spec_is_a_string() -> None:
    with pytest.raises(TypeError, match=r"spec must be a string, got \w*Path: demo, zoo:NAME"):
        parse(Path("demo"))


def test_weights_are_looked_for_in_one_folder_or_several() -> None:
    for files in ("folder", Path("folder"), ["folder"], (Path("folder"),)):
        assert parse("zoo:mnist_kw", files).first == (Path("folder"),)


def test_a_missing_weight_file_is_named(nowhere: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"no weight file x.pt .looked at {nowhere / 'x.pt'}"):
        models.load("zoo:mnist_kw@x.pt")


def test_listing_says_which_weights_are_there(nowhere: Path) -> None:
    weights = {description.spec: description.weights for description in models.describe()}
    assert tuple(weights) == models.names()
    assert weights.pop("demo") == search.DEMO_WEIGHTS
    assert set(weights.values()) == {None}
    assert {entry.architecture for entry in zoo.ENTRIES.values()} <= set(BUILDERS)


def test_listing_does_not_import_torch() -> None:
    code = "import sys, minadv.data, minadv.models as m; m.describe(); print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_demo_weights_are_those_of_the_architecture() -> None:
    assert weights.architectures_for(load_file(search.DEMO_WEIGHTS)) == ("demo",)


@pytest.mark.parametrize("name", ["smallcnn", "crown_ibp_large", "WRN-28-10", "resnet50"])
def test_architectures_have_names_too(name: str) -> None:
    assert isinstance(models.load(f"zoo:{name}@random"), nn.Module)
    with pytest.raises(ValueError, match="is an architecture: say which weights"):
        models.load(f"zoo:{name}")

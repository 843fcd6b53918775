import pickle
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from minadv import models
from minadv.bench import places
from minadv.models import search, weights, zoo
from minadv.models.architectures import BUILDERS
from minadv.models.architectures.wide import WideResNet
from tests.shared import SHARED, needs_shared


def lenet(path: Path, wrap: str) -> tuple[Path, dict[str, Tensor]]:
    """Save a random LeNet-5 the way some training script does."""
    state = {name: torch.rand_like(value) for name, value in BUILDERS["lenet5"]().state_dict().items()}
    robustness = {f"module.model.{name}": value for name, value in state.items()}
    robustness |= {f"module.attacker.model.{name}": value for name, value in state.items()}
    robustness |= {
        "module.normalizer.new_mean": torch.zeros(1, 1, 1),
        "module.attacker.normalize.new_std": torch.ones(1),
    }
    files = {
        "plain.pt": state,
        "nested.pth": {"state_dict": state, "epoch": 3},
        "parallel.pt": {"state_dict": {f"module.{name}": value for name, value in state.items()}},
        "robustness.pt": {"model": robustness, "optimizer": {"lr": 0.1}, "epoch": 3},
        "half.pt": {name: value.half() for name, value in state.items()},
    }
    torch.save(files[wrap], path / wrap)
    return path / wrap, state


@pytest.mark.parametrize("wrap", ["plain.pt", "nested.pth", "parallel.pt", "robustness.pt", "half.pt"])
def test_weights_load_from_whatever_they_were_saved_in(tmp_path: Path, wrap: str) -> None:
    path, state = lenet(tmp_path, wrap)
    loaded = models.load(f"file:lenet5@{path}").state_dict()
    assert list(loaded) == list(state)
    assert all(value.dtype == torch.float32 for value in loaded.values())
    assert all(torch.allclose(loaded[name], value, atol=1e-3) for name, value in state.items())


def test_wide_resnet_ignores_the_stage_that_never_runs() -> None:
    network = WideResNet(depth=10, width=1)
    state = {
        f"module.{name}": torch.rand_like(value) if value.ndim else value
        for name, value in network.state_dict().items()
    }
    extra = {key.replace("block1", "sub_block1"): value for key, value in state.items() if ".block1." in key}
    weights.fit(network, state | extra, "Carmon2019Unlabeled.pt")
    assert torch.equal(network.fc.weight, state["module.fc.weight"])


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, writer: str) -> None:
    path, target = tmp_path / "evil.pt", tmp_path / "ran"
    if writer == "torch":
        torch.save({"state_dict": Bomb(target)}, path)
    else:
        path.write_bytes(pickle.dumps(Bomb(target)))
    with pytest.raises(
        ValueError, match=r"evil\.pt is damaged or holds more than tensors.*if you trust it, convert"
    ):
        models.load(f"file:lenet5@{path}")
    assert not target.exists()


@pytest.mark.parametrize(
    "name", ["script.pt", "cut.pt", "cut.safetensors", "page.pt", "numbers.pt", "weights.bin", "itself.pt"]
)
def test_files_that_are_no_weights(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    whole, state = lenet(tmp_path, "plain.pt")
    messages = {
        "script.pt": "is a TorchScript program",
        "cut.pt": "is damaged",
        "cut.safetensors": "is no intact safetensors file",
        "page.pt": "is a web page, not weights",
        "numbers.pt": "holds no state dict",
        "weights.bin": "ends in '.bin'",
        "itself.pt": "holds no state dict",
    }
    if name == "cut.safetensors":
        save_file(state, path)
        path.write_bytes(path.read_bytes()[:-1000])
    elif name == "script.pt":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of newer versions of torch: tracing is deprecated
            torch.jit.trace(torch.nn.Flatten(), torch.zeros(1, 2)).save(str(path))
    elif name == "numbers.pt":
        torch.save([1, 2, 3], path)
    elif name == "itself.pt":
        loop: dict[str, object] = {}
        loop["model"] = loop
        torch.save(loop, path)
    else:
        path.write_bytes(b"<!DOCTYPE html><html>" if name == "page.pt" else whole.read_bytes()[:20_000])
    with pytest.raises(ValueError, match=f"{path}.* {messages[name]}|{path} {messages[name]}"):
        models.load(f"file:lenet5@{path}")


def test_weights_that_do_not_fit_say_how_and_what_would(tmp_path: Path) -> None:
    path, state = lenet(tmp_path, "nested.pth")
    with pytest.raises(
        ValueError,
        match=r"missing: 0\.weight.*unexpected: conv1\.weight.*and 4 more.*fit the architecture lenet5",
    ):
        models.load(f"file:mnist_convex@{path}")
    save_file(state | {"linear2.bias": torch.zeros(11)}, tmp_path / "wide.safetensors")
    with pytest.raises(
        ValueError, match=r"wrong shape: linear2\.bias is \(11,\), needed is \(10,\).*No architecture"
    ):
        models.load(f"file:lenet5@{tmp_path / 'wide.safetensors'}")
    save_file(state | {"linear2.bias": torch.full((10,), torch.nan)}, tmp_path / "nan.safetensors")
    with pytest.raises(ValueError, match=r"not finite in the network's precision: linear2\.bias\.$"):
        models.load(f"file:lenet5@{tmp_path / 'nan.safetensors'}")
    save_file(state | {"linear2.bias": torch.ones(10, dtype=torch.int8)}, tmp_path / "whole.safetensors")
    with pytest.raises(ValueError, match=r"not floating point: linear2\.bias is torch\.int8\.$"):
        models.load(f"file:lenet5@{tmp_path / 'whole.safetensors'}")


def test_missing_weights_say_what_to_get_and_where_it_was_looked_for(nowhere: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        models.load("zoo:mnist_smallcnn_ddn")
    for part in (
        "mnist_robust_ddn.pth",
        "zenodo.org/records/6549010",
        str(nowhere / "weights"),
        "MINADV_WEIGHTS",
    ):
        assert part in str(caught.value)


def test_weights_are_found_in_the_folders_in_order(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = zoo.ENTRIES["mnist_kw"]
    places = [
        nowhere / ".cache" / "minadv",
        nowhere.parent / "shared" / "data",
        nowhere / "weights",
        nowhere / "own",
    ]
    monkeypatch.setenv("MINADV_WEIGHTS", f"{nowhere / 'empty'}:{nowhere / 'own'}")
    for place in places:
        place.mkdir(parents=True)
        (place / "mnist_kw.safetensors").touch()
        found = search.find("mnist_kw", entry)
        assert found is not None
        assert found.resolve() == place / "mnist_kw.safetensors"


def test_a_file_with_the_official_name_and_another_content_is_used_with_a_warning(nowhere: Path):
    network = BUILDERS["mnist_convex"]()
    save_file(network.state_dict(), nowhere / "mnist_kw.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINADV_WEIGHTS", str(nowhere))
        with pytest.warns(UserWarning, match="not the official file of zoo:mnist_kw"):
            models.load("zoo:mnist_kw")
    models.load(
        f"zoo:mnist_kw@{nowhere / 'mnist_kw.safetensors'}"
    )  # a file of one's own is nobody else's business


def test_a_weight_file_without_a_folder_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    state = BUILDERS["lenet5"]().state_dict()
    save_file(state, tmp_path / "own.safetensors")
    with pytest.raises(FileNotFoundError, match=r"no weight file own\.safetensors"):
        models.load("file:lenet5@own.safetensors")
    for head in ("file:lenet5", "zoo:mnist_lenet5_std", "robustbench:Standard", "demo", "timm:a", "torchvision:b"):
        given = places.model_spec(f"{head}@own.safetensors", (tmp_path,))
        assert given == f"{head}@{tmp_path / 'own.safetensors'}"
        assert places.model_spec(f"{head}@random", (tmp_path,)) == f"{head}@random"
    monkeypatch.setenv("MINADV_WEIGHTS", str(tmp_path))
    found = models.load("file:lenet5@own.safetensors").state_dict()
    assert all(torch.equal(value, found[name]) for name, value in state.items())


@pytest.mark.parametrize("name", ["MNIST_LENET5_STD", "mnist-lenet5-std"])
def test_files_are_for_every_spelling_of_the_zoo(nowhere: Path, name: str) -> None:
    file = nowhere / "mnist_lenet5_std.safetensors"
    save_file({"0": torch.zeros(1)}, file)
    with pytest.warns(UserWarning, match="not the official file"):
        assert places.model_spec(f"zoo:{name}", (nowhere,)) == f"zoo:mnist_lenet5_std@{file}"


@pytest.mark.parametrize("spec", ["zoo:mnist_kw", "robustbench:Standard", "zoo:mnist_kw@own.pt", "demo@own.pt"])
def test_errors_list_the_folders_that_were_given(nowhere: Path, spec: str) -> None:
    given = (nowhere / "one", nowhere / "two")
    with pytest.raises(FileNotFoundError) as caught:
        models.load(places.model_spec(spec, given), files=given)
    assert all(str(folder) in str(caught.value) for folder in (*given, nowhere / "weights"))


def test_folders_are_looked_in_first(nowhere: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = models.load("zoo:mnist_lenet5_std@random").state_dict()
    folder = tmp_path / "given"
    folder.mkdir()
    inner = {name.partition(".")[2]: value for name, value in state.items() if name.startswith("1.")} or state
    save_file({name: value.contiguous() for name, value in inner.items()}, folder / "mnist_lenet5_std.safetensors")
    for given in ([folder], [str(folder)]):
        with pytest.warns(UserWarning, match="not the official file"):
            models.load("zoo:mnist_lenet5_std", files=given)


@pytest.mark.parametrize("prefix", weights.COMPILED)
def test_weights_of_compiled_networks_load(tmp_path: Path, prefix: str) -> None:
    state = BUILDERS["lenet5"]().state_dict()
    save_file({prefix + name: value for name, value in state.items()}, tmp_path / "compiled.safetensors")
    loaded = models.load(f"file:lenet5@{tmp_path / 'compiled.safetensors'}").state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in state.items())


def test_what_is_too_much_is_to_be_removed(tmp_path: Path) -> None:
    _, state = lenet(tmp_path, "plain.pt")
    save_file(state | {"fc.weight": torch.zeros(3, 3)}, tmp_path / "extra.safetensors")
    with pytest.raises(ValueError, match=r"unexpected: fc\.weight\. Remove these tensors from the file; python:"):
        models.load(f"file:lenet5@{tmp_path / 'extra.safetensors'}")


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("meta", r"not dense: linear2\.weight is a tensor without its numbers \(meta\)\.$"),
        ("sparse", r"not dense: linear2\.weight is a tensor torch\.float32 torch\.sparse_coo\.$"),
        ("quantised", r"not dense: linear2\.weight is a tensor torch\.qint8 torch\.strided\.$"),
        ("large", r"not finite in the network's precision: linear2\.weight\.$"),
    ],
)
def test_weights_that_are_no_numbers_of_the_network(tmp_path: Path, kind: str, message: str) -> None:
    _, state = lenet(tmp_path, "plain.pt")
    weight = state["linear2.weight"]
    changed = {
        "meta": lambda: weight.to("meta"),
        "sparse": weight.to_sparse,
        "quantised": lambda: torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8),
        "large": lambda: weight.double() * 1e300,
    }
    torch.save(state | {"linear2.weight": changed[kind]()}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=message):
        models.load(f"file:lenet5@{tmp_path / 'other.pt'}")


def saved_with(path: Path, architecture: str, **moments: list[float]) -> Path:
    """Save random weights and, per channel, a normalisation."""
    stored = {name.replace("__", "."): torch.tensor(value).view(-1, 1, 1) for name, value in moments.items()}
    torch.save(BUILDERS[architecture]().state_dict() | stored, path)
    return path


def test_another_normalisation_of_a_file_is_left_out_with_a_warning(tmp_path: Path) -> None:
    mean, std = list(zoo.CIFAR_MEAN), list(zoo.CIFAR_STD)
    other = {"normalizer__new_mean": [0.0], "normalizer__new_std": std}
    path = saved_with(tmp_path / "other.pt", "resnet4b", **other)
    with pytest.warns(
        UserWarning, match=r"not used: normalizer\.new_mean \(0\.0\); used is mean \(0\.4914, .*std"
    ):
        models.load(f"file:resnet4b@{path}")
    path = saved_with(tmp_path / "none.pt", "lenet5", mu=[0.1307], sigma=[0.3081])
    with pytest.warns(UserWarning, match=r"not used: mu \(0\.1307\), sigma \(0\.3081\); used is none"):
        models.load(f"file:lenet5@{path}")
    same = saved_with(tmp_path / "same.pt", "resnet4b", mu=mean, sigma=std)
    identity = saved_with(tmp_path / "identity.pt", "lenet5", normalize__mean=[0.0] * 3, normalize__std=[1.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        models.load(f"file:resnet4b@{same}")
        models.load(f"file:lenet5@{identity}")


@needs_shared
def test_public_files_load_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in (path.stem for path in SHARED.glob("*.safetensors")):
            models.load(f"zoo:{name}@{SHARED / name}.safetensors")

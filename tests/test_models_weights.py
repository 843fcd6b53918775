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
    with pytest.raises(ValueError, match=r"not finite: linear2\.bias\.$"):
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
    given = places.model_spec("file:lenet5@own.safetensors", (tmp_path,))
    assert given == f"file:lenet5@{tmp_path / 'own.safetensors'}"
    monkeypatch.setenv("MINADV_WEIGHTS", str(tmp_path))
    found = models.load("file:lenet5@own.safetensors").state_dict()
    assert all(torch.equal(value, found[name]) for name, value in state.items())

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import Tensor
from torchvision.transforms.functional import normalize

from minadv import models


def test_torchvision_reads_published_weights_from_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    random_model = models.load("torchvision:resnet18@random")
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    network = random_model.get_submodule("network")
    torch.save(network.state_dict(), tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth")
    inputs = torch.rand(1, 3, 64, 64)
    by_hand = network(normalize(inputs, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    for spec in ("torchvision:resnet18", "torchvision:resnet18@IMAGENET1K_V1"):
        assert torch.allclose(models.load(spec)(inputs), by_hand, atol=1e-4)


def test_torchvision_says_what_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    with pytest.raises(RuntimeError) as caught:
        models.load("torchvision:resnet18")
    url, file = (
        "https://download.pytorch.org/models/resnet18-f37072fd.pth",
        "hub/checkpoints/resnet18-f37072fd.pth",
    )
    for part in (url, str(tmp_path / file), "torchvision:resnet18@FILE"):
        assert part in str(caught.value)


@pytest.mark.parametrize("spec", ["torchvision:resnet18", "timm:resnet10t"])
def test_a_file_decides_the_number_of_classes(tmp_path: Path, spec: str) -> None:
    state = models.load(f"{spec}@random").get_submodule("network").state_dict()
    state |= {"fc.weight": torch.rand(7, 512), "fc.bias": torch.rand(7)}
    save_file(state, tmp_path / "seven.safetensors")
    model = models.load(f"{spec}@{tmp_path / 'seven.safetensors'}")
    assert model(torch.rand(1, 3, 64, 64)).shape == (1, 7)
    assert torch.equal(model.get_submodule("network.fc").bias, state["fc.bias"])


def test_a_file_is_looked_for_and_normalised_as_the_published_weights_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Preset:
        mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)

    state = models.load("torchvision:resnet18@random").get_submodule("network").state_dict()
    save_file(state, tmp_path / "own.safetensors")
    monkeypatch.setenv("MINADV_WEIGHTS", str(tmp_path))
    enum = torchvision.models.ResNet18_Weights
    monkeypatch.setattr(enum.DEFAULT, "_value_", replace(enum.DEFAULT.value, transforms=Preset))
    model = models.load("torchvision:resnet18@own.safetensors")
    assert model.get_buffer("normalise.mean").flatten().tolist() == pytest.approx(Preset.mean)
    assert model.get_buffer("normalise.std").flatten().tolist() == pytest.approx(Preset.std)


def test_timm_normalises_as_its_configuration_says() -> None:
    timm = pytest.importorskip("timm")
    name = "vit_tiny_patch16_224"  # mean and std 0.5
    config = timm.create_model(name).pretrained_cfg
    model = models.load(f"timm:{name}@random")
    inputs = torch.rand(1, 3, 224, 224)
    by_hand = model.get_submodule("network")(normalize(inputs, list(config["mean"]), list(config["std"])))
    assert config["mean"] == (0.5, 0.5, 0.5)
    assert torch.allclose(model(inputs), by_hand, atol=1e-5)


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny vision transformer as transformers saves it."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("vit")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.ViTConfig(image_size=32, patch_size=16, num_labels=4, **sizes)
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    processor = transformers.ViTImageProcessor(image_mean=[0.1, 0.2, 0.3], image_std=[0.4, 0.5, 0.6])
    processor.save_pretrained(folder)
    return folder


def test_hf_loads_a_folder_and_unwraps_its_logits(vit: Path) -> None:
    from transformers import ViTForImageClassification

    model = models.load(f"hf:{vit}")
    inputs = torch.rand(2, 3, 32, 32)
    by_hand = ViTForImageClassification.from_pretrained(vit)(normalize(inputs, [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]))
    assert isinstance(model(inputs), Tensor)
    assert torch.allclose(model(inputs), by_hand.logits, atol=1e-5)


def test_hf_at_random(vit: Path) -> None:
    assert models.load(f"hf:{vit}@random")(torch.rand(1, 3, 32, 32)).shape == (1, 4)
    assert models.load("hf:resnet@random")(torch.rand(1, 3, 64, 64)).ndim == 2
    # of a type with several classes
    assert models.load("hf:levit@random")(torch.rand(1, 3, 224, 224)).ndim == 2
    with pytest.raises(ValueError, match="did you mean 'vit'"):
        models.load("hf:vitt@random")


def test_hf_without_normalisation_is_an_error(vit: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((vit / name).read_bytes())
    with pytest.raises(ValueError, match="has no image processor"):
        models.load(f"hf:{tmp_path}")


def copied(vit: Path, folder: Path, file: str = "config.json", **changes: object) -> Path:
    """Copy the tiny model, with other settings in one of its files."""
    shutil.copytree(vit, folder, dirs_exist_ok=True)
    settings = json.loads((folder / file).read_text()) | changes
    (folder / file).write_text(json.dumps(settings))
    return folder


def test_hf_leaves_no_layer_random(vit: Path, tmp_path: Path) -> None:
    folder = copied(vit, tmp_path)
    state = load_file(vit / "model.safetensors")
    save_file(
        {name: value for name, value in state.items() if "classifier" not in name},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(ValueError, match=r"missing: classifier\.bias, classifier\.weight\. These layers would be"):
        models.load(f"hf:{folder}")
    names = {str(number): str(number) for number in range(7)}
    folder = copied(vit, tmp_path, id2label=names, label2id=names)
    with pytest.raises(ValueError, match=r"wrong shape: classifier\.bias is \(4,\), needed is \(7,\)"):
        models.load(f"hf:{folder}")


@pytest.mark.parametrize(
    "changes",
    [
        {"do_rescale": False},
        {"rescale_factor": 1 / 127.5},
        {"image_processor_type": "EfficientNetImageProcessor", "include_top": True},
        {"image_processor_type": "MobileViTImageProcessor", "do_flip_channel_order": True},
    ],
)
def test_hf_refuses_processors_that_do_more_than_normalise(
    vit: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    folder = copied(vit, tmp_path, "preprocessor_config.json", **changes)
    for spec in (f"hf:{folder}", f"hf:{folder}@random"):
        with pytest.raises(ValueError, match=r"Processor does more than .* with python:package\.module:factory"):
            models.load(spec)


@pytest.mark.parametrize("kind", ["ViT", "Bit", "CLIP", "ConvNext", "Deit", "Siglip", "Donut"])
@pytest.mark.parametrize("backend", ["", "Pil"])
def test_hf_takes_usual_processors(vit: Path, tmp_path: Path, kind: str, backend: str) -> None:
    name = f"{'DeiT' if kind == 'Deit' else kind}ImageProcessor{backend}"
    if not hasattr(pytest.importorskip("transformers"), name):
        pytest.skip(f"this version of transformers has no {name}")
    folder = copied(
        vit, tmp_path, "preprocessor_config.json", image_processor_type=name, image_mean=[0.1, 0.2, 0.3]
    )
    mean = models.load(f"hf:{folder}").get_buffer("normalise.mean")
    assert mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])


def test_hf_takes_one_number_for_all_channels(vit: Path, tmp_path: Path) -> None:
    folder = copied(vit, tmp_path, "preprocessor_config.json", image_mean=0.5, image_std=[0.25])
    model = models.load(f"hf:{folder}")
    assert model.get_buffer("normalise.mean").flatten().tolist() == [0.5] * 3
    assert model.get_buffer("normalise.std").flatten().tolist() == [0.25] * 3


@pytest.mark.parametrize("suffix", ["", "@random"])
def test_hf_runs_no_code_of_a_model(
    vit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: "yes")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "cache"))
    code = {"AutoConfig": "own.Config", "AutoModelForImageClassification": "own.Model"}
    folder = copied(vit, tmp_path / "own", model_type="own", auto_map=code)
    (folder / "own.py").write_text(f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n")
    with pytest.raises(ValueError, match="comes with code of its own, which is not run"):
        models.load(f"hf:{folder}{suffix}")
    folder = copied(
        vit,
        tmp_path / "processor",
        "preprocessor_config.json",
        image_processor_type="Own",
        auto_map={"AutoImageProcessor": "own.Processor"},
    )
    shutil.copy(tmp_path / "own" / "own.py", folder)
    with pytest.raises(ValueError, match=r"custom code.*python:package"):
        models.load(f"hf:{folder}{suffix}")
    assert not (tmp_path / "ran").exists()


def test_hf_says_what_a_folder_lacks(vit: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"cannot be loaded from that folder \(.*model_type") as refused:
        models.load(f"hf:{tmp_path}")
    assert "huggingface.co" not in str(refused.value)


@pytest.mark.parametrize("spec", ["timm:resnet10t", "hf:nobody/nothing"])
def test_hubs_out_of_reach(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spec: str) -> None:
    constants = pytest.importorskip("huggingface_hub").constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(RuntimeError, match=f"{spec} cannot be had from https://huggingface.co"):
        models.load(spec)


@pytest.mark.parametrize(("package", "extra"), [("timm", "timm"), ("transformers", "hf")])
def test_missing_packages_say_what_to_install(monkeypatch: pytest.MonkeyPatch, package: str, extra: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"'{package}': pip install 'minadv\[{extra}\]'"):
        models.load(f"{extra}:resnet18@random")

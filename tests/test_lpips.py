"""LPIPS against the lpips package, both with the same (random) trunk weights: none can be downloaded here."""

import warnings
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from minadv import distances
from tests.networks import convolutional, images

BUILDERS = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}


@pytest.fixture(scope="module")
def trunk_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Random trunks saved as torchvision saves its own: a plain state dict."""
    folder = tmp_path_factory.mktemp("trunks")
    files = {}
    for name, builder in BUILDERS.items():
        with torch.random.fork_rng():
            torch.manual_seed(1)
            network = getattr(torchvision.models, builder)(weights=None)
        state = {key: value for key, value in network.state_dict().items() if key.startswith("features.")}
        files[name] = folder / f"{builder}.pth"
        torch.save(state, files[name])
    return files


def by_the_package(name: str, file: Path, x: Tensor, x0: Tensor, learned: bool) -> Tensor:
    import lpips

    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")  # the package's own, of torchvision's old arguments
        package = lpips.LPIPS(net=name, pnet_rand=True, lpips=learned, verbose=False).eval()
    state = torch.load(file, weights_only=True)
    # the package cuts `features` into slices but keeps each layer's number as its name
    renamed = {key: state[f"features.{key.split('.', 1)[1]}"] for key in package.net.state_dict()}
    package.net.load_state_dict(renamed)
    with torch.no_grad():
        return package(x, x0, normalize=True).flatten()


@pytest.mark.parametrize("name", list(BUILDERS))
@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize("side", [32, 64])
def test_agrees_with_the_lpips_package(name: str, learned: bool, side: int, trunk_files: dict[str, Path]) -> None:
    x0, x = images(3, side=side), images(3, side=side, seed=5)
    near = (x0 + 0.1 * (x - 0.5)).clamp(0, 1)
    linear = "learned" if learned else "none"
    ours = distances.get("lpips", trunk=name, linear=linear, root=False, trunk_weights=trunk_files[name])
    for other in (x, near):
        expected = by_the_package(name, trunk_files[name], other, x0, learned)
        torch.testing.assert_close(ours(other, x0), expected, rtol=1e-5, atol=1e-5)
        root = distances.get("lpips", trunk=name, linear=linear, root=True, trunk_weights=trunk_files[name])
        torch.testing.assert_close(root(other, x0), expected.sqrt(), rtol=1e-4, atol=1e-5)


def test_the_papers_evaluation_weighs_before_subtracting(trunk_files: dict[str, Path]) -> None:
    """√(Σ_l mean (Σ_c w Δ)²), written out: channels cancel, so that it is below the weighted norm."""
    x0, x = images(2, side=64), images(2, side=64, seed=5)
    paper = distances.get("lpips", linear="paper", trunk_weights=trunk_files["alex"])
    assert isinstance(paper, distances.LPIPS)
    assert paper.name == "lpips[alex,paper]"
    total = torch.zeros(2)
    for f, f0, w in zip(paper.features(x), paper.features(x0), paper.weights or (), strict=True):
        total += ((f * w[:, None]).sum(dim=1) - (f0 * w[:, None]).sum(dim=1)).square().mean(dim=1)
    torch.testing.assert_close(paper(x, x0), total.sqrt())


def test_a_following_operation_in_place_does_not_reach_the_features() -> None:
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)).eval()
    x0, x = images(2), images(2, seed=5)
    expected = distances.get("lpips", trunk=plain, layers=["0"])(x, x0)
    plain[1] = nn.ReLU(inplace=True)
    torch.testing.assert_close(distances.get("lpips", trunk=plain, layers=["0"])(x, x0), expected)


def test_default_forms_and_labels(trunk_files: dict[str, Path]) -> None:
    file = trunk_files["alex"]
    assert distances.get("lpips", trunk_weights=file).name == "lpips[alex]"
    assert distances.get("lpips", linear="none", trunk_weights=file).name == "lpips[alex,none]"
    assert distances.get("lpips", root=True, trunk_weights=file).name == "lpips[alex,root]"
    assert distances.get("lpips:trunk=demo,root=false").name == "lpips[demo,none,squared]"
    assert distances.get("lpips:trunk=demo").name == "lpips[demo,none]"


def test_original_features_are_computed_once() -> None:
    network, calls = convolutional(), []
    network.register_forward_hook(lambda *_: calls.append(1))
    x0, x = images(2), images(2, seed=5)
    anchored = distances.get("lpips", trunk=network, layers=["1"]).anchored(x0)
    assert len(calls) == 1
    for _ in range(3):
        anchored(x)
    assert len(calls) == 4


@pytest.mark.parametrize("learned", [False, True])
def test_features_are_computed_on_the_device_of_the_images(learned: bool, trunk_files: dict[str, Path]) -> None:
    options = {"trunk": "alex", "trunk_weights": trunk_files["alex"]} if learned else {"trunk": "demo"}
    distance = distances.get("lpips", **options)
    assert isinstance(distance, distances.LPIPS)
    x0, x = images(2, side=64), images(2, side=64, seed=5)
    before = distance(x, x0)
    elsewhere = distance.anchored(x0.to("meta"))  # a device without values
    for _ in range(2):
        value, gradient = elsewhere.value_and_gradient(x.to("meta"))
        assert value.device == gradient.device == elsewhere.value(x.to("meta")).device == torch.device("meta")
    assert torch.equal(distance(x, x0), before)  # the trunk itself has stayed where it was


def test_a_trunk_is_copied_to_a_device_once(monkeypatch: pytest.MonkeyPatch) -> None:
    distance, moved, move = distances.get("lpips", trunk="demo"), [], nn.Module.to
    monkeypatch.setattr(nn.Module, "to", lambda *given: moved.append(given) or move(*given))
    with torch.inference_mode():
        first = distance.anchored(images(2, side=32).to("meta"))
    first.value_and_gradient(images(2, side=32, seed=5).to("meta"))
    assert len(moved) == 1


def test_grey_images_are_repeated_for_colour_trunks() -> None:
    demo = distances.get("lpips", trunk="demo")
    grey, other = images(2, channels=1, side=32), images(2, channels=1, side=32, seed=4)
    torch.testing.assert_close(demo(other, grey), demo(other.expand(-1, 3, -1, -1), grey.expand(-1, 3, -1, -1)))


def test_missing_files_say_what_to_download_and_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MINADV_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    with pytest.raises(
        FileNotFoundError, match=r"download https://download.*alexnet-owt.*put it in one of"
    ) as error:
        distances.get("lpips")
    assert str(tmp_path) in str(error.value)
    assert "trunk='demo'" in str(error.value)
    with pytest.raises(FileNotFoundError, match="no weight file"):
        distances.get("lpips", trunk_weights=tmp_path / "nothing.pth")


def test_wrong_files_and_options_are_explained(trunk_files: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match=r"not the weight file of torchvision's vgg16"):
        distances.get("lpips", trunk="vgg", trunk_weights=trunk_files["alex"])
    with pytest.raises(ValueError, match="does not hold the learned weights"):
        distances.get("lpips", trunk_weights=trunk_files["alex"], linear_weights=trunk_files["alex"])
    with pytest.raises(ValueError, match="unknown trunk 'alexnet'; did you mean 'alex'"):
        distances.get("lpips", trunk="alexnet")
    with pytest.raises(ValueError, match="layers must name the feature layers of the trunk; it has: 0, 1"):
        distances.get("lpips", trunk=convolutional())
    with pytest.raises(ValueError, match="unknown layer '9'"):
        distances.get("lpips", trunk=convolutional(), layers=["9"])
    with pytest.raises(ValueError, match="no learned weights for the trunk"):
        distances.get("lpips", trunk="demo", linear="learned")
    with pytest.raises(ValueError, match="too small for this trunk"):
        distances.get("lpips", trunk_weights=trunk_files["alex"])(images(1), images(1))


def test_a_module_stays_in_the_mode_it_was() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.5), nn.ReLU())
    network.train()
    distance = distances.get("lpips", trunk=network, layers=["2"])
    x0, x = images(2), images(2, seed=5)
    torch.testing.assert_close(distance(x, x0), distance(x, x0))
    assert network.training

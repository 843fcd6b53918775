"""Every distance through the same properties; each one's own ground truth is in its own file."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from minadv import distances
from minadv.distances import Distance, Lp
from tests.networks import convolutional, generator, images

SMOOTH = ["l2", "ssim", "ciede2000", "ciede2000:scale=paper"]
ALL = ["l0", "l1", *SMOOTH, "linf"]


def module_lpips() -> Distance:
    return distances.get("lpips", trunk=convolutional(), layers=["1", "3"])


def every() -> list[Distance]:
    return [*(distances.get(name) for name in ALL), module_lpips()]


def pair(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    x0 = images(3, dtype=dtype)
    return (x0 + 0.1 * (images(3, seed=7, dtype=dtype) - 0.5)).clamp(0, 1), x0


@pytest.mark.parametrize("distance", every(), ids=lambda d: d.name)
class TestEvery:
    def test_zero_at_the_original_and_positive_elsewhere(self, distance: Distance) -> None:
        x, x0 = pair()
        assert (distance(x0, x0).abs() <= 1e-12).all()
        assert (distance(x, x0) > 1e-6).all()
        assert distance(x, x0).shape == (3,)

    def test_anchored_agrees(self, distance: Distance) -> None:
        x, x0 = pair()
        anchored = distances.anchor(distance, x0)
        torch.testing.assert_close(anchored(x), distance(x, x0))
        torch.testing.assert_close(anchored.value_and_gradient(x)[0], distance(x, x0))

    def test_gradient_agrees_with_autograd_and_leaves_no_graph(self, distance: Distance) -> None:
        x, x0 = pair()
        leaf = x.clone().requires_grad_()
        (expected,) = torch.autograd.grad(distance(leaf, x0).sum(), leaf)
        value, gradient = distances.anchor(distance, x0).value_and_gradient(leaf)
        torch.testing.assert_close(gradient, expected)
        assert not value.requires_grad
        assert not gradient.requires_grad
        assert leaf.grad is None

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("colour", ["random", "black", "white", "grey"])
    def test_gradient_is_finite_at_and_near_the_original(
        self, distance: Distance, dtype: torch.dtype, colour: str
    ) -> None:
        level = {"black": 0.0, "white": 1.0, "grey": 0.5}
        x0 = (
            images(2, dtype=dtype)
            if colour == "random"
            else torch.full((2, 3, 16, 16), level[colour], dtype=dtype)
        )
        one = x0.clone()
        one[:, 0, 3, 4] = 0.25
        for x in (x0, (x0 + 1e-7).clamp(0, 1), (x0 - 1e-7).clamp(0, 1), one):
            value, gradient = distances.anchor(distance, x0).value_and_gradient(x)
            assert value.isfinite().all()
            assert gradient.isfinite().all()
            leaf = x.clone().requires_grad_()
            (autograd,) = torch.autograd.grad(distance(leaf, x0).sum(), leaf)
            assert autograd.isfinite().all()

    def test_rows_are_independent(self, distance: Distance) -> None:
        x, x0 = pair()
        alone = torch.cat([distance(x[i : i + 1], x0[i : i + 1]) for i in range(3)])
        torch.testing.assert_close(alone, distance(x, x0))


@pytest.mark.parametrize("distance", [*(distances.get(n) for n in SMOOTH), module_lpips()], ids=lambda d: d.name)
def test_gradients_match_finite_differences(distance: Distance) -> None:
    x, x0 = pair()
    if "lpips" in distance.name:
        distance.trunk.module.double()  # type: ignore[attr-defined]
    anchored = distances.anchor(distance, x0)
    _, gradient = anchored.value_and_gradient(x)
    for seed in range(5):
        direction = images(3, seed=seed + 20, dtype=torch.float64) - 0.5
        step = 1e-6
        difference = (anchored(x + step * direction) - anchored(x - step * direction)) / (2 * step)
        torch.testing.assert_close((gradient * direction).flatten(1).sum(dim=1), difference, rtol=1e-4, atol=1e-8)


@given(st.integers(0, 1000), st.sampled_from([0, 1, 2, float("inf")]))
def test_lp_is_the_vector_norm(seed: int, p: float) -> None:
    x, x0 = images(2, 1, 4, seed), images(2, 1, 4, seed + 1)
    x[:, :, 0] = x0[:, :, 0]
    expected = torch.linalg.vector_norm((x - x0).flatten(1), ord=p, dim=1)
    torch.testing.assert_close(Lp(p)(x, x0), expected)
    assert Lp(p).name == {0: "l0", 1: "l1", 2: "l2"}.get(p, "linf")


def test_lp_takes_any_shape_and_image_distances_say_what_they_need() -> None:
    vectors = torch.rand(4, 10)
    assert distances.get("l2")(vectors, vectors * 0.5).shape == (4,)
    for name in ("ssim", "ciede2000"):
        with pytest.raises(ValueError, match=r"images .*width\), got shape \(batch, 10\)"):
            distances.get(name)(vectors, vectors)


def test_grey_images() -> None:
    grey = images(2, channels=1)
    for name in ("l0", "l1", "l2", "linf", "ssim"):
        assert distances.get(name)(grey * 0.9, grey).shape == (2,)
    with pytest.raises(ValueError, match="needs 3 channels, got 1: for grey images use"):
        distances.get("ciede2000")(grey, grey)


def test_unknown_names_and_options_are_explained() -> None:
    with pytest.raises(ValueError, match="unknown distance 'ssmi'; did you mean 'ssim'"):
        distances.get("ssmi")
    with pytest.raises(ValueError, match="unknown option of distance l2 'scale'"):
        distances.get("l2", scale="paper")
    with pytest.raises(ValueError, match="scale must be 'correct' or 'paper', got 'big'"):
        distances.get("ciede2000:scale=big")
    with pytest.raises(ValueError, match="key=value, got 'paper'"):
        distances.get("ciede2000:paper")
    with pytest.raises(TypeError, match="distance must be a name"):
        distances.resolve(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("distance", every(), ids=lambda distance: distance.name)
def test_images_of_two_dtypes_are_refused(distance: Distance) -> None:
    x, x0 = pair()
    with pytest.raises(
        TypeError, match=r"of one dtype, got torch.float64 and torch.float32: .* \.to\(torch.float64\)"
    ):
        distance(x, x0.float())


def test_the_family_of_a_name_needs_no_weights(nowhere: Path) -> None:
    assert distances.family("lpips") == distances.family("lpips:trunk=vgg") == "lpips"
    with pytest.raises(FileNotFoundError):
        distances.resolve("lpips:trunk=vgg,linear=none")
    with pytest.raises(ValueError, match="unknown distance 'lp'"):
        distances.family("lp")


def test_a_function_is_a_distance() -> None:
    def halved(x: Tensor, x0: Tensor) -> Tensor:
        return (x - x0).flatten(1).norm(dim=1) / 2

    x, x0 = pair()
    distance = distances.resolve(halved)
    assert distance.name == "halved"
    torch.testing.assert_close(distance(x, x0), Lp(2)(x, x0) / 2)
    value, gradient = distances.anchor(distance, x0).value_and_gradient(x)
    torch.testing.assert_close(gradient, Lp(2).anchored(x0).value_and_gradient(x)[1] / 2)
    assert not value.requires_grad


OWN = """
from minadv.distances import Lp
def blocks(x, x0): return (x - x0).flatten(1).abs().mean(dim=1)
def l2(x, x0): return blocks(x, x0)
quarter, number = Lp(2), 3
class Kind: pass
"""


def test_own_distances_by_name(nowhere: Path) -> None:
    (nowhere / "own_distances.py").write_text(OWN)
    x, x0 = pair()
    own = distances.resolve("python:own_distances:blocks")
    assert own.name == "blocks"
    assert distances.family("python:own_distances:blocks") == ""
    torch.testing.assert_close(own(x, x0), Lp(1)(x, x0) / x0[0].numel())
    for text, error, message in (
        ("own_distances:block", ValueError, "has no 'block'; did you mean 'blocks'"),
        ("not_there:blocks", ValueError, "no module 'not_there' on the path, which begins with"),
        ("own_distances", ValueError, "needed is python:package.module:name"),
        ("own_distances:l2", ValueError, "is called 'l2', as one of this library is"),
        ("own_distances:quarter", ValueError, "is called 'l2'"),
        ("own_distances:number", TypeError, r"is 3 \(int\); needed is a Distance or a function"),
        ("own_distances:Kind", TypeError, "needed is a Distance or a function"),
    ):
        with pytest.raises(error, match=message):
            distances.get(f"python:{text}")
    with pytest.raises(ValueError, match="takes no options, got scale"):
        distances.get("python:own_distances:blocks", scale=2)


def test_gradients_that_are_none_count_as_0() -> None:
    """√Σδ² has no gradient at the original, and 0/0 is what autograd makes of it."""

    def root(x: Tensor, x0: Tensor) -> Tensor:
        return (x - x0).square().flatten(1).sum(dim=1).sqrt()

    _, x0 = pair()
    anchored = distances.anchor(distances.resolve(root), x0)
    assert (anchored.value_and_gradient(x0)[1] == 0).all()


def test_an_own_distance_is_differentiated_in_parts() -> None:
    """Rows of a batch too large for one part: as each alone, and as by autograd at once."""
    x, x0 = (torch.rand(210, 3, 32, 32, generator=generator(seed)) for seed in (1, 2))

    def own(x: Tensor, x0: Tensor) -> Tensor:
        return (x - x0).diff(dim=-1).square().flatten(1).sum(dim=1)

    seen: list[int] = []
    counted = distances.resolve(lambda x, x0: seen.append(len(x)) or own(x, x0))
    value, gradient = counted.anchored(x0).value_and_gradient(x)
    assert seen == [72, 72, 66]
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(own(leaf, x0).sum(), leaf)
    torch.testing.assert_close(value, own(x, x0))
    torch.testing.assert_close(gradient, expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["ssim", "ciede2000", "lpips:trunk=demo"])
def test_distances_of_images_in_the_box_say_where_others_are_given(name: str) -> None:
    x, x0 = torch.rand(2, 2, 3, 32, 32)
    distance = distances.get(name)
    with pytest.raises(ValueError, match=r"in \[0, 1\], got values up to .*: divide by 255"):
        distance(255 * x, 255 * x0)
    assert distance(1.01 * x, x0).isfinite().all()


@pytest.mark.parametrize("name", ["ciede2000", "lpips:trunk=demo"])
def test_a_gradient_that_is_not_there_is_said(name: str) -> None:
    x, x0 = torch.rand(2, 2, 3, 32, 32)
    with pytest.raises(ValueError, match="gradient to its first argument alone"):
        distances.get(name)(x, x0.requires_grad_())
    with torch.no_grad():
        assert distances.get(name)(x, x0).isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trunk_weights": "missing.pth"}, "trunk_weights are of"),
        ({"linear_weights": "missing.pth"}, "linear_weights are of"),
        ({"layers": ["nothing"]}, "unknown layer 'nothing'"),
        ({"linear": "paper"}, "no learned weights for the trunk 'demo'"),
    ],
)
def test_options_of_lpips_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        distances.get("lpips", **{"trunk": "demo", "linear": "none"} | options)

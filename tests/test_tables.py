"""The rows of the paper's tables: names, steps, settings, and the counts that the tables print."""

import pytest

from minadv import ALMA, CW, EAD, FAB, FMN, MinimalAPGD, PerCAL
from minadv.attacks.tables import rows
from minadv.distances import resolve
from tests.networks import convolutional, images, predictions


def test_rows_of_the_tables() -> None:
    assert list(rows("l1")) == [
        "EAD 9×100", "EAD 9×1000", "FAB ℓ1 100", "FAB ℓ1 1000", "FMN ℓ1 100", "FMN ℓ1 1000", "ALMA ℓ1 100",
        "ALMA ℓ1 1000",
    ]  # fmt: skip
    assert list(rows("l2", "imagenet")) == [
        "C&W ℓ2 9×1000", "C&W ℓ2 9×10000", "DDN 100", "DDN 1000", "FAB^T ℓ2 100", "FAB^T ℓ2 1000", "FMN ℓ2 100",
        "FMN ℓ2 1000", "APGD^T ℓ2", "ALMA ℓ2 100", "ALMA ℓ2 1000",
    ]  # fmt: skip
    assert list(rows("ssim")) == ["ALMA SSIM 100", "ALMA SSIM 1000"]
    assert list(rows("lpips:trunk=demo")) == ["C&W LPIPS 9×1000", "LPA", "ALMA LPIPS 100", "ALMA LPIPS 1000"]
    with pytest.raises(ValueError, match="tables for l1, l2, ssim, ciede2000, lpips, got 'linf'"):
        rows("linf")


def test_settings_of_the_rows() -> None:
    l1, l2 = rows("l1", seed=3), rows("l2", "mnist")
    assert l1["EAD 9×100"] == EAD(steps=100, rule="en", compat="batch", patience=1, seed=3)
    assert l1["FMN ℓ1 1000"] == FMN(distance="l1", steps=1000, in_box=False, overshoot=1.0, seed=3)
    assert l1["ALMA ℓ1 100"] == ALMA.paper("l1", 100, seed=3)
    assert l2["C&W ℓ2 9×10000"] == CW(steps=10000, compat="batch", shrink=1e-6)
    assert l2["DDN 100"].levels == 256
    assert l2["APGD^T ℓ2"] == MinimalAPGD(largest=5.0, bisections=13, target_loss="target")
    # the table's radii are of ℓ2; other norms are searched as far as the box goes
    assert MinimalAPGD.paper("l1", data="mnist") == MinimalAPGD(distance="l1", bisections=13, target_loss="target")
    assert rows("l2", "imagenet")["FAB^T ℓ2 1000"] == FAB(steps=1000, n_targets=9)
    colours = rows("ciede2000")
    assert isinstance(colours["PerC-AL 100"], PerCAL)
    # PerC-AL descends colours on their true scale, as its authors do
    scales = {row: resolve(attack.distance).name for row, attack in colours.items()}
    assert scales.pop("PerC-AL 100") == scales.pop("PerC-AL 1000") == "ciede2000"
    assert set(scales.values()) == {"ciede2000[paper]"}


@pytest.mark.parametrize(
    ("distance", "data", "row", "counts"),
    [
        ("l1", "cifar10", "FAB ℓ1 100", (201, 1000)),
        ("l2", "imagenet", "FAB^T ℓ2 100", (1810, 900)),
        ("ciede2000", "cifar10", "PerC-AL 100", (201, 100)),
        ("l2", "cifar10", "DDN 100", (100, 100)),
        ("l2", "mnist", "FMN ℓ2 100", (100, 100)),
        ("ssim", "cifar10", "ALMA SSIM 100", (100, 100)),
    ],
)
def test_counts_of_the_tables(distance: str, data: str, row: str, counts: tuple[int, int]) -> None:
    model, x = convolutional(classes=10), images(4)
    result = rows(distance, data)[row](model, x, predictions(model, x))
    assert {(int(f), int(b)) for f, b in zip(result.forwards, result.backwards, strict=True)} == {counts}


def test_minimal_apgd_counts_two_forwards_more_for_each_radius() -> None:
    model, x = convolutional(classes=10), images(4)
    result = rows("l2")["APGD^T ℓ2"](model, x, predictions(model, x))
    assert (result.forwards - result.backwards == 24).all()

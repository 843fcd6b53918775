"""LPIPS in a benchmark: measured where AlexNet's weights are and images are large enough."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import torchvision
from torch import nn

from minadv import distances
from minadv.bench import finished, reading, rows, suite
from minadv.bench.jobs import Options
from minadv.bench.planning import plan
from tests import benches
from tests.networks import images, predictions

CLASSES = 5
MODELS = ({"spec": "python:tests.test_bench_lpips:network", "name": "net"},)


def network() -> nn.Module:
    """For images of any size."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = (
            nn.Conv2d(3, 8, 3, stride=2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(32, CLASSES),
        )
    return nn.Sequential(*layers).eval()


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Random weights where those of AlexNet are looked for."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        alexnet = torchvision.models.alexnet(weights=None)
    file = tmp_path / "alexnet-owt-7be5be79.pth"
    torch.save(alexnet.state_dict(), file)
    monkeypatch.setenv("MINADV_WEIGHTS", str(tmp_path))
    rows.perceptual.cache_clear()
    yield file
    rows.perceptual.cache_clear()


def measured(folder: Path, side: int) -> pl.DataFrame:
    """The rows of a benchmark with images of that size."""
    stored = (images(4, side=side) * 255).round() / 255
    data, out = folder / "images.npz", folder / "out"
    np.savez(data, images=stored.permute(0, 2, 3, 1).numpy(), labels=predictions(network(), stored).numpy())
    done = benches.bench(benches.write_suite(folder, data, models=MODELS), out)
    assert done.exit_code == 0, done.output
    return reading.read(out).rows


def test_lpips_is_measured_in_both_forms(weights: Path, tmp_path: Path):
    found = measured(tmp_path, 32)
    stored = benches.tensors(tmp_path / "out")
    pairs = [stored[cell, sample] for cell, sample in found.select("cell", "sample").iter_rows()]
    x0, x = (torch.stack(images).double() for images in zip(*pairs, strict=True))
    for column, linear in (("lpips", "learned"), ("lpips_paper", "paper")):
        expected = distances.get("lpips", linear=linear)(x, x0).numpy()
        np.testing.assert_allclose(found[column].to_numpy(), np.where(found["success"], expected, np.inf))


def test_images_that_are_too_small_for_it_have_none(weights: Path, tmp_path: Path):
    found = measured(tmp_path, 16)
    assert found.select("lpips", "lpips_paper").null_count().row(0) == (4, 4)
    assert found["success"].any()


def test_weights_that_cannot_be_read_cost_a_warning(weights: Path, tmp_path: Path):
    weights.write_bytes(b"no weights")
    with pytest.warns(UserWarning, match="LPIPS is not measured"):
        assert rows.perceptual() == {}
    assert rows.column("lpips[alex,none]") == "distance"


def test_rows_of_the_papers_tables_are_compared_as_the_paper_does(weights: Path):
    tables = "".join(f'[[tables]]\nlike = "cifar10"\ndistance = "{name}"\n' for name in ("lpips", "ciede2000"))
    models = f'[[models]]\nspec = "{MODELS[0]["spec"]}"\nname = "net"\n'
    made = suite.parse(f'title = "t"\ndata = "demo"\nsamples = 2\n{models}{tables}', "the.toml")
    columns = {row.attack: row.cell.column for row in plan(made, Options()).plan.planned if row.cell is not None}
    assert columns["ALMA LPIPS 100"] == columns["LPA"] == "lpips_paper"
    assert columns["PerC-AL 100"] == columns["ALMA CIEDE2000 100"] == "ciede2000_paper"


@pytest.mark.parametrize("first", ["old", "new"])
def test_shards_that_know_only_one_form_are_read_beside_others(weights: Path, tmp_path: Path, first: str):
    new = measured(tmp_path, 32)
    old = new.drop("lpips_paper")
    files = {"old": tmp_path / "old.parquet", "new": tmp_path / "new.parquet"}
    old.write_parquet(files["old"])
    new.write_parquet(files["new"])
    read = finished.of_files([files.pop(first), *files.values()])
    less, more = (read[:4], read[4:]) if first == "old" else (read[4:], read[:4])
    assert more.equals(new)
    assert less["lpips_paper"].null_count() == 4
    assert less.drop("lpips_paper").equals(old)

"""Models whose answers are decided by what their identity does not hold are told from those that were stored."""

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests import benches
from tests.networks import with_absent_classes

SHIFT = "MINADV_TEST_SHIFT"  # a file with what is added to the first logit


class Shifted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = benches.network()

    def forward(self, x: Tensor) -> Tensor:
        z = self.network(x)
        shift = float(Path(os.environ[SHIFT]).read_text(encoding="utf-8"))
        return torch.cat((z[:, :1] + shift, z[:, 1:]), dim=1)


class Noisy(Shifted):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.rand(len(x), 5)


class Partial(Shifted):
    def forward(self, x: Tensor) -> Tensor:
        return with_absent_classes(super().forward(x))


def partial() -> nn.Module:
    return Partial()


def shifted() -> nn.Module:
    return Shifted()


def noisy() -> nn.Module:
    return Noisy()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shift").write_text("0", encoding="utf-8")
    monkeypatch.setenv(SHIFT, str(tmp_path / "shift"))
    return tmp_path


def suite(place: Path, model: str) -> Path:
    spec = f"python:tests.test_bench_confirming:{model}"
    return benches.write_suite(place, benches.write_images(place / "images.npz"), models=[{"spec": spec}])


@pytest.mark.parametrize("model", ["shifted", "partial"])
def test_stored_work_of_another_model_is_not_gone_on_with(place: Path, model: str) -> None:
    out = place / "out"
    assert benches.bench(suite(place, model), out, "--limit", 4).exit_code == 0
    before = benches.stamps(out)
    (place / "shift").write_text("0.7", encoding="utf-8")
    refused = benches.bench(suite(place, model), out)
    assert refused.exit_code == 2
    assert " of 4 images stored there have other margins now" in " ".join(refused.output.split())
    assert "give another --out" in " ".join(refused.output.split())
    assert benches.stamps(out) == before
    (place / "shift").write_text("0", encoding="utf-8")
    assert benches.bench(suite(place, model), out).exit_code == 0
    assert len(benches.shards(out)) == 3


@pytest.mark.filterwarnings("ignore")
def test_models_that_answer_differently_every_time_go_on(place: Path) -> None:
    out = place / "out"
    assert benches.bench(suite(place, "noisy"), out, "--limit", 4).exit_code == 0
    assert benches.bench(suite(place, "noisy"), out).exit_code == 0

import logging

import pytest
import torch
from torch import Tensor

import minadv
from minadv import ALMA, Result, evaluate
from minadv.attacks.base import Attack
from tests.networks import convolutional, images, predictions

MODEL = convolutional()
X = images(10)
Y = predictions(MODEL, X)
ATTACK = ALMA(distance="l2", steps=15)


def same(first: Result, second: Result) -> bool:
    return torch.equal(first.adversarials, second.adversarials) and torch.equal(first.distances, second.distances)


def test_batches_do_not_change_anything() -> None:
    whole = ATTACK(MODEL, X, Y)
    for size in (None, 1, 3, 10, 64):
        result = evaluate(MODEL, (X, Y), ATTACK, batch_size=size, progress=False)
        assert same(result, whole)
        assert result.status == whole.status
        assert torch.equal(result.forwards, whole.forwards)


def test_any_map_style_data_set() -> None:
    pairs = torch.utils.data.TensorDataset(X, Y)
    assert same(evaluate(MODEL, pairs, ATTACK, progress=False), ATTACK(MODEL, X, Y))
    assert len(evaluate(MODEL, pairs, ATTACK, limit=3, progress=False)) == 3
    demo = evaluate(minadv.models.load("demo"), minadv.data.load("demo"), ATTACK, limit=4, progress=False)
    assert len(demo) == 4


@pytest.mark.parametrize("targets", [2, (Y + 1) % 5])
def test_targets(targets: Tensor | int) -> None:
    rows = torch.full_like(Y, targets) != Y if isinstance(targets, int) else torch.ones_like(Y, dtype=torch.bool)
    wanted = targets if isinstance(targets, int) else targets[rows]
    result = evaluate(MODEL, (X[rows], Y[rows]), ATTACK, targets=wanted, batch_size=4, progress=False)
    found = result.predictions[result.success]
    assert result.success.any()
    assert torch.equal(found, torch.as_tensor(wanted).expand(len(result))[result.success])


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_running_out_of_memory_halves_the_batch_and_loses_nothing(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    sizes: list[int] = []

    def small(x: Tensor) -> Tensor:
        sizes.append(len(x))
        if len(x) > 4:
            raise error
        return MODEL(x)

    seen: list[int] = []
    with caplog.at_level(logging.WARNING):
        result = evaluate(
            small, (X, Y), ATTACK, batch_size=10, progress=False, on_batch=lambda numbers, _: seen.extend(numbers)
        )
    whole = ATTACK(MODEL, X, Y)
    assert result.success.all()
    torch.testing.assert_close(result.distances, whole.distances, rtol=1e-2, atol=1e-5)  # no copies any more
    assert seen == list(range(10))
    assert [record.getMessage() for record in caplog.records] == [
        "out of memory: going on with batches of 5",
        "out of memory: going on with batches of 2",
    ]


def test_a_batch_filled_up_with_copies_is_no_reason_to_give_up() -> None:
    def tiny(x: Tensor) -> Tensor:
        if len(x) > 1:
            raise MemoryError
        return MODEL(x)

    assert evaluate(tiny, (X[:2], Y[:2]), ATTACK, progress=False).success.all()


def test_not_even_one_sample_fits() -> None:
    def never(x: Tensor) -> Tensor:
        raise MemoryError

    with pytest.raises(MemoryError, match="not enough memory on cpu to attack even one sample"):
        evaluate(never, (X, Y), ATTACK, batch_size=2, progress=False)


def test_other_errors_are_not_swallowed() -> None:
    def broken(x: Tensor) -> Tensor:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        evaluate(broken, (X, Y), ATTACK, progress=False)


def test_progress_shows_asr_and_median(capsys: pytest.CaptureFixture[str]) -> None:
    attack: Attack = ALMA(distance=minadv.distances.get("lpips", trunk="demo"), steps=15)
    result = evaluate(MODEL, (X, Y), attack, batch_size=5)
    shown = capsys.readouterr().out
    assert f"ASR {100 * result.asr:.1f} %" in shown
    assert f"median lpips[demo,none] {result.median:.4g}" in shown


def test_traces_are_joined() -> None:
    whole = ATTACK(MODEL, X, Y, trace=True).trace
    joined = evaluate(MODEL, (X, Y), ATTACK, batch_size=3, trace=True, progress=False).trace
    assert whole is not None
    assert joined is not None
    assert torch.equal(whole.distances, joined.distances)
    assert torch.equal(whole.propagations, joined.propagations)


def test_device_by_name() -> None:
    result = evaluate(MODEL, (X, Y), ATTACK, device="cpu", progress=False)
    assert result.adversarials.device.type == "cpu"
    with pytest.raises(ValueError, match="at least one sample and a batch size ≥ 1, got 10 and 0"):
        evaluate(MODEL, (X, Y), ATTACK, batch_size=0, progress=False)
    with pytest.raises(ValueError, match="inputs and labels must be as many, got 10 and 4"):
        evaluate(MODEL, (X, Y[:4]), ATTACK, progress=False)
    with pytest.raises(ValueError, match="targets must have one class for each of 10 samples, got 2"):
        evaluate(MODEL, (X, Y), ATTACK, targets=torch.tensor([1, 2]), progress=False)

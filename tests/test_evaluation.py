import logging

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import minadv
from minadv import ALMA, DDN, Result, evaluate
from minadv.attacks.base import Attack
from minadv.result import concatenate
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

    def at_last(x: Tensor) -> Tensor:
        if (x == X[9]).flatten(1).all(dim=1).any():
            raise MemoryError
        return MODEL(x)

    with pytest.raises(MemoryError) as lost:
        evaluate(at_last, (X, Y), ATTACK, batch_size=3, progress=False)
    assert "9 samples were finished before, and are lost" in lost.value.__notes__[0]


def test_other_errors_are_not_swallowed() -> None:
    def broken(x: Tensor) -> Tensor:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        evaluate(broken, (X, Y), ATTACK, progress=False)


def test_progress_shows_asr_and_median(capsys: pytest.CaptureFixture[str]) -> None:
    attack: Attack = ALMA(distance=minadv.distances.get("lpips", trunk="demo"), steps=15)
    result = evaluate(MODEL, (X, Y), attack, batch_size=5)
    said = capsys.readouterr()
    assert not said.out
    shown = said.err
    assert f"ASR {100 * result.asr:.1f} %" in shown
    assert f"median lpips[demo,none] {result.median:.4g}" in shown


def test_traces_are_joined() -> None:
    whole = ATTACK(MODEL, X, Y, trace=True).trace
    joined = evaluate(MODEL, (X, Y), ATTACK, batch_size=3, trace=True, progress=False).trace
    assert whole is not None
    assert joined is not None
    assert repr(whole) == f"<Trace: {len(X)} samples, {len(whole.distances)} queries>"
    assert torch.equal(whole.distances, joined.distances)
    assert torch.equal(whole.propagations, joined.propagations)


def test_device_by_name() -> None:
    result = evaluate(MODEL, (X, Y), ATTACK, device="cpu", progress=False)
    assert result.adversarials.device.type == "cpu"
    with pytest.raises(ValueError, match="batch_size must be None or a whole number ≥ 1, got 0"):
        evaluate(MODEL, (X, Y), ATTACK, batch_size=0, progress=False)
    with pytest.raises(ValueError, match="inputs and labels must be as many, got 10 and 4"):
        evaluate(MODEL, (X, Y[:4]), ATTACK, progress=False)
    with pytest.raises(ValueError, match="targets must have one class for each of 10 samples, got 2"):
        evaluate(MODEL, (X, Y), ATTACK, targets=torch.tensor([1, 2]), progress=False)


def spoilt(values: Tensor, row: int, value: float) -> Tensor:
    values = values.clone()
    values[row] = value
    return values


TARGETS = (Y + 1) % 5


@pytest.mark.parametrize(
    ("data", "targets", "error", "message"),
    [
        ((spoilt(X, 9, 1.5), Y), None, ValueError, r"inputs must be finite and in \[0, 1\]"),
        ((spoilt(X, 9, float("nan")), Y), None, ValueError, "inputs must be finite.*NaN"),
        ((X, Y.float()), None, TypeError, "labels must be int64"),
        ((X, Y[:, None]), None, ValueError, r"labels must have shape \(10,\)"),
        ((X, Y), TARGETS.float(), TypeError, "targets must be int64"),
        ((X, Y), TARGETS[:, None], ValueError, r"one class for each of 10 samples, got shape \(10, 1\)"),
        (
            (X, Y),
            spoilt(TARGETS, 9, Y[9]),
            ValueError,
            r"for both at row 9 \(1 such rows\).*leave these samples out",
        ),
    ],
)
def test_what_is_known_before_the_first_batch_is_checked_before_it(
    data: tuple[Tensor, Tensor], targets: Tensor | None, error: type[Exception], message: str
) -> None:
    begun: list[float] = []
    with pytest.raises(error, match=message):
        evaluate(MODEL, data, ATTACK, targets=targets, batch_size=2, progress=False, on_progress=begun.append)
    assert not begun


def test_samples_of_the_class_to_reach_are_an_error_before_the_first_batch() -> None:
    labels = torch.arange(10) % 5
    message = r"got class 4 for both at row 4 \(2 such rows\)"
    data = minadv.data.load("demo")
    wanted = int(data.labels[7])
    first = int((data.labels == wanted).nonzero()[0])
    begun: list[float] = []
    with pytest.raises(ValueError, match=message):
        evaluate(MODEL, (X, labels), ATTACK, targets=4, batch_size=2, progress=False, on_progress=begun.append)
    with pytest.raises(ValueError, match=f"got class {wanted} for both at row {first} "):
        evaluate(
            minadv.models.load("demo"),
            data,
            ATTACK,
            targets=wanted,
            batch_size=1,
            progress=False,
            on_progress=begun.append,
        )
    assert not begun


def test_errors_name_samples_by_their_numbers_in_the_data_and_tell_what_is_lost() -> None:
    pairs = torch.utils.data.TensorDataset(X, spoilt(Y, 7, 9))
    with pytest.raises(ValueError, match=r"labels must be in \[0, 5\).*got 9 at row 7") as lost:
        evaluate(MODEL, pairs, ATTACK, batch_size=3, progress=False)
    assert "6 samples were finished before, and are lost" in lost.value.__notes__[0]
    labels = torch.arange(10) % 5
    with pytest.raises(ValueError, match=r"got class 4 for both at row 4 ") as kept:
        evaluate(
            MODEL,
            torch.utils.data.TensorDataset(X, labels),
            ATTACK,
            targets=4,
            batch_size=2,
            progress=False,
            on_batch=lambda *_: None,
        )
    assert not hasattr(kept.value, "__notes__")
    with pytest.raises(ValueError, match=r"NaN or infinite logits for 1 of 3 inputs \(rows 5\)"):
        evaluate(
            lambda x: MODEL(x) / (x != X[5]).flatten(1).any(1, True), (X, Y), ATTACK, batch_size=3, progress=False
        )


def test_a_pair_may_be_a_list_and_a_list_of_samples_is_a_data_set() -> None:
    whole = ATTACK(MODEL, X, Y)
    assert same(evaluate(MODEL, [X, Y], ATTACK, progress=False), whole)
    assert same(evaluate(MODEL, [(x, int(y)) for x, y in zip(X, Y, strict=True)], ATTACK, progress=False), whole)
    two = [(X[0], Y[0]), (X[1], Y[1])]
    assert len(evaluate(MODEL, two, ATTACK, progress=False)) == 2


class Small(nn.Module):
    """A model that runs out of memory on more rows than a few."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.inner, self.most = convolutional(), most

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.most:
            raise torch.OutOfMemoryError("too many")
        return self.inner(x)


@pytest.mark.filterwarnings("ignore:.*out of memory")
def test_going_on_needs_no_more_memory_than_the_run() -> None:
    model, x = Small(8).eval(), images(24)
    y, kept = predictions(model.inner, x), list[Result]()
    whole = evaluate(
        model, (x, y), DDN(steps=5), batch_size=8, progress=False, on_batch=lambda _, r: kept.append(r)
    )
    again = evaluate(model, (x, y), DDN(steps=5), batch_size=8, progress=False, finished=concatenate(kept[:2]))
    assert torch.equal(whole.adversarials, again.adversarials)
    with pytest.raises(MemoryError, match="even one sample"):
        evaluate(
            Small(0).eval(), (x, y), DDN(steps=5), batch_size=8, progress=False, finished=concatenate(kept[:2])
        )


def test_a_model_is_not_moved_to_where_it_loses_its_values() -> None:
    model, x = convolutional(), images(4)
    with pytest.raises(ValueError, match="device='meta'"):
        evaluate(model, (x, predictions(model, x)), DDN(steps=2), device="meta", progress=False)
    assert all(not parameter.is_meta for parameter in model.parameters())


@pytest.mark.parametrize("label", [3.9, True, "3", torch.tensor([1, 2]), None])
def test_labels_are_whole_numbers(label: object) -> None:
    with pytest.raises(TypeError, match=r"data\[0\] must have a whole number as label"):
        evaluate(convolutional(), [(images(1)[0], label)] * 3, DDN(steps=2), progress=False)


@pytest.mark.parametrize("label", [torch.tensor(1), torch.tensor([1]), np.int64(1), np.array(1), 1])
def test_labels_may_be_tensors_and_arrays_of_one_number(label: object) -> None:
    found = evaluate(convolutional(), [(images(1)[0], label)] * 2, DDN(steps=2), progress=False)
    assert len(found) == 2


def test_images_of_a_batch_have_one_shape() -> None:
    with pytest.raises(ValueError, match="must have one shape"):
        evaluate(convolutional(), [(images(1)[0], 1), (images(1, side=8)[0], 1)], DDN(steps=2), progress=False)


def test_results_of_different_confidence_are_not_joined() -> None:
    model, x = convolutional(), images(4)
    one, other = (DDN(steps=5, confidence=value)(model, x, predictions(model, x)) for value in (1e-4, 1e-2))
    with pytest.raises(ValueError, match=r"results must be of one confidence, got 0\.0001, 0\.01"):
        concatenate([one, other])

"""An attack on a data set that is interrupted, and goes on."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

import minadv
import minadv.unfinished
from minadv import DDN, FMN, Result, cli, evaluate, run_folder
from minadv.cli import running
from minadv.result import concatenate
from minadv.unfinished import Unfinished
from tests.networks import convolutional, images, predictions, with_absent_classes

MODEL = convolutional()
X, Y = images(10), predictions(MODEL, images(10))
ATTACK = DDN(steps=12)


def bits(result: Result) -> list[torch.Tensor]:
    assert result.trace is not None
    single = (getattr(result, name) for name in minadv.unfinished.TENSORS)
    return [*single, result.trace.propagations, result.trace.distances]


def same(one: Result, other: Result) -> bool:
    equal = all(torch.equal(a, b) for a, b in zip(bits(one), bits(other), strict=True))
    words = (one.status, one.distance, one.confidence) == (other.status, other.distance, other.confidence)
    return equal and words


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.fixture
def batches() -> list[Result]:
    found: list[Result] = []
    labels = Y.clone()
    labels[1] = (labels[1] + 1) % 5  # already adversarial

    def keep(_: Sequence[int], result: Result) -> None:
        found.append(result)

    evaluate(MODEL, (X, labels), ATTACK, batch_size=4, progress=False, trace=True, on_batch=keep)
    return found


def test_batches_are_found_again_as_they_were(batches: list[Result], tmp_path: Path) -> None:
    kept = Unfinished(tmp_path, "this", 10)
    assert kept.found() == (None, 0.0, [])
    kept.keep(range(4), batches[0], 1.5)
    kept.keep(range(4, 8), batches[1], 2.0, ["one", "another"])
    found, seconds, said = kept.found()
    assert found is not None
    assert same(found, concatenate(batches[:2]))
    assert seconds == 3.5
    assert said == ["one", "another"]
    assert not kept.of_another()
    kept.forget()
    assert list(tmp_path.iterdir()) == []


def test_what_is_behind_a_gap_or_damaged_does_not_count(batches: list[Result], tmp_path: Path) -> None:
    kept = Unfinished(tmp_path, "this", 10)
    for first, batch in zip((0, 4, 8), batches, strict=True):
        kept.keep(range(first, first + len(batch)), batch, 1.0)
    whole = kept.found()[0]
    assert whole is not None
    assert len(whole) == 10
    path = kept.folder / "00000004.safetensors"
    data = path.read_bytes()
    flips = (flipped(data, at) for at in (*range(0, len(data), 97), *range(len(data) - 64, len(data))))
    for spoiled in (data[:-100], b"", b"\xff" * 200, *flips):
        path.write_bytes(spoiled)
        with pytest.warns(UserWarning, match=r"00000004.safetensors is damaged: .* from number 4 on"):
            found = kept.found()[0]
        assert found is not None
        assert same(found, batches[0])
        assert not kept.of_another()
    path.unlink()
    found = kept.found()[0]
    assert found is not None
    assert len(found) == 4


def test_a_run_of_something_else_is_not_taken_for_it(batches: list[Result], tmp_path: Path) -> None:
    Unfinished(tmp_path, "that", 10).keep(range(4), batches[0], 1.0)
    this = Unfinished(tmp_path, "this", 10)
    assert this.of_another()
    assert this.found() == (None, 0.0, [])


def test_what_is_finished_is_not_attacked_again() -> None:
    whole = ATTACK(MODEL, X, Y, trace=True)
    first = ATTACK(MODEL, X[:3], Y[:3], trace=True)
    asked: list[int] = []

    def keep(numbers: Sequence[int], _: Result) -> None:
        asked.extend(numbers)

    options: dict[str, Any] = {"batch_size": 4, "progress": False, "trace": True, "on_batch": keep}
    assert same(evaluate(MODEL, (X, Y), ATTACK, finished=first, **options), whole)
    assert asked == list(range(3, 10))
    assert evaluate(MODEL, (X, Y), ATTACK, finished=whole, **options) is not None
    assert asked == list(range(3, 10))
    with pytest.raises(ValueError, match="finished must be of the first of 2 samples, got 3"):
        evaluate(MODEL, (X, Y), ATTACK, finished=first, limit=2)
    with pytest.raises(ValueError, match="finished must have a trace, as trace=True asks"):
        evaluate(MODEL, (X, Y), ATTACK, finished=replace(first, trace=None), trace=True)
    with pytest.raises(ValueError, match=r"minimises linf with confidence=0.0001, got l2 with confidence=0.0001"):
        evaluate(MODEL, (X, Y), FMN(distance="linf"), finished=first)
    with pytest.raises(ValueError, match=r"finished must be of the same attack.*confidence=0.1, got l2 with conf"):
        evaluate(MODEL, (X, Y), DDN(steps=12, confidence=0.1), finished=first)


@pytest.mark.parametrize(
    ("model", "first", "target", "message"),
    [
        (MODEL, 4, None, "not as far from these images"),
        (convolutional(seed=3), 0, None, "their logits are others"),
        (MODEL, 0, 1, "or their labels or targets"),
    ],
    ids=["images", "model", "target"],
)
def test_what_is_finished_of_anything_else_is_refused(
    model: torch.nn.Module, first: int, target: int | None, message: str
) -> None:
    finished = ATTACK(MODEL, X[:4], Y[:4])
    labels = Y[first:].clone()
    labels[labels == target] = 0
    with pytest.raises(ValueError, match=rf"finished must be of these samples.*{message}"):
        evaluate(model, (X[first:], labels), ATTACK, targets=target, finished=finished, progress=False)
    with pytest.raises(ValueError, match=r"of shape \(1, 16, 16\), got \(3, 16, 16\)"):
        evaluate(convolutional(1), (X[:, :1], Y), ATTACK, finished=finished, progress=False)


def test_failures_are_held_to_their_model_too() -> None:
    none = replace(ATTACK, budget=1)(MODEL, X[:4], Y[:4])
    assert not none.success.any()
    assert len(evaluate(MODEL, (X[:4], Y[:4]), ATTACK, finished=none, progress=False)) == 4
    with pytest.raises(ValueError, match="finished must be of these samples and this model"):
        evaluate(convolutional(seed=3), (X, Y), ATTACK, finished=none, progress=False)


def test_another_model_is_refused_beside_masked_classes() -> None:
    one, other = (lambda x, model=model: with_absent_classes(model(x)) for model in (MODEL, convolutional(seed=3)))
    finished = ATTACK(one, X[:4], Y[:4])
    assert len(evaluate(one, (X[:4], Y[:4]), ATTACK, finished=finished, progress=False)) == 4
    with pytest.raises(ValueError, match="their logits are others"):
        evaluate(other, (X[:4], Y[:4]), ATTACK, finished=finished, progress=False)


@pytest.mark.filterwarnings("ignore:.*not classified the same way")
def test_a_random_model_is_not_held_to_its_logits() -> None:
    def noisy(x: torch.Tensor) -> torch.Tensor:
        return MODEL(x) + 0.3 * torch.randn(len(x), 5)

    with torch.random.fork_rng():
        torch.manual_seed(0)
        finished = ATTACK(noisy, X[:4], Y[:4])
        assert len(evaluate(noisy, (X[:4], Y[:4]), ATTACK, finished=finished, progress=False)) == 4


def network() -> torch.nn.Module:
    return convolutional()


def test_an_interrupted_command_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "images.npz"
    np.savez(data, images=X.permute(0, 2, 3, 1).numpy(), labels=Y.numpy())

    def attack(out: str, *words: str) -> Any:
        common = ("--model", "python:tests.test_unfinished:network", "--data", f"npz:{data}", "--attack", "ddn")
        return CliRunner().invoke(
            cli.app, ["attack", *common, "--steps", "12", "--trace", "--out", str(tmp_path / out), *words]
        )

    real, asked = minadv.evaluate, list[int]()

    def stopping(*given: Any, on_batch: Any, **options: Any) -> Result:
        def keep(numbers: Sequence[int], result: Result) -> None:
            on_batch(numbers, result)
            asked.extend(numbers)
            if len(asked) == 6:
                raise KeyboardInterrupt

        return real(*given, on_batch=keep, **options)

    monkeypatch.setattr(minadv, "evaluate", stopping)
    stopped = attack("one", "--batch-size", "3")
    assert stopped.exit_code == 130
    assert "6 of 10 samples are kept" in stopped.stderr
    other = attack("one", "--seed", "1")
    assert other.exit_code == 2
    assert "another run" in other.stderr
    done = attack("one", "--batch-size", "2")
    assert done.exit_code == 0, done.output
    assert "6 of 10 samples were finished before" in done.stdout
    assert asked == list(range(10))

    monkeypatch.setattr(minadv, "evaluate", real)
    assert attack("two").exit_code == 0
    one, two = (run_folder.read(tmp_path / name) for name in ("one", "two"))
    assert torch.equal(one.adversarials, two.adversarials)
    assert_frame_equal(one.results, two.results)
    assert one.trace is not None
    assert two.trace is not None
    assert torch.equal(one.trace.distances, two.trace.distances)
    assert not (tmp_path / "one" / "unfinished").exists()
    assert attack("one", "--seed", "1", "--overwrite").exit_code == 0


@pytest.mark.filterwarnings("default:.*is damaged")
def test_a_damaged_batch_is_attacked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["attack", "--samples", "4", "--attack", "ddn", "--steps", "3", "--batch-size", "2", "--out"]
    real = Unfinished.keep

    def keep(kept: Unfinished, numbers: Sequence[int], result: Result, *given: Any) -> None:
        real(kept, numbers, result, *given)
        if numbers[0]:
            raise KeyboardInterrupt

    monkeypatch.setattr(Unfinished, "keep", keep)
    assert CliRunner().invoke(cli.app, [*command, str(tmp_path / "one")]).exit_code == 130
    monkeypatch.setattr(Unfinished, "keep", real)
    path = tmp_path / "one" / "unfinished" / "00000002.safetensors"
    path.write_bytes(flipped(path.read_bytes(), -1000))
    done = CliRunner().invoke(cli.app, [*command, str(tmp_path / "one")])
    assert done.exit_code == 0, done.output
    assert "2 of 4 samples were finished before" in done.stdout
    assert "00000002.safetensors is damaged" in done.stderr
    assert CliRunner().invoke(cli.app, [*command, str(tmp_path / "two")]).exit_code == 0
    one, two = (run_folder.read(tmp_path / name) for name in ("one", "two"))
    assert torch.equal(one.adversarials, two.adversarials)
    assert_frame_equal(one.results, two.results)


def test_overwriting_starts_anew_where_something_else_was_interrupted(tmp_path: Path) -> None:
    Unfinished(tmp_path / "one", "that", 10).folder.mkdir(parents=True)
    batch = ATTACK(MODEL, X[:4], Y[:4])
    Unfinished(tmp_path / "one", "that", 10).keep(range(4), batch, 1.0)
    command = ["attack", "--samples", "2", "--attack", "ddn", "--steps", "3", "--out", str(tmp_path / "one")]
    refused = CliRunner().invoke(cli.app, command)
    assert refused.exit_code == 2
    assert "--overwrite" in refused.stderr
    assert CliRunner().invoke(cli.app, [*command, "--overwrite"]).exit_code == 0
    assert not (tmp_path / "one" / "unfinished").exists()


def test_a_folder_is_one_commands_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "new" / "one"
    command = ["attack", "--samples", "4", "--attack", "ddn", "--steps", "3", "--out", str(out)]
    began, write, refused = running.begun, run_folder.write, list[str]()

    def second() -> None:
        second = CliRunner().invoke(cli.app, [*command, "--seed", "1", "--overwrite"])
        assert second.exit_code == 2
        refused.append(second.stderr)

    def begun(work: Any) -> Unfinished:
        second()
        return began(work)

    def written(folder: Path, run: run_folder.Run) -> None:
        write(folder, run)
        second()

    with monkeypatch.context() as patched:
        patched.setattr(running, "begun", begun)
        patched.setattr(run_folder, "write", written)
        done = CliRunner().invoke(cli.app, command)
    assert done.exit_code == 0, done.output
    assert len(refused) == 2
    assert all(f"another minadv attack is writing to {out}: wait for it" in said for said in refused)
    assert not (out / run_folder.LOCK).exists()
    assert run_folder.read(out).configuration.settings["seed"] == 0
    assert CliRunner().invoke(cli.app, ["report", str(out)]).exit_code == 0


def test_the_lock_of_a_killed_command_holds_nobody_up(tmp_path: Path) -> None:
    hold = "import sys, pathlib, minadv.run_folder as r\nwith r.alone(pathlib.Path(sys.argv[1])): print(); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    command = ["attack", "--samples", "2", "--attack", "ddn", "--steps", "3", "--out", str(tmp_path)]
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        refused = CliRunner().invoke(cli.app, command)
        holder.kill()
    assert refused.exit_code == 2
    assert "another minadv attack" in refused.stderr
    assert (tmp_path / run_folder.LOCK).exists()
    assert "it has no run.json" in CliRunner().invoke(cli.app, ["report", str(tmp_path)]).stderr
    run_folder.check_free(tmp_path)
    done = CliRunner().invoke(cli.app, command)
    assert done.exit_code == 0, done.output
    assert not (tmp_path / run_folder.LOCK).exists()


@pytest.mark.parametrize("step", ["save", "write_report"])
def test_a_run_that_was_interrupted_while_it_was_written_goes_on(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "one"
    command = ["attack", "--samples", "4", "--attack", "ddn", "--steps", "3", "--png", "--out", str(out)]

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "somewhere")

    with monkeypatch.context() as patched:
        patched.setattr(run_folder if step == "save" else running, step, full)
        assert CliRunner().invoke(cli.app, command).exit_code == 2
    assert run_folder.exists(out)
    other = CliRunner().invoke(cli.app, [*command, "--seed", "1"])
    assert other.exit_code == 2
    assert "another run" in other.stderr
    done = CliRunner().invoke(cli.app, command)
    assert done.exit_code == 0, done.output
    assert "4 of 4 samples were finished before" in done.stdout
    assert (out / "report.html").is_file()
    assert len(list((out / "png").iterdir())) >= 4
    assert not (out / "unfinished").exists()
    assert "already holds a run" in CliRunner().invoke(cli.app, command).stderr

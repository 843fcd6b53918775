"""A benchmark on a machine that may be switched off at any moment: killed, interrupted, and run twice at once."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from minadv.bench.store import Store
from minadv.errors import counted
from tests import benches

KILLS = 4
EACH = 0.012  # seconds of a forward pass: some 0.1 s per shard


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two attacks on 20 samples in shards of 2: 20 shards."""
    folder = tmp_path_factory.mktemp("suite")
    data = benches.write_images(folder / "images.npz", count=20)
    attacks = (("alma", "l2"), ("fmn", "l1"))
    two = [{"attack": attack, "distances": [distance], "steps": [8]} for attack, distance in attacks]
    benches.write_suite(folder, data, *two, shard_size=2, trace=True)
    return folder


@pytest.fixture(scope="module")
def uninterrupted(place: Path) -> Path:
    out = place / "uninterrupted"
    done = benches.bench(place / "suite.toml", out, "--quiet")
    assert done.exit_code == 0, done.output
    assert len(benches.shards(out)) == 20
    return out


def test_nothing_is_lost_or_computed_twice_when_killed(place: Path, uninterrupted: Path, tmp_path: Path):
    moments, out = random.Random(4), tmp_path / "out"  # noqa: S311 (moments of a test)
    seen: dict[str, tuple[int, int]] = {}
    counts = [0]
    for kill in range(KILLS):
        process = benches.start(place / "suite.toml", out, MINADV_TEST_SLOW=str(EACH))
        if kill == 1:  # before it computes anything
            time.sleep(moments.uniform(0.5, 2.0))
        else:
            benches.wait_until(lambda: len(benches.shards(out)) > counts[-1], process)
            time.sleep(moments.uniform(0.0, 0.5))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "it was to be killed at work"
        now = benches.stamps(out)
        assert seen.items() <= now.items(), "a finished shard was lost or written again"
        assert all(Store(out).intact(shard) for shard in now), "what is in its place is whole"
        seen = now
        counts.append(len(now))
    assert counts[0] < counts[1] == counts[2] < counts[3] < counts[4] < 20

    code, said = benches.finish(benches.start(place / "suite.toml", out))
    assert code == 0, said
    assert f"{counted(20 - counts[-1], 'shard')} computed, {counts[-1]} were finished before" in said
    assert seen.items() <= benches.stamps(out).items()
    assert benches.bits(benches.rows(out)) == benches.bits(benches.rows(uninterrupted))
    assert benches.same_tensors(out, uninterrupted)
    assert not benches.leftovers(out)
    assert {path.name for path in benches.shards(out)} == {path.name for path in benches.shards(uninterrupted)}
    assert (out / "plan.json").read_bytes() == (uninterrupted / "plan.json").read_bytes()


def test_two_processes_share_the_work(place: Path, uninterrupted: Path, tmp_path: Path):
    out = tmp_path / "out"
    slow = {"MINADV_TEST_SLOW": str(EACH)}
    first, second = (benches.start(place / "suite.toml", out, **slow) for _ in range(2))
    endings = [benches.finish(first), benches.finish(second)]
    assert [code for code, _ in endings] == [0, 0], endings
    computed = [int(said.rpartition(" computed, ")[0].split()[-2]) for _, said in endings]
    assert sum(computed) == 20, "every shard once"
    assert min(computed) > 0, f"both worked: {computed}"
    assert benches.bits(benches.rows(out)) == benches.bits(benches.rows(uninterrupted))
    assert benches.same_tensors(out, uninterrupted)
    assert not benches.leftovers(out)


def test_ctrl_c_stops_after_the_shard_and_twice_at_once(place: Path, uninterrupted: Path, tmp_path: Path):
    once, twice = tmp_path / "once", tmp_path / "twice"
    stopping = benches.start(place / "suite.toml", once, MINADV_TEST_SLOW=str(EACH))
    stuck = benches.start(place / "suite.toml", twice, MINADV_TEST_SLOW="2")  # 16 seconds a shard

    benches.wait_until(lambda: len(benches.shards(once)) >= 2, stopping)
    before = len(benches.shards(once))
    os.kill(stopping.pid, signal.SIGINT)
    code, said = benches.finish(stopping)
    assert code == 130, said
    assert "stopping after the current shard" in said
    assert "the same command goes on" in said
    assert "Traceback" not in said
    finished = len(benches.shards(once))
    assert before <= finished <= before + 2
    assert f"{counted(finished, 'shard')} computed" in said, "what was computed is stored"
    assert not benches.leftovers(once)

    benches.wait_until(lambda: any(path.stem != "plan" for path in (twice / "claims").glob("*.lock")), stuck)
    began = time.monotonic()
    os.kill(stuck.pid, signal.SIGINT)
    time.sleep(0.5)
    os.kill(stuck.pid, signal.SIGINT)
    code, said = benches.finish(stuck)
    assert code == 130, said
    assert "Traceback" not in said
    assert time.monotonic() - began < 10
    assert not benches.shards(twice)
    assert not benches.leftovers(twice)

    for out in (once, twice):
        done = benches.bench(place / "suite.toml", out, "--quiet")
        assert done.exit_code == 0, done.output
        assert benches.bits(benches.rows(out)) == benches.bits(benches.rows(uninterrupted))

"""A benchmark on a Ray cluster, started on this machine: minutes, so only where MINADV_TEST_RAY is set."""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests import benches

pytest.importorskip("ray", reason="ray is not installed: pip install -c constraints.txt 'minadv[ray]'")
if not os.environ.get("MINADV_TEST_RAY"):
    pytest.skip("clusters are started where MINADV_TEST_RAY=1 asks for it", allow_module_level=True)

RAY = ("--engine", "ray")
LONG = 180  # seconds: a cluster takes some ten to start, and its workers import torch


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Two attacks on 12 samples in shards of 4: 6 shards."""
    data = benches.write_images(tmp_path / "images.npz")
    attacks = (
        {"attack": "alma", "distances": ["l2"], "steps": [8]},
        {"attack": "fmn", "distances": ["l1"], "steps": [8]},
    )
    return benches.write_suite(tmp_path, data, *attacks, shard_size=4, trace=True)


def workers(of: int) -> list[psutil.Process]:
    return [one for one in psutil.Process(of).children(recursive=True) if "ray::Worker" in " ".join(one.cmdline())]


def test_a_cluster_computes_what_this_process_would(suite: Path, tmp_path: Path) -> None:
    assert benches.bench(suite, tmp_path / "here", "--quiet").exit_code == 0
    code, said = benches.finish(benches.start(suite, tmp_path / "there", *RAY), LONG)
    assert code == 0, said
    assert "6 shards computed" in said
    assert benches.bits(benches.rows(tmp_path / "there")) == benches.bits(benches.rows(tmp_path / "here"))
    assert benches.same_tensors(tmp_path / "there", tmp_path / "here")
    assert not benches.leftovers(tmp_path / "there")


def test_workers_that_die_fail_their_shards_and_the_next_run_goes_on(suite: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = benches.start(suite, out, *RAY, MINADV_TEST_SLOW="0.2")  # some 2 seconds a shard
    benches.wait_until(lambda: len(benches.shards(out)) >= 1, process, LONG)
    for worker in workers(process.pid):
        worker.kill()
    code, said = benches.finish(process, LONG)
    assert code == 1, said
    assert "shards failed" in said
    assert "Traceback" not in said
    assert 1 <= len(benches.shards(out)) < 6
    code, said = benches.finish(benches.start(suite, out), LONG)
    assert code == 0, said
    assert len(benches.shards(out)) == 6


def test_ctrl_c_in_a_terminal_ends_after_the_shards_that_are_computed(suite: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = benches.start(suite, out, *RAY, MINADV_TEST_SLOW="0.2")
    benches.wait_until(lambda: len(benches.shards(out)) >= 1, process, LONG)
    before = len(benches.shards(out))
    for one in (psutil.Process(process.pid), *workers(process.pid)):  # a terminal asks all of a process's group
        os.kill(one.pid, signal.SIGINT)
    began = time.monotonic()
    code, said = benches.finish(process, LONG)
    assert code == 130, said
    assert "Traceback" not in said
    assert time.monotonic() - began < 60
    assert before <= len(benches.shards(out)) <= before + 2
    assert not benches.leftovers(out)

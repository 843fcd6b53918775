"""Computing shards on a Ray cluster, or on one that is started on this machine for as long as it takes."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from minadv.bench.executor import Failed, Finished, Local
from minadv.bench.jobs import Shard

HINT = "computing on a cluster needs ray: pip install 'minadv[ray]'"


class Cluster:
    """Computes in workers of a Ray cluster, each as `Local` does: models and data are loaded there, and kept.

    Ray is asked for the cluster of RAY_ADDRESS, or of this machine, or starts one here. All its machines need this
    package, and the same files and modules in the same places.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        """Have a worker for every `torch.get_num_threads()` CPUs of a machine, on "cuda" with a GPU each.

        Raises:
            ImportError: ray is not installed; the message says what to do.
            ValueError: no machine of the cluster has what a worker needs.
        """
        try:
            self._ray: Any = import_module("ray")
        except ImportError as error:
            raise ImportError(HINT) from error
        if not self._ray.is_initialized():
            self._ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
        self._device, self._threads = torch.device(device), torch.get_num_threads()
        self._needs = {"CPU": self._threads} | ({"GPU": 1} if self._device.type == "cuda" else {})
        self._most = sum(self._workers(node["Resources"]) for node in self._ray.nodes() if node["Alive"])
        if not self._most:
            needed = " and ".join(f"{count} {kind}" for kind, count in self._needs.items())
            raise ValueError(
                f"no machine of the Ray cluster has {needed}, as a worker needs: give fewer --threads, or another "
                "--device"
            )
        self._idle: list[Any] = []

    def run(self, shards: Iterable[Shard]) -> Iterator[Finished | Failed]:
        """Compute the shards, as many at a time as there are workers, and yield them as they end."""
        wanted, busy = iter(shards), dict[Any, tuple[Any, Shard]]()
        try:
            while True:
                while len(busy) < self._most and (shard := next(wanted, None)) is not None:
                    worker = self._idle.pop() if self._idle else self._worker()
                    busy[worker.compute.remote(shard)] = worker, shard
                if not busy:
                    return
                (ended, *_), _ = self._ray.wait(list(busy), num_returns=1)
                worker, shard = busy.pop(ended)
                try:
                    outcome = self._ray.get(ended)
                    self._idle.append(worker)
                except self._ray.exceptions.RayError as error:  # the worker itself: killed, or out of memory
                    outcome = Failed.of(shard, error)
                yield outcome
        finally:
            for worker, _ in busy.values():
                self._ray.kill(worker)

    def _workers(self, resources: dict[str, float]) -> int:
        return min(int(resources.get(kind, 0) // count) for kind, count in self._needs.items())

    def _worker(self) -> Any:
        kind = self._ray.remote(num_cpus=self._threads, num_gpus=self._needs.get("GPU", 0))(Worker)
        device = torch.device(self._device.type)  # a worker sees its own GPU alone, whichever it is
        return kind.remote(device, self._threads, Path.cwd(), sys.path)


class Worker:
    """A process of the cluster that computes one shard after the other, as the process here would."""

    def __init__(self, device: torch.device, threads: int, folder: Path, path: Sequence[str]) -> None:
        """Compute on `device` with so many threads, in the folder and with the modules of the process here."""
        if folder.is_dir():
            os.chdir(folder)
        sys.path.extend(one for one in path if one not in sys.path)
        torch.set_num_threads(threads)
        self._local = Local(device)

    def compute(self, shard: Shard) -> Finished | Failed:
        """Compute one shard; an error is an outcome like another."""
        return next(self._local.run([shard]))

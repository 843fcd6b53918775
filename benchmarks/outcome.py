"""What one run of an attack reached and took: ours, and another package's, which is scored by ourselves."""

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import minadv
from benchmarks.peers import Counting, Peer
from minadv import Attack


@dataclass(frozen=True)
class Outcome:
    """What one attack reached: the median counts failures as infinite, passes are per sample."""

    median: float
    asr: float
    forwards: float
    backwards: float
    seconds: float

    @property
    def passes(self) -> str:
        return f"{self.forwards:.0f}/{self.backwards:.0f}"

    @property
    def cells(self) -> tuple[str, ...]:
        return f"{self.median:.4g}", f"{100 * self.asr:.0f} %", self.passes, f"{self.seconds:.1f}"


@dataclass(frozen=True)
class Found:
    """What a peer returned, and what that took."""

    images: Tensor
    forwards: float
    backwards: float
    seconds: float


def run_ours(attack: Attack, model: nn.Module, inputs: Tensor, labels: Tensor) -> Outcome:
    start = time.perf_counter()
    result = attack(model, inputs, labels)
    seconds = time.perf_counter() - start
    forwards, backwards = (count.double().mean().item() for count in (result.forwards, result.backwards))
    return Outcome(float(np.median(result.distances.numpy())), result.asr, forwards, backwards, seconds)


def run_theirs(peer: Peer, model: nn.Module, inputs: Tensor, labels: Tensor) -> Found:
    counting = Counting(model).requires_grad_(False)
    peer.load()
    start = time.perf_counter()
    images = peer(counting, inputs, labels)
    seconds = time.perf_counter() - start
    return Found(images, counting.forwards / len(inputs), counting.backwards / len(inputs), seconds)


def score(found: Found, distance: Any, model: nn.Module, inputs: Tensor, labels: Tensor) -> Outcome:
    images = found.images.clamp(0, 1)
    with torch.no_grad():
        success = (model(images).argmax(dim=1) != labels) & images.isfinite().flatten(1).all(dim=1)
        distances = minadv.distances.resolve(distance)(images.double(), inputs.double())
    median = float(np.median(distances.where(success, math.inf).numpy()))
    return Outcome(median, success.double().mean().item(), found.forwards, found.backwards, found.seconds)

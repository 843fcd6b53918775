"""ADMM (experimental)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from minadv import proximal
from minadv.attacks.adam import Adam
from minadv.attacks.base import Attack, require, steps_at_least
from minadv.attacks.constant import Constant
from minadv.attacks.directions import inner
from minadv.attacks.tanh import TanhSpace
from minadv.distances.base import per_sample
from minadv.oracle import Oracle


@dataclass(frozen=True, kw_only=True)
class ADMM(Attack):
    outer: int = 5
    steps: int = 100
    searches: int = 6
    c: float = 1e-3
    rho: float = 20.0
    rate: float = 2e-2
    warm: bool = False
    nest: str = "A"
    keep: bool = False
    pick: str = "best"
    cand: str = "prox"

    name: ClassVar[str] = "admm"

    def search(self, oracle: Oracle) -> None:
        if self.nest == "A":
            self.searchA(oracle)
        else:
            self.searchB(oracle)

    def searchA(self, oracle):
        x0 = oracle.originals
        z = u = torch.zeros_like(x0)
        c = Constant.starting_at(self.c, oracle.best_distance)
        first = True
        images = TanhSpace.around(x0)
        for k in range(self.outer):
            delta = self._prox(z - u)
            if k:
                start = c.value if not self.keep else torch.where(c.high < torch.inf, c.high, c.value)
                c = Constant(start, torch.zeros_like(start), torch.full_like(start, torch.inf)) if self.keep else Constant.starting_at(self.c, start)
            got = torch.zeros_like(c.value, dtype=torch.bool)
            zz = z
            for s in range(self.searches):
                new, success, images = self._sub(oracle, delta + u, c.value, images, first)
                first = False
                # z of the smallest c that succeeded; of the last where none did
                zz = torch.where(per_sample(success | ~got, x0), new, zz)
                got = got | success
                c = c.after(success)
            z = zz
            u = u + delta - z

    def searchB(self, oracle):
        x0 = oracle.originals
        c = Constant.starting_at(self.c, oracle.best_distance)
        first = True
        for s in range(self.searches):
            z = u = torch.zeros_like(x0)
            succ = torch.zeros_like(c.value, dtype=torch.bool)
            images = TanhSpace.around(x0)
            for k in range(self.outer):
                delta = self._prox(z - u)
                z, success, images = self._sub(oracle, delta + u, c.value, images, first)
                first = False
                succ = succ | success
                u = u + delta - z
            c = c.after(succ)

    def _prox(self, v):
        family = "l0 l1 l2 linf".split()[[0, 1, 2, float("inf")].index(self.p)]
        if family == "l2":
            return v * (self.rho / (self.rho + 2))
        return proximal.of(family)(v, torch.full_like(v.flatten(1)[:, 0], 1 / self.rho))

    def _sub(self, oracle, near, c, images, first):
        x0 = oracle.originals
        if self.warm:
            images.adam = Adam.like(x0)
        else:
            images = TanhSpace.around(x0)
        best = torch.full_like(c, torch.inf)
        chosen = torch.zeros_like(x0)
        success = torch.zeros_like(c, dtype=torch.bool)
        for i in oracle.steps(self.steps):
            x = x0 if first and i == 0 else oracle.project(images.x)
            probe = oracle.probe(x)
            z = x - x0
            gap = z - near
            hinge = oracle.goal.margin(probe.logits, self.confidence)
            loss = c * hinge.detach().clamp_min(0) + self.rho / 2 * inner(gap, gap)
            smaller = loss < best
            best = torch.where(smaller, loss, best)
            chosen = torch.where(per_sample(smaller, x0), z, chosen)
            h = oracle.gradient(probe, hinge, c * (hinge.detach() > 0)) + self.rho * gap
            images.descend(h, self.rate)
            z = images.x - x0
            cand = self._prox(z) if (self.cand == "prox" or self.p == 0) else z
            success = success | probe.adversarial | oracle.probe(oracle.project(x0 + cand)).adversarial
        return chosen, success, images

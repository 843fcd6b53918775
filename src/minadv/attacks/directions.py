"""Per-sample norms and directions of gradients, guarded where a gradient vanishes."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from minadv.distances.lp import euclidean
from minadv.distances.lp import norm as row_norm
from minadv.masks import possibly_any
from minadv.oracle import Oracle
from minadv.shapes import per_sample

TINY = 1e-12


def norm(x: Tensor, p: float) -> Tensor:
    """(batch,) ℓp norm of each sample over all its entries."""
    return euclidean(x.flatten(1)) if p == 2 else row_norm(x.flatten(1), p)


def typical(values: Tensor) -> Tensor:
    """Root mean square of each sample's entries, (batch, 1, …) like `values`, at least `TINY`."""
    return per_sample(norm(values, 2) / values[0].numel() ** 0.5, values).clamp_min(TINY)


def dual(p: float) -> float:
    """Exponent q of the dual norm, 1/p + 1/q = 1."""
    return {1: math.inf, 2: 2, math.inf: 1}[p]


def inner(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """(batch,) inner product of each pair of samples; the products are put into `out`."""
    return torch.mul(a, b, out=out).flatten(1).sum(dim=1)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """(batch,) cosine of the angle between each pair of samples; 0 where one vanishes."""
    return inner(a, b) / (norm(a, 2) * norm(b, 2)).clamp_min(torch.finfo(a.dtype).tiny)


def unit_(h: Tensor, oracle: Oracle, below: float = TINY) -> Tensor:
    """h/‖h‖₂ in the memory of `h`; a random direction (from the sample's own key) where the gradient vanishes."""
    return unit_and_length_(h, oracle, below)[0]


def unit_and_length_(
    h: Tensor, oracle: Oracle, below: float = TINY, instead: Callable[[], Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Return `unit_`, and ‖h‖₂, (batch,): 1 where the direction is another one; `instead` of a random one."""
    length = norm(h, 2)
    flat = length <= below
    if possibly_any(flat):
        other = oracle.directions() if instead is None else instead()
        h, length = torch.where(per_sample(flat, h), other, h), torch.where(flat, 1.0, length.clamp_min(TINY))
    return h.div_(per_sample(length, h)), length


def nonzero(h: Tensor, oracle: Oracle, below: float = TINY, stream: int = 0) -> Tensor:
    """Replace vanishing gradients by a random direction of unit ℓ2 norm, so that the search goes on."""
    flat = norm(h, 2) <= below
    return torch.where(per_sample(flat, h), oracle.directions(stream), h) if possibly_any(flat) else h


def farthest(x: Tensor, p: float) -> Tensor:
    """(batch,) ℓp distance from x to the farthest corner of the box: no perturbation is larger."""
    return norm(torch.maximum(x, 1 - x), p)

"""The largest entries of each row of (batch, entries).

On a CPU, ordering all entries takes many times as long as finding a few: so a few come first, and more only in
the rows that these are not enough for. On an accelerator asking which these are would wait for the device, and all
entries are ordered at once.
"""

import torch
from torch import Tensor

from minadv import host

# So many at first, or this share of long rows, and then so many times as many.
FEW, SHARE, MORE = 16, 1024, 3
# A CPU finds up to a 64th of a row by a heap, in a time that grows with how many these are, and more by selection:
# beyond this many, it finds as many as are quickly selected as fast.
HEAPED, SELECTED = 128, 60


def first_few(values: Tensor) -> int:
    """How many entries of each row to order first."""
    return max(FEW, values.shape[1] // SHARE) if host.has(values) else values.shape[1]


def more(values: Tensor, few: int) -> int:
    """How many to order in rows that `few` were not enough for."""
    following = MORE * few
    return following if following <= HEAPED else max(following, values.shape[1] // SELECTED)


def nth(values: Tensor, n: Tensor, few: int | None = None) -> Tensor:
    """(batch, 1) n-th largest value of each row; n is (batch, 1), at least 1. `few` come first."""
    few = min(few or first_few(values), values.shape[1])
    found = values.topk(few, dim=1).values.gather(1, (n - 1).clamp_max(few - 1))
    if few < values.shape[1]:
        short = torch.nonzero(n[:, 0] > few).flatten()
        if len(short):
            found[short] = nth(values[short], n[short], more(values, few))
    return found


def enough(values: Tensor, need: Tensor, few: int | None = None) -> Tensor:
    """(batch,) how many of the largest values it takes to reach a sum of `need`, (batch,). `few` come first."""
    few = min(few or first_few(values), values.shape[1])
    sums = values.topk(few, dim=1).values.cumsum(dim=1)
    count = (sums < need[:, None]).sum(dim=1).to(need.dtype) + 1
    if few < values.shape[1]:
        short = torch.nonzero(sums[:, -1] < need).flatten()
        if len(short):
            count[short] = enough(values[short], need[short], more(values, few))
    return count

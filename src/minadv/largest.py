"""The largest entries of each row of (batch, entries).

On a CPU, ordering all entries takes many times as long as finding a few: so a few come first, and more only in
the rows that these are not enough for. On an accelerator asking which these are would wait for the device, and all
entries are ordered at once.
"""

import math

import torch
from torch import Tensor

from minadv import host

# So many at first, or in rows of many times as many, or this share of long rows; and then so many times as many.
FEW, SEVERAL, WIDE, SHARE, MORE = 16, 48, 64, 1024, 3
# A CPU finds up to a 64th of a row by a heap, in a time that grows with how many these are, and more by selection:
# beyond this many, it finds as many as are quickly selected as fast.
HEAPED, SELECTED = 128, 60
# In groups of fewer entries than this, it does not pay to look for the groups first.
SMALLEST = 4


def first_few(values: Tensor) -> int:
    """How many entries of each row to order first."""
    entries = values.shape[1]
    return max(FEW, min(SEVERAL, entries // WIDE), entries // SHARE) if host.has(values) else entries


def more(values: Tensor, few: int) -> int:
    """How many to order in rows that `few` were not enough for."""
    following = MORE * few
    return following if following <= HEAPED else max(following, values.shape[1] // SELECTED)


def top(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """(batch, count) largest values of each row, in order, and where they are.

    Every one is in a group that is among the `count` with the largest maxima: those groups come first, and then
    their entries alone. There are about as many groups as entries in the chosen ones, so that both take as long.
    """
    entries = values.shape[1]
    size = 2 ** round(math.log2(max(entries / count, 1)) / 2)
    while entries % size:
        size //= 2
    if size < SMALLEST:
        found = values.topk(count, dim=1)
        return found.values, found.indices
    groups = entries // size
    grouped = values.reshape(len(values), size, groups)
    chosen = grouped.amax(dim=1).topk(count, dim=1, sorted=False).indices
    candidates = grouped.gather(2, chosen[:, None].expand(-1, size, -1)).flatten(1)
    largest, places = candidates.topk(count, dim=1)
    return largest, chosen.gather(1, places % count).add_(places // count, alpha=groups)


def nth(values: Tensor, n: Tensor, few: int | None = None) -> Tensor:
    """(batch, 1) n-th largest value of each row; n is (batch, 1), at least 1. `few` come first."""
    few = min(few or first_few(values), values.shape[1])
    found = top(values, few)[0].gather(1, (n - 1).clamp_max(few - 1))
    if few < values.shape[1]:
        short = torch.nonzero(n[:, 0] > few).flatten()
        if len(short):
            found[short] = nth(values[short], n[short], more(values, few))
    return found


def enough(values: Tensor, need: Tensor, few: int | None = None) -> Tensor:
    """(batch,) how many of the largest values it takes to reach a sum of `need`, (batch,). `few` come first."""
    few = min(few or first_few(values), values.shape[1])
    sums = top(values, few)[0].cumsum(dim=1)
    count = (sums < need[:, None]).sum(dim=1).to(need.dtype) + 1
    if few < values.shape[1]:
        short = torch.nonzero(sums[:, -1] < need).flatten()
        if len(short):
            count[short] = enough(values[short], need[short], more(values, few))
    return count

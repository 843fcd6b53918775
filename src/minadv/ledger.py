"""Who has paid for what: propagations per sample, and the budget that ends a search."""

import torch
from torch import Tensor


class BudgetSpentError(Exception):
    """Raised inside a search when no sample can afford another propagation; `Attack` catches it."""


class Ledger:
    """Forwards and backwards of each attacked sample, on the CPU, so that looking never waits for a device.

    The pass over the clean images, which every attack needs to know what to attack, is spent from the start;
    it is one of an attack's own forwards where the attack uses it (the paper's protocol doesn't count it
    otherwise).
    """

    def __init__(self, samples: int, budget: int | None) -> None:
        self._budget = budget
        self.forwards = torch.zeros(samples, dtype=torch.int64)
        self.backwards = torch.zeros_like(self.forwards)
        self.spent = torch.ones_like(self.forwards)

    def solvent(self, rows: Tensor | None) -> Tensor | None:
        """Return which of the rows (None is all of them) can afford one more propagation, perhaps none.

        Raises:
            BudgetSpentError: when no sample at all can.
        """
        if self._budget is None:
            return rows
        able = (self.spent if rows is None else self.spent[rows]) < self._budget
        if able.all() and len(able):
            return rows
        if not able.any() and (self.spent >= self._budget).all():
            raise BudgetSpentError
        return torch.nonzero(able).flatten() if rows is None else rows[able]

    def forward(self, rows: Tensor | None) -> None:
        """Book one forward of the rows."""
        self._book(self.forwards, rows)

    def backward(self, rows: Tensor | None) -> None:
        """Book one backward of the rows."""
        self._book(self.backwards, rows)

    def use_clean_pass(self) -> None:
        """Count the pass over the clean images, spent already, as a forward of the attack."""
        self.forwards += 1

    def _book(self, account: Tensor, rows: Tensor | None) -> None:
        for column in (account, self.spent):
            column[slice(None) if rows is None else rows] += 1

"""Who has paid for what: propagations per sample, and the budget that ends a search."""

from dataclasses import dataclass

import torch
from torch import Tensor


class BudgetSpentError(Exception):
    """Raised inside a search when no sample can afford another propagation; `Attack` catches it."""


@dataclass(eq=False)
class Account:
    """Counts of each sample: its own, and one that all samples share, which a number keeps."""

    own: Tensor
    shared: int = 0

    @classmethod
    def of(cls, samples: int) -> "Account":
        """Start at 0."""
        return cls(torch.zeros(samples, dtype=torch.int64))

    @property
    def total(self) -> Tensor:
        """(samples,) counts."""
        return self.own + self.shared

    def book(self, rows: Tensor | None) -> None:
        """Add one to the rows; None is all."""
        if rows is None:
            self.shared += 1
        else:
            self.own.index_add_(0, rows, torch.ones_like(rows))


class Ledger:
    """Forwards and backwards of each attacked sample, on the CPU, so that looking never waits for a device.

    The pass over the clean images, which every attack needs to know what to attack, is spent from the start;
    it is one of an attack's own forwards where the attack uses it (the paper's protocol doesn't count it
    otherwise).
    """

    def __init__(self, samples: int, budget: int | None) -> None:
        self._budget = budget
        self._forwards, self._backwards = Account.of(samples), Account.of(samples)
        self._clean = 1  # until an attack uses it

    @property
    def forwards(self) -> Tensor:
        """(samples,) forwards of each sample."""
        return self._forwards.total

    @property
    def backwards(self) -> Tensor:
        """(samples,) backwards of each sample."""
        return self._backwards.total

    @property
    def spent(self) -> Tensor:
        """(samples,) propagations of each sample, with the pass over its clean image."""
        return self.forwards + self.backwards + self._clean

    def solvent(self, rows: Tensor | None) -> Tensor | None:
        """Return which of the rows (None is all of them) can afford one more propagation, perhaps none.

        Raises:
            BudgetSpentError: when no sample at all can.
        """
        if self._budget is None:
            return rows
        spent = self.spent
        able = (spent if rows is None else spent[rows]) < self._budget
        if able.all() and len(able):
            return rows
        if not able.any() and (spent >= self._budget).all():
            raise BudgetSpentError
        return torch.nonzero(able).flatten() if rows is None else rows[able]

    def forward(self, rows: Tensor | None) -> None:
        """Book one forward of the rows."""
        self._forwards.book(rows)

    def backward(self, rows: Tensor | None) -> None:
        """Book one backward of the rows."""
        self._backwards.book(rows)

    def use_clean_pass(self) -> None:
        """Count the pass over the clean images, spent already, as a forward of the attack: once."""
        if self._clean:
            self._forwards.book(None)
        self._clean = 0

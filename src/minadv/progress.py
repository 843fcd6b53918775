"""How far a search is: steps within rounds, told to whoever asked."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from minadv.ledger import BudgetSpentError
from minadv.probe import Step


def _is_true(answer: object) -> bool:
    """Whether a callback said True, also as a comparison of tensors or arrays does; other answers mean nothing."""
    boolean = answer.dtype == torch.bool if isinstance(answer, Tensor) else isinstance(answer, bool | np.bool_)
    return boolean and bool(answer)


class Progress:
    """Counts an attack's steps and rounds, and tells a callback before each step."""

    def __init__(self, on_step: Callable[[Step], object] | None) -> None:
        """Tell `on_step`, which ends the search when it returns True."""
        self._on_step = on_step
        self._round, self._shown = (0, 1), (0, 1)

    def steps(self, count: int, best_distance: Callable[[], Tensor]) -> Iterator[int]:
        """Count the steps of a round: 0, 1, … `count` − 1.

        Raises:
            BudgetSpentError: when the callback ends the search.
        """
        done, rounds = self._round
        for index in range(count):
            if self._on_step is not None:
                # runs that are repeated within a round don't turn progress back
                at = (done * count + index, rounds * count)
                self._shown = max(at, self._shown, key=lambda pair: pair[0] / pair[1])
                if _is_true(self._on_step(Step(*self._shown, best_distance()))):
                    raise BudgetSpentError
            yield index

    def rounds(self, count: int) -> Iterator[int]:
        """Count the rounds of a nested search, so that `steps` inside reports progress over all of them."""
        for index in range(count):
            self._round = (index, count)
            yield index
        self._round = (0, 1)

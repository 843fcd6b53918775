"""A model whose backward passes go through soft gates, for any attack where ReLUs mask gradients."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from minadv.gates import KEPT, SoftGates
from minadv.guard import check_callable


class Softened(nn.Module):
    """A model with the same logits, to the bit, whose ReLUs have soft gates in backward passes (`minadv.gates`).

    What an attack finds through it is verified as always, as forward passes are those of the model itself. `Auto`
    and `ALMA` do this by themselves, where a sample's gradients are masked.

    Args:
        model: from inputs, (batch, ...), to logits, (batch, classes), with the ReLUs of torch.
        width: of the gates, relative to the largest entry of a layer in a sample, > 0: the wider, the farther from
            the model's own gradients.

    Raises:
        TypeError: for a model that cannot be called, as a spec is, or is no more than a class.
        ValueError: for a width that is not positive.
    """

    def __init__(self, model: Callable[[Tensor], Tensor], width: float = 0.015) -> None:
        super().__init__()
        check_callable(model)
        if not width > 0:
            raise ValueError(f"width must be > 0, got {width}")
        self.model, self.width, self._told = model, width, False
        self.training = any(part.training for part in self.children())  # its own flag: the model keeps what it has

    def forward(self, x: Tensor) -> Tensor:
        """Return the model's logits.

        Warns:
            UserWarning: once, when ReLUs keep their own gates, see `SoftGates`.
        """
        if not torch.is_grad_enabled():
            return self.model(x)
        with SoftGates(x.new_full((len(x),), self.width)) as soft:
            logits = self.model(x)
        if soft.kept and not self._told:
            self._told = True
            warnings.warn(f"Softened: {KEPT}", UserWarning, stacklevel=2)
        return logits

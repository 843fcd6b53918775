"""What an attack learns from one look at the model: a forward pass of all samples, or of those still searched."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import CheckpointError

from minadv.parts import Part


@dataclass(frozen=True)
class Step:
    """Progress of a search, for callbacks.

    Attributes:
        index, steps: of the search: `index` of `steps` are done.
        distances: (inputs,) distance of the best adversarial so far of each of the caller's samples: 0 where one
            was adversarial from the start, inf where none was found yet. On the device: reading it is a transfer.
    """

    index: int
    steps: int
    distances: Tensor


@dataclass(frozen=True, eq=False)
class Probe:
    """One forward pass of the attacked samples at `x`.

    Rows that were left out (not live, or without budget) have the logits of their clean image, are never
    adversarial, and have distance and gradients 0.

    Attributes:
        logits: (batch, classes), part of the graph that `Oracle.gradient` differentiates.
        adversarial: (batch,) bool, beyond the boundary by the confidence.
        distance: (batch,) distance of `x` to the originals.
        distance_gradient: its gradient (of its surrogate, if it has one), where it was asked for.
        part: the rows that were propagated; None is all.
        gathered: rows of the leaf that are the attacked samples, where the leaf is the caller's whole batch.
    """

    x: Tensor
    logits: Tensor
    adversarial: Tensor
    distance: Tensor
    distance_gradient: Tensor | None
    leaf: Tensor
    part: Part | None = None
    gathered: Tensor | None = None

    @property
    def slope(self) -> Tensor:
        """Gradient of the distance, (batch, ...); 0 where it was not asked for."""
        return torch.zeros_like(self.x) if self.distance_gradient is None else self.distance_gradient

    def differentiate(self, values: Tensor, weights: Tensor, again: bool) -> Tensor:
        """Gradient of Σ weights·values with respect to `x`; `again` keeps the graph for further ones.

        Raises:
            ValueError: where the logits do not depend differentiably on `x`, or only once, or are made again
                without soft gates.
        """
        found = None
        try:
            if values.requires_grad:
                (found,) = torch.autograd.grad(values, self.leaf, weights, retain_graph=again, allow_unused=True)
        except CheckpointError as error:
            raise ValueError(
                "model makes activations again in its backward pass (torch.utils.checkpoint), and not those of "
                "its forward pass, as soft gates do not last so long: switch that off while it is attacked, or "
                "take hard gates (Auto and ALMA: soft_gates=False)"
            ) from error
        except RuntimeError as error:
            # torch can be told not to, but what its cache on disk has then differentiates wrongly
            if "donated buffers" not in str(error):
                raise
            raise ValueError(
                "model was compiled (torch.compile) so that its passes can be differentiated once, and this "
                "attack asks for several classes' gradients: pass the model as it was before"
            ) from error
        gradient: Tensor | None = found
        if gradient is None:
            raise ValueError(
                "model returned logits without a gradient to its inputs: gradient attacks need a differentiable "
                "model; look for .detach(), .data, .numpy(), argmax or torch.no_grad() in its forward"
            )
        if self.gathered is not None:
            return gradient[self.gathered]
        return gradient if self.part is None else self.part.spread(gradient, len(self.x))

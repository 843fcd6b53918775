"""What turns a network into a model: inputs in [0, 1] go in, a tensor of logits comes out."""

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Normalise(nn.Module):
    """(inputs - mean) / std per channel; the constants move with the module but are not weights."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std) or min(std) <= 0:
            raise ValueError(
                f"mean {tuple(mean)} and std {tuple(std)} need one value per channel each, std positive"
            )
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(
        self, inputs: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Normalise."""
        if inputs.ndim != 4 or inputs.shape[1] != len(self.mean):
            given = ", ".join(("batch", *map(str, inputs.shape[1:])))
            raise ValueError(
                f"this model takes inputs of shape (batch, {len(self.mean)}, height, width), got ({given}): "
                f"{self._remedy(inputs)}"
            )
        return (inputs - self.mean) / self.std

    def _remedy(self, inputs: Tensor) -> str:
        channels, shape = len(self.mean), inputs.shape[1:]
        if len(shape) == 2:
            return "a single image becomes a batch with inputs.unsqueeze(0)"
        if len(shape) == 3 and shape[2] == channels:
            return "put channels first with inputs.permute(0, 3, 1, 2)"
        if len(shape) == 3 and shape[0] == 1:
            return (
                f"repeat a grey channel with inputs.expand(-1, {channels}, -1, -1), or store images with "
                f"{channels} channels (of a folder: leave out ?mode=L)"
            )
        return "choose another model or data set"


class Logits(nn.Module):
    """A network whose output carries its logits in an attribute, as those of transformers do."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Give the logits."""
        return self.network(inputs).logits


class Function(nn.Module):
    """A plain callable as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs: Tensor) -> Tensor:
        """Call the function."""
        return self.function(inputs)


def normalised(network: nn.Module, mean: Sequence[float] | None, std: Sequence[float] | None) -> nn.Module:
    """Put the normalisation in front of a network; without one the network itself is the model."""
    if mean is None or std is None:
        return network
    return nn.Sequential(OrderedDict(normalise=Normalise(mean, std), network=network))


def frozen(model: nn.Module) -> nn.Module:
    """Put a model in evaluation mode, with no parameter that needs a gradient."""
    for parameter in model.eval().parameters():  # TorchScript's modules refuse to be asked as a whole
        parameter.requires_grad_(False)
    return model

"""Check that a model was handed over in evaluation mode."""

from collections import Counter
from collections.abc import Iterable
from typing import cast

from torch import nn
from torch.nn.modules.batchnorm import _NormBase  # pyright: ignore[reportPrivateUsage]  (their common base)
from torch.nn.modules.dropout import _DropoutNd  # pyright: ignore[reportPrivateUsage]

from minadv.diagnosis.finding import Finding
from minadv.errors import listed
from minadv.guard import Model
from minadv.networks import networks

# what computes something else in training mode; batch norm without running statistics does so in either mode
TWO_FACED = (_DropoutNd, _NormBase, nn.RReLU, nn.RNNBase, nn.MultiheadAttention)


def training_mode(model: Model, name: str) -> tuple[Finding, ...]:
    """Modules in training mode; to be asked before the model is guarded, which puts all in evaluation mode."""
    modules: dict[str, nn.Module] = {}
    for network in networks(model):
        within = "" if network is model else type(network).__name__
        # torch leaves its type open
        modules |= dict(cast("Iterable[tuple[str, nn.Module]]", network.named_modules(prefix=within)))
    training = {path: module for path, module in modules.items() if module.training}
    if not training:
        return ()
    affected = {path: module for path, module in training.items() if isinstance(module, TWO_FACED)}
    kinds = Counter(type(module).__name__ for module in affected.values())
    which = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    where = listed(list(affected), 3)
    return (
        Finding(
            check="training mode",
            severity="warning" if affected else "note",
            model=name,
            seen=f"{len(training)} of {len(modules)} modules are in training mode, "
            + (f"among them {which} ({where})" if affected else "none of them of a kind that behaves differently"),
            matters="Attacks and these checks put the model in evaluation mode and restore it afterwards: "
            "predictions of yours in training mode are those of another model, with random dropout and batch "
            "statistics.",
            remedy="Call model.eval() before attacking or evaluating.",
        ),
    )

"""Weight files: read without running anything in them, and fitted to a network."""

import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor, nn

from minadv import errors

State = dict[str, Tensor]

PICKLES = (".pt", ".pth")
CONVERT = (
    "if you trust it, convert it elsewhere: "
    "safetensors.torch.save_file(torch.load(FILE, weights_only=False)['state_dict'], 'weights.safetensors')"
)
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "state")
# of torch.compile, alone and with nn.DataParallel
COMPILED = ("_orig_mod.", "module._orig_mod.", "_orig_mod.module.")
PREFIXES = ("", "module.", "model.", "module.model.", "network.", "1.", "module.1.", *COMPILED)
# Not part of the network: normalisation kept with the weights, the attacker of MadryLab's `robustness`, and
# the stage that the wide networks of TRADES define but never run.
COMPANIONS = re.compile(r"(^|\.)(mu|sigma)$|(^|\.)(normalizer|normalize|attacker)\.|^(module\.)?sub_block1\.")
# The normalisation among them.
MOMENTS = re.compile(r"(^|\.)(mu|sigma)$|(^|\.)(normalizer|normalize)\.(.*\.)?\w*(mean|std)$")
# Published constants are rounded to four digits.
ROUNDING = 1e-4
# Counts batches while training; old files lack it and evaluation does not read it.
COUNTER = "num_batches_tracked"
FACTORY = "python:package.module:factory"
OWN = f"{FACTORY} loads a network of your own"
MISSING, UNEXPECTED, SHAPE = "missing", "unexpected", "wrong shape"  # what another architecture may cure


def read(path: Path) -> State:
    """Read the tensors of a .safetensors, .pt or .pth file, on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, holds code or no weights, or has another ending.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no weight file {path} (looked at {path.absolute()})")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} is no intact safetensors file ({error}); fetch it again") from error
    if path.suffix in PICKLES:
        return _tensors(path, unpickled(path))
    raise ValueError(f"{path} ends in {path.suffix!r}; weights are read from .safetensors, .pt and .pth")


def unpickled(path: Path, remedy: str = CONVERT) -> Any:
    """Read what torch saved, on the CPU, without running anything in it; `remedy` is for files that hold code.

    Raises:
        ValueError: it is damaged, or holds more than tensors and plain containers.
    """
    with path.open("rb") as file:
        if file.read(64).lstrip()[:1] == b"<":
            raise ValueError(f"{path} is a web page, not weights: follow its download link in a browser")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of unusual pickle protocols: it loads or it does not
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = re.search(r"(Unsupported|GLOBAL|Trying)[^\n]*", str(error))
        what = reason[0] if reason else "it cannot be read as tensors"
        raise ValueError(
            f"{path} is damaged or holds more than tensors ({what}); it is not opened, because that could "
            f"run code inside it: {remedy}"
        ) from error
    except Exception as error:  # there is no telling what a damaged file provokes
        if "TorchScript" in str(error):
            raise ValueError(
                f"{path} is a TorchScript program, which is not opened, because that could run code inside it: "
                f"{remedy}"
            ) from error
        raise ValueError(f"{path} is damaged ({error}); fetch it again") from error


def _tensors(path: Path, loaded: Any) -> State:
    """Find the state dict in what a training script saved."""
    for _ in range(len(WRAPPERS)):  # not for ever: a file can contain itself
        if not isinstance(loaded, Mapping):
            break
        content = cast("Mapping[Any, Any]", loaded)
        tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None and tensors:
            return tensors
        loaded = inner
    raise ValueError(
        f"{path} holds no state dict (a mapping from names to tensors, if need be under 'state_dict')"
    )


def fit(
    network: nn.Module,
    state: State,
    source: Path | str,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> None:
    """Load a state dict into a network, whatever wrapper it was saved from.

    Args:
        network: to load it into.
        state: tensors by name.
        source: where they are from.
        mean: of the normalisation in front of the network, None without one.
        std: likewise.

    Raises:
        ValueError: names or shapes differ; the message lists them and names architectures that would fit.

    Warns:
        UserWarning: another normalisation is stored with the weights; it is not used.
    """
    wanted = network.state_dict()
    prefix = max(PREFIXES, key=lambda start: sum(start + name in state for name in wanted))
    given = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    rest = [key for key in state if not key.startswith(prefix)]
    problems = _problems(wanted, given, rest)
    if problems:
        raise ValueError(f"{misfit(source, problems)} {_advice(state, problems)}".rstrip())
    # assigning would keep another precision; copying casts to the network's
    network.load_state_dict({name: given.get(name, value) for name, value in wanted.items()})
    dropped = {key: value for key, value in state.items() if key.removeprefix(prefix) not in wanted}
    _warn_of_moments(dropped, source, mean, std)


def misfit(source: Path | str, problems: Mapping[str, Sequence[str]]) -> str:
    """Say which tensors do not fit, a few of each problem."""
    said = "; ".join(f"{what}: {_some(names)}" for what, names in problems.items())
    return f"{source} does not fit: {said}."


def undense(tensor: Tensor) -> str | None:
    """Say what a tensor is that is not a dense one with numbers; None for a dense one."""
    if tensor.is_meta:
        return "without its numbers (meta)"
    dense = tensor.layout == torch.strided and not tensor.is_quantized
    return None if dense else f"{tensor.dtype} {tensor.layout}"


def _problems(wanted: State, given: State, rest: list[str]) -> dict[str, list[str]]:
    missing = [name for name in wanted if name not in given and not name.endswith(COUNTER)]
    strange = [name for name in (*given, *rest) if name not in wanted and not COMPANIONS.search(name)]
    shapes = [
        f"{name} is {tuple(given[name].shape)}, needed is {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in given and given[name].shape != value.shape
    ]
    kinds = {name: undense(given[name]) for name in wanted if name in given}
    floats = {name: wanted[name] for name, kind in kinds.items() if not kind and wanted[name].is_floating_point()}
    whole = [f"{name} is {given[name].dtype}" for name in floats if not given[name].is_floating_point()]
    broken = [
        name
        for name, value in floats.items()
        if given[name].is_floating_point() and not given[name].to(value.dtype).isfinite().all()
    ]
    found = {
        MISSING: missing,
        UNEXPECTED: strange,
        SHAPE: shapes,
        "not dense": [f"{name} is a tensor {kind}" for name, kind in kinds.items() if kind],
        "not finite in the network's precision": broken,
        "not floating point": whole,
    }
    return {what: names for what, names in found.items() if names}


def _some(names: Sequence[str], limit: int = 4) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _advice(state: State, problems: Mapping[str, list[str]]) -> str:
    if not problems.keys() & {MISSING, UNEXPECTED, SHAPE}:
        return ""
    if set(problems) == {UNEXPECTED}:  # all that the network needs is there
        return f"Remove these tensors from the file; {OWN}"
    fitting = architectures_for(state)
    if fitting:
        return f"It would fit the architecture {' or '.join(fitting)}"
    return f"No architecture of the zoo fits it; {OWN}"


def _warn_of_moments(
    dropped: State, source: Path | str, mean: Sequence[float] | None, std: Sequence[float] | None
) -> None:
    """Warn where a normalisation that is left out differs from the one that is used."""
    used = {"mean": mean or (0.0,), "std": std or (1.0,)}
    others = [
        f"{key} ({errors.listed([round(float(number), 4) for number in value.flatten()[:6]])})"
        for key, value in dropped.items()
        if MOMENTS.search(key) and not undense(value) and not _equal(value, used[_moment(key)])
    ]
    if others:
        instead = "none" if mean is None else f"mean {tuple(mean)} and std {tuple(std or ())}"
        warnings.warn(
            f"{source} holds a normalisation that is not used: {_some(others)}; used is {instead}. If the network "
            f"was trained with the file's, {OWN}, with its normalisation",
            UserWarning,
            stacklevel=3,
        )


def _moment(key: str) -> str:
    return "std" if key.endswith(("std", "sigma")) else "mean"


def _equal(value: Tensor, used: Sequence[float]) -> bool:
    """Whether constants are the same, up to their rounding; one number stands for all channels."""
    slack = max(ROUNDING, torch.finfo(value.dtype).eps if value.is_floating_point() else 0.0)
    given, wanted = value.flatten().double(), torch.tensor(used, dtype=torch.float64)
    fits = len(given) == len(wanted) or (len(given) and 1 in (len(given), len(wanted)))
    return bool(fits) and bool(((given - wanted).abs() <= slack).all())


def architectures_for(state: State) -> tuple[str, ...]:
    """Name the zoo's architectures that a state dict fits, by tensor names and shapes."""
    from minadv.models.architectures import BUILDERS

    with torch.device("meta"):  # names and shapes only, no memory
        networks = {name: build().state_dict() for name, build in BUILDERS.items()}
    return tuple(
        name
        for name, wanted in networks.items()
        for prefix in PREFIXES
        if all(
            prefix + key in state and state[prefix + key].shape == value.shape
            for key, value in wanted.items()
            if not key.endswith(COUNTER)
        )
    )


def classes(network: nn.Module, state: State) -> int | None:
    """Count the classes of a state dict by the network's last linear layer, None when that is not in it."""
    matrices = [name for name, tensor in network.state_dict().items() if tensor.ndim == 2]
    keys = [prefix + name for name in matrices[-1:] for prefix in PREFIXES]
    return next((len(state[key]) for key in keys if key in state), None)

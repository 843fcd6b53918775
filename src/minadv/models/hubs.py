"""Models of torchvision, timm and transformers, each imported only when one of its models is asked for."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import hub, nn

from minadv import errors
from minadv.models import processors, search, weights
from minadv.models.processors import Moments
from minadv.models.specs import Spec
from minadv.models.wrap import Logits, normalised
from minadv.models.zoo import IMAGENET_MEAN, IMAGENET_STD

# Their pretrained versions turn ImageNet's normalisation into their own inside.
CONVERTING = {"transform_input": True, "init_weights": False}
OPTIONS = {"googlenet": CONVERTING, "inception_v3": CONVERTING}
# What most processors of transformers do, for a random model that has none.
HALF = (0.5, 0.5, 0.5)
NO_CODE = {"trust_remote_code": False}  # with a model of the hub or of a folder: none of it is run
# No pickle is read, and tensors of another size are listed like missing ones.
LOADING = {"use_safetensors": True, "ignore_mismatched_sizes": True, "output_loading_info": True, **NO_CODE}


def torchvision(spec: Spec) -> nn.Module:
    """Build a torchvision classifier: normalisation inside, colour inputs, 224×224 for most.

    The normalisation is that of the weights, and of the default ones for a file or at random.

    Raises:
        ValueError: the name or the weights are not known, or a weight file does not fit.
        FileNotFoundError: there is no such weight file.
        RuntimeError: the weights cannot be downloaded; the message says which file to put where.
    """
    from torchvision import models

    known = models.list_models(module=models)
    if spec.name not in known:
        raise errors.unknown("torchvision model", spec.name, known)

    def build(**options: int) -> nn.Module:
        return models.get_model(spec.name, weights=None, **OPTIONS.get(spec.name, {}), **options)

    known_weights: Any = models.get_model_weights(spec.name)
    published = tuple(known_weights.__members__)  # DEFAULT is one of them
    asked = spec.at or "DEFAULT"
    chosen = known_weights[asked if asked in published else "DEFAULT"]
    preset = chosen.transforms()
    moments = getattr(preset, "mean", IMAGENET_MEAN), getattr(preset, "std", IMAGENET_STD)
    if asked not in published:
        return _built(spec, build, published, lambda _: moments)
    network = build()
    weights.fit(network, weights.read(_downloaded(spec, chosen.url)), chosen.url, *moments)
    return normalised(network, *moments)


def timm(spec: Spec) -> nn.Module:
    """Build a timm classifier: normalisation and input size are those of its pretrained configuration.

    Raises:
        ImportError: timm is not installed.
        ValueError: the name is not known, or a weight file does not fit.
        FileNotFoundError: there is no such weight file.
        RuntimeError: the weights cannot be downloaded.
    """
    library = _library(spec, "timm", "timm")
    if not library.is_model(spec.name):
        raise _unknown_timm(spec, library.list_models())

    def moments(network: nn.Module) -> Moments:
        config = library.data.resolve_model_data_config(network)
        return config["mean"], config["std"]

    if spec.at is not None:
        return _built(spec, partial(library.create_model, spec.name, pretrained=False), (), moments)
    network = _hub(spec, lambda: library.create_model(spec.name, pretrained=True))
    return normalised(network, *moments(network))


def transformers(spec: Spec) -> nn.Module:
    """Build an image classifier of transformers from a hub name, a local folder or, at random, a model type.

    The normalisation is that of its image processor, 0.5 ± 0.5 for a random model without one. Inputs have
    the size of the model's configuration (`image_size`, 224×224 for most).

    Raises:
        ImportError: transformers is not installed.
        ValueError: a random model of an unknown type, a folder without what is needed, weights that are missing or
            do not fit, or a model without an image processor, with one that does more to colours than normalise,
            or with code of its own.
        RuntimeError: the model cannot be downloaded, or has no safetensors weights.
    """
    library = _library(spec, "transformers", "hf")
    local = Path(spec.name).expanduser()
    spec = replace(spec, name=str(local)) if local.is_dir() else spec
    auto = library.AutoModelForImageClassification
    if spec.random:
        config, has_processor = _config(spec, library)
        config.architectures = config.architectures or []  # None breaks types with several classes, as deit
        network = auto.from_config(config, dtype=torch.float32, **NO_CODE)
    else:
        network, info = _hub(spec, lambda: auto.from_pretrained(spec.name, dtype=torch.float32, **LOADING))
        has_processor = True
        _check_complete(spec, info)
    mean, std = processors.moments(spec, library, network.config, NO_CODE) if has_processor else (HALF, HALF)
    return normalised(Logits(network), mean, std)


def _check_complete(spec: Spec, info: Mapping[str, Any]) -> None:
    """Raise ValueError where transformers left layers random: what is not in the file, or in another size."""
    problems = {
        weights.MISSING: sorted(name for name in info["missing_keys"] if not name.endswith(weights.COUNTER)),
        weights.SHAPE: sorted(
            f"{name} is {tuple(given)}, needed is {tuple(needed)}"
            for name, given, needed in info["mismatched_keys"]
        ),
    }
    problems = {what: names for what, names in problems.items() if names}
    if problems:
        raise ValueError(
            f"{weights.misfit(spec.text, problems)} These layers would be random: save the whole image classifier "
            f"with its weights (hf:{spec.name}@random is an untrained one)"
        )


def _config(spec: Spec, library: Any) -> tuple[Any, bool]:
    folder = Path(spec.name)
    if folder.is_dir() or "/" in spec.name:
        has_processor = not folder.is_dir() or (folder / "preprocessor_config.json").is_file()
        return _hub(spec, lambda: library.AutoConfig.from_pretrained(spec.name, **NO_CODE)), has_processor
    types = {config.model_type for config in library.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING}
    if spec.name not in types:
        raise errors.unknown("image classifier of transformers", spec.name, types)
    return library.AutoConfig.for_model(spec.name), False


def _built(
    spec: Spec,
    build: Callable[..., nn.Module],
    published: Iterable[str],
    moments: Callable[[nn.Module], Moments],
) -> nn.Module:
    """Build a model untrained, or with the weights of a file and as many classes as they have."""
    network = build()
    mean, std = moments(network)
    if spec.at is None or spec.random:
        return normalised(network, mean, std)
    if not Path(spec.at).suffix:  # a name, then, not a path
        raise errors.unknown(f"weights for {spec.kind}:{spec.name}", spec.at, (*published, "random"))
    path = search.located(spec.at, spec.first)
    state = weights.read(path)
    classes = weights.classes(network, state)
    network = network if classes is None else build(num_classes=classes)
    weights.fit(network, state, path, mean, std)
    return normalised(network, mean, std)


def _downloaded(spec: Spec, url: str) -> Path:
    path = Path(hub.get_dir()) / "checkpoints" / Path(url).name
    if path.is_file():
        return path
    checksum = hub.HASH_REGEX.search(path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        hub.download_url_to_file(url, str(path), checksum[1] if checksum else None, progress=False)
    except (OSError, RuntimeError) as error:
        raise RuntimeError(
            f"{spec.text}: downloading {url} failed ({error}); put the file at {path}, or anywhere and write "
            f"torchvision:{spec.name}@FILE (torchvision:{spec.name}@random for an untrained model)"
        ) from error
    return path


def _library(spec: Spec, package: str, extra: str) -> Any:
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise errors.missing_extra(f"the model spec {spec.text!r}", package, extra) from error


def _hub(spec: Spec, fetch: Callable[[], Any]) -> Any:
    try:
        return fetch()
    except (OSError, RuntimeError, ValueError) as error:
        if "trust_remote_code" in str(error):
            raise ValueError(
                f"{spec.text} comes with code of its own, which is not run; if you trust it, build the model with "
                f"{weights.FACTORY}"
            ) from error
        if spec.kind == "hf" and Path(spec.name).is_dir():
            raise ValueError(
                f"{spec.text} cannot be loaded from that folder ({errors.first_line(error)}): it needs "
                "config.json, with a model_type, and model.safetensors, as save_pretrained writes them"
            ) from error
        local = f"timm:{spec.name}@FILE" if spec.kind == "timm" else "hf:FOLDER (config.json, model.safetensors)"
        raise RuntimeError(
            f"{spec.text} cannot be had from https://huggingface.co ({errors.first_line(error)}); download it "
            f"where there is a network and write {local}"
        ) from error


def _unknown_timm(spec: Spec, known: list[str]) -> ValueError:
    # timm knows over a thousand names: too many to list in an error
    nearest = get_close_matches(spec.name, known, n=3)
    hint = f" did you mean {' or '.join(map(repr, nearest))}?" if nearest else ""
    return ValueError(f"unknown timm model {spec.name!r};{hint} timm.list_models() lists all")

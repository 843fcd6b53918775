"""Models of torchvision, timm and transformers, each imported only when one of its models is asked for."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import hub, nn

from minadv import errors
from minadv.models import weights
from minadv.models.specs import Spec
from minadv.models.wrap import Logits, normalised
from minadv.models.zoo import IMAGENET_MEAN, IMAGENET_STD

# Their pretrained versions turn ImageNet's normalisation into their own inside.
CONVERTING = {"transform_input": True, "init_weights": False}
OPTIONS = {"googlenet": CONVERTING, "inception_v3": CONVERTING}
# What most processors of transformers do, for a random model that has none.
HALF = (0.5, 0.5, 0.5)


def torchvision(spec: Spec) -> nn.Module:
    """Build a torchvision classifier: ImageNet normalisation inside, colour inputs, 224×224 for most.

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
    if (spec.at or "DEFAULT") not in published:
        return normalised(_built(spec, build, published), IMAGENET_MEAN, IMAGENET_STD)
    chosen = known_weights[spec.at or "DEFAULT"]
    network, preset = build(), chosen.transforms()
    weights.fit(network, weights.read(_downloaded(spec, chosen.url)), chosen.url)
    return normalised(network, preset.mean, preset.std)


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
    if spec.at is None:
        network = _hub(spec, lambda: library.create_model(spec.name, pretrained=True))
    else:
        network = _built(spec, partial(library.create_model, spec.name, pretrained=False), ())
    config = library.data.resolve_model_data_config(network)
    return normalised(network, config["mean"], config["std"])


def transformers(spec: Spec) -> nn.Module:
    """Build an image classifier of transformers from a hub name, a local folder or, at random, a model type.

    The normalisation is that of its image processor, 0.5 ± 0.5 for a random model without one. Inputs have
    the size of the model's configuration (`image_size`, 224×224 for most).

    Raises:
        ImportError: transformers is not installed.
        ValueError: a random model of an unknown type, or a model without an image processor.
        RuntimeError: the model cannot be downloaded, or has no safetensors weights.
    """
    library = _library(spec, "transformers", "hf")
    local = Path(spec.name).expanduser()
    spec = replace(spec, name=str(local)) if local.is_dir() else spec
    auto = library.AutoModelForImageClassification
    if spec.random:
        config, has_processor = _config(spec, library)
        network = auto.from_config(config, dtype=torch.float32)
        mean, std = _moments(spec, library) if has_processor else (HALF, HALF)
    else:
        options = {"use_safetensors": True, "dtype": torch.float32}  # never a pickle
        network = _hub(spec, lambda: auto.from_pretrained(spec.name, **options))
        mean, std = _moments(spec, library)
    return normalised(Logits(network), mean, std)


def _config(spec: Spec, library: Any) -> tuple[Any, bool]:
    folder = Path(spec.name)
    if folder.is_dir() or "/" in spec.name:
        has_processor = not folder.is_dir() or (folder / "preprocessor_config.json").is_file()
        return _hub(spec, lambda: library.AutoConfig.from_pretrained(spec.name)), has_processor
    types = {config.model_type for config in library.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING}
    if spec.name not in types:
        raise errors.unknown("image classifier of transformers", spec.name, types)
    return library.AutoConfig.for_model(spec.name), False


def _moments(spec: Spec, library: Any) -> tuple[Any, Any]:
    try:
        processor = library.AutoImageProcessor.from_pretrained(spec.name)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{spec.text} has no image processor ({_line(error)}), so its normalisation is not known; save "
            "one beside it (preprocessor_config.json), or build the model with python:package.module:factory"
        ) from error
    return (processor.image_mean, processor.image_std) if processor.do_normalize else (None, None)


def _built(spec: Spec, build: Callable[..., nn.Module], published: Iterable[str]) -> nn.Module:
    """Build a network untrained, or with the weights of a file and as many classes as they have."""
    network = build()
    if spec.at is None or spec.random:
        return network
    path = Path(spec.at).expanduser()
    if not path.exists() and not path.suffix:  # a name, then, not a path
        raise errors.unknown(f"weights for {spec.kind}:{spec.name}", spec.at, (*published, "random"))
    state = weights.read(path)
    classes = weights.classes(network, state)
    network = network if classes is None else build(num_classes=classes)
    weights.fit(network, state, path)
    return network


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
        local = f"timm:{spec.name}@FILE" if spec.kind == "timm" else "hf:FOLDER (config.json, model.safetensors)"
        raise RuntimeError(
            f"{spec.text} cannot be had from https://huggingface.co ({_line(error)}); download it where "
            f"there is a network and write {local}"
        ) from error


def _unknown_timm(spec: Spec, known: list[str]) -> ValueError:
    # timm knows over a thousand names: too many to list in an error
    nearest = get_close_matches(spec.name, known, n=3)
    hint = f"; did you mean {' or '.join(map(repr, nearest))}?" if nearest else ""
    return ValueError(f"unknown timm model {spec.name!r}{hint} timm.list_models() lists all")


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]

"""Which rows and which samples of a suite are meant."""

import re
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from minadv.bench.suite import Suite
from minadv.data import Data
from minadv.guard import guarded

BATCH = 256  # images classified at a time


def matches(model: str, attack: str, only: Sequence[str]) -> bool:
    """Whether all words of one of `only` are in a row's names; "100" is not in "1000", and l2 is ℓ2.

    Args:
        model: as tables call it.
        attack: likewise.
        only: e.g. ("alma l2 100", "fab"); nothing means every row.
    """
    text = _plain(f"{model} {attack}")
    return not only or any(all(_whole(word).search(text) for word in _plain(words).split()) for words in only)


def _whole(word: str) -> re.Pattern[str]:
    """Match a word anywhere but inside a longer number."""
    before = r"(?<!\d)" if word[0].isdigit() else ""
    after = r"(?!\d)" if word[-1].isdigit() else ""
    return re.compile(before + re.escape(word) + after)


def _plain(text: str) -> str:
    return text.lower().replace("ℓ", "l").replace("∞", "inf").replace("×", "x").replace("σ", "sigma")


def candidates(suite: Suite, data: Data, target: int | None) -> list[int]:
    """Return the numbers of the samples that a suite can attack, in order: those that are not of the target class.

    Raises:
        ValueError: when its range begins after the last sample, or all samples are of the target class.
    """
    first, end = suite.samples if isinstance(suite.samples, tuple) else (0, len(data))
    if first >= len(data):
        raise ValueError(
            f"samples = [{first}, {end}] begins after the last of {len(data)} samples of {suite.data}"
        )
    if isinstance(suite.samples, tuple) and end > len(data):
        warnings.warn(
            f"samples = [{first}, {end}] ends after the last of {len(data)} samples of {suite.data}", stacklevel=2
        )
    numbers = range(first, min(end, len(data)))
    kept = [number for number in numbers if target is None or int(data.labels[number]) != target]
    if not kept:
        raise ValueError(f"all samples {first} to {numbers[-1]} of {suite.data} are of the target class")
    return kept


def at_most(suite: Suite, limit: int | None) -> int | None:
    """Return how many samples are wanted, None for all."""
    counts = [count for count in (suite.samples, limit) if isinstance(count, int)]
    return min(counts, default=None)


def warn_of_fewer(suite: Suite, limit: int | None, model: str, found: int) -> None:
    """Warn where a suite asks for more samples than there are for a model."""
    wanted = at_most(suite, limit)
    if isinstance(suite.samples, int) and wanted is not None and found < wanted:
        warnings.warn(
            f"{model}: {found} samples, as {suite.data} has no more that fit; the suite asks for {suite.samples}",
            stacklevel=2,
        )


def correct(data: Data, numbers: Sequence[int], most: int | None, model: nn.Module) -> list[int]:
    """Return the first samples, at most `most`, that a model classifies correctly."""
    kept: list[int] = []
    for start in range(0, len(numbers), BATCH):
        if most is not None and len(kept) >= most:
            break
        part = numbers[start : start + BATCH]
        images, labels = data.batch(part)
        right = classify(model, images).argmax(dim=1) == labels
        kept += [number for number, is_right in zip(part, right, strict=True) if is_right]
    return kept[:most]


def classify(model: nn.Module, images: Tensor) -> Tensor:
    """Return the logits of images, on the CPU."""
    with guarded(model, images) as logits, torch.no_grad():
        return logits(images)

"""What an attack returns: per-sample outcomes as data."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from minadv.errors import counted


class Status(StrEnum):
    """What happened to a sample."""

    ALREADY = "already adversarial"
    FOUND = "found"
    NOT_FOUND = "not found"
    NON_FINITE = "non-finite"


@dataclass(frozen=True, eq=False)
class Trace:
    """Best distance so far against propagations spent, one row per query (one forward of each sample).

    It falls, but for EAD's elastic-net rule: there it is the ℓ1 distance of the best by that rule.

    `propagations` counts what the budget does before the query's own backward: forwards, backwards, and the look
    at the clean images whether or not the attack used it; `distances` is inf until a sample's first success.
    """

    propagations: Int64[Tensor, "queries batch"]
    distances: Float[Tensor, "queries batch"]

    def __repr__(self) -> str:
        queries, samples = self.distances.shape
        return f"<Trace: {counted(samples, 'sample')}, {queries} queries>"

    def select(self, samples: Tensor) -> "Trace":
        """Return the trace of some of the samples, by their numbers or a mask."""
        return Trace(self.propagations[:, samples], self.distances[:, samples])


@dataclass(frozen=True, eq=False)
class Result:
    """Verified outcome of an attack, all per sample.

    Attributes:
        adversarials: like the inputs; the original in rows where the attack failed.
        success: classified again from `adversarials` by a separate forward pass in the inputs' precision, beyond
            the boundary by `confidence` logits (up to rounding), finite, and inside [0, 1].
        distances: recomputed from `adversarials`; inf where failed, 0 where the original was adversarial.
        forwards, backwards: propagations of the attacked model.
        status: already adversarial, found, not found, or non-finite (the model returned NaN or infinite values
            during the search and nothing was found).
        margins: the goal's logit margin of `adversarials`, negative for successes.
        predictions, clean_predictions: classes of `adversarials` and of the inputs.
        distance: label of the minimised distance.
        confidence: how far beyond the boundary a point had to be, in logits.
        trace: best distance against propagations, when it was asked for.
    """

    adversarials: Float[Tensor, "batch ..."]
    success: Bool[Tensor, " batch"]
    distances: Float[Tensor, " batch"]
    forwards: Int64[Tensor, " batch"]
    backwards: Int64[Tensor, " batch"]
    status: tuple[Status, ...]
    margins: Float[Tensor, " batch"]
    predictions: Int64[Tensor, " batch"]
    clean_predictions: Int64[Tensor, " batch"]
    distance: str
    confidence: float
    trace: Trace | None = None

    def __len__(self) -> int:
        return len(self.status)

    @property
    def asr(self) -> float:
        """Attack success rate in [0, 1], already adversarial samples included."""
        return _mean(self.success, of_none=float("nan"))

    @property
    def median(self) -> float:
        """Median distance with failures as inf (the lower middle for even counts, as in the paper's scripts)."""
        return self.distances.median().item()

    @property
    def attacked(self) -> Bool[Tensor, " batch"]:
        """Which samples were not adversarial from the start: counts are means over these."""
        return torch.tensor([status != Status.ALREADY for status in self.status], device=self.success.device)

    def __str__(self) -> str:
        counts = self.forwards, self.backwards
        forwards, backwards = (_mean(count[self.attacked], of_none=0.0) for count in counts)
        median = f"{self.median:.4g}" if self.median < float("inf") else "– (ASR below 50 %)"
        return (
            f"{int(self.success.sum())}/{len(self)} adversarial (ASR {100 * self.asr:.1f} %), "
            f"median {self.distance} {median}, forwards/backwards {forwards:.0f}/{backwards:.0f} of an attacked "
            f"sample, verified {self.confidence:g} logits beyond the boundary, up to rounding"
        )

    def __repr__(self) -> str:
        return f"<Result: {self}>"  # a notebook would show every tensor

    def to(self, device: torch.device | str) -> "Result":
        """Return the same result with every tensor on `device`."""
        trace = self.trace and Trace(self.trace.propagations.to(device), self.trace.distances.to(device))
        moved = {field.name: getattr(self, field.name) for field in fields(self)}
        tensors = {name: value.to(device) for name, value in moved.items() if isinstance(value, Tensor)}
        return replace(self, trace=trace, **tensors)


def _mean(values: Tensor, of_none: float) -> float:
    # on the CPU, as MPS has no float64
    return values.cpu().double().mean().item() if len(values) else of_none


def assemble(records: Sequence[tuple[Tensor, Tensor]], rows: Tensor, inputs: Tensor) -> Trace:
    """Trace of a batch of inputs from (spent, best distance) of its attacked rows at every query.

    Samples that were adversarial from the start are at 0 from the first query on.
    """
    samples = len(inputs)
    if not records:  # none is attacked, or the search ended before its first query
        unknown = inputs.new_zeros(1, samples).index_fill(1, rows, torch.inf)
        return Trace(rows.new_ones(1, samples), unknown)
    spent, best = (torch.stack(column) for column in zip(*records, strict=True))
    propagations = spent.new_ones(len(records), samples)
    distances = best.new_zeros(len(records), samples)
    propagations[:, rows], distances[:, rows] = spent, best
    return Trace(propagations, distances)


def join(traces: Sequence[Trace]) -> Trace:
    """Put traces of different samples side by side; shorter ones go on with their last row."""
    longest = max(len(trace.distances) for trace in traces)
    rows = [torch.arange(longest).clamp_max(len(trace.distances) - 1) for trace in traces]
    return Trace(
        torch.cat([trace.propagations[some] for trace, some in zip(traces, rows, strict=True)], dim=1),
        torch.cat([trace.distances[some] for trace, some in zip(traces, rows, strict=True)], dim=1),
    )


def concatenate(results: Sequence[Result]) -> Result:
    """Join the results of several batches, and their traces where all have one.

    Raises:
        ValueError: for no results, or results under different distances or of different confidences.
    """
    if not results:
        raise ValueError("results must be at least one, got none")
    first = results[0]
    names = sorted({result.distance for result in results})
    if len(names) > 1:
        raise ValueError(f"results must be under one distance, got {', '.join(names)}")
    if len(confidences := sorted({result.confidence for result in results})) > 1:
        raise ValueError(f"results must be of one confidence, got {', '.join(map(repr, confidences))}")
    joined = {
        field.name: torch.cat([getattr(result, field.name) for result in results])
        for field in fields(first)
        if isinstance(getattr(first, field.name), Tensor)
    }
    traces = [result.trace for result in results if result.trace is not None]
    trace = join(traces) if len(traces) == len(results) else None
    status = tuple(status for result in results for status in result.status)
    return Result(**joined, status=status, distance=first.distance, confidence=first.confidence, trace=trace)

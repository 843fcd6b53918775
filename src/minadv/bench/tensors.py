"""The images and traces of finished shards, read when they are asked for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl
import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from minadv.bench.records import ShardRecord
from minadv.bench.store import TENSORS_FILE, TRACE_FILE, DamagedError, Store
from minadv.bench.stored import Pictures
from minadv.result import Trace, join


@dataclass(frozen=True)
class Tensors:
    """The tensors behind rows: each row says in which shard its sample is.

    Attributes:
        shards: by their ids.
        rows: sorted by cell.
        places: where a cell's rows begin, and how many they are.
        damage: what turned out to be damaged when it was asked for, each file once.
    """

    store: Store
    shards: Mapping[str, ShardRecord]
    rows: pl.DataFrame
    places: Mapping[str, tuple[int, int]]
    damage: dict[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def behind(cls, store: Store, shards: Iterable[ShardRecord], rows: pl.DataFrame) -> "Tensors":
        """Return the tensors of rows that are sorted by cell."""
        runs = rows["cell"].rle().struct.unnest()
        begins = runs["len"].cum_sum() - runs["len"]
        places = zip(runs["value"], zip(begins, runs["len"], strict=True), strict=True)
        return cls(store, {shard.id: shard for shard in shards}, rows, dict(places))

    def pictures(self, cell: str, numbers: Sequence[int]) -> Pictures:
        """Read originals and adversarials of samples of a cell, (n, ...) each.

        Raises:
            DamagedError: when their file is damaged.
            KeyError: when a sample is not among the cell's.
        """
        found: dict[int, tuple[Tensor, Tensor]] = {}
        for shard, samples in self._of(cell, numbers):
            tensors = self._read(shard, TENSORS_FILE)
            place = {int(number): row for row, number in enumerate(tensors["samples"])}
            for number in samples:
                row = place[number]
                found[number] = tensors["originals"][row], tensors["adversarials"][row]
        return Pictures(*(torch.stack([found[number][part] for number in numbers]) for part in (0, 1)))

    def traces(self, cell: str, numbers: Sequence[int]) -> Trace | None:
        """Read the trace of samples of a cell; None for none, and when one has no intact trace."""
        parts: list[Trace] = []
        for shard, samples in self._of(cell, numbers):
            if TRACE_FILE not in shard.files:
                return None
            try:
                tensors = self._read(shard, TRACE_FILE)
            except DamagedError:
                return None
            wanted = torch.isin(tensors["samples"], torch.tensor(samples))
            parts.append(Trace(tensors["propagations"], tensors["distances"]).select(wanted))
        return join(parts) if parts else None

    def _of(self, cell: str, numbers: Sequence[int]) -> list[tuple[ShardRecord, list[int]]]:
        """Shards of samples of a cell, each with those that count in it."""
        rows = self.rows.slice(*self.places.get(cell, (0, 0))).filter(pl.col("sample").is_in(numbers))
        listed = rows.group_by("shard", maintain_order=True).agg("sample")
        return [(self.shards[shard], samples) for shard, samples in listed.iter_rows()]

    def _read(self, shard: ShardRecord, name: str) -> dict[str, Tensor]:
        try:
            return load(self.store.bytes_of(shard, name))
        except (DamagedError, SafetensorError) as error:
            path = self.store.path(shard, name)
            why = str(error) if isinstance(error, DamagedError) else f"{path} cannot be read: {error}"
            self.damage[f"{path}"] = f"{why}: what would be drawn from it is left out"
            raise DamagedError(why) from error

    def damaged(self) -> tuple[str, ...]:
        """Say which files that were asked for so far are damaged."""
        return tuple(self.damage.values())

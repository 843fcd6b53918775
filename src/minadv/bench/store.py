"""Where finished shards live. Nothing that is finished is ever written to again, and nothing half-written counts.

    plan.json                      what was asked for
    cells/CELL.json                what an attack on a model was, exactly
    shards/SHARD/rows.parquet      a row per sample
                 adversarials.safetensors   originals, adversarials, sample numbers
                 trace.safetensors          best distance against propagations, when it was kept
                 shard.json                 which cell and samples, checksums of the files and of itself
    failures/SHARD.json            a shard that raised, with its traceback
    damaged/SHARD/                 a shard whose files are not what was written
    diagnoses/NAME.json            findings about a model
    claims/SHARD.lock              held by the process that computes the shard

A shard is written to a folder beside its place and moved there in one step. Names are hashes of contents, so that
folders of different machines can be copied together.
"""

import hashlib
import io
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from safetensors.torch import save
from torch import Tensor

from minadv.bench import files
from minadv.bench.documents import CELLS, CLAIMS, DAMAGED, DIAGNOSES, FAILURES, SHARDS, Documents
from minadv.bench.records import File, ShardRecord
from minadv.claims import Claim

ROWS_FILE, TENSORS_FILE, TRACE_FILE, RECORD = (
    "rows.parquet",
    "adversarials.safetensors",
    "trace.safetensors",
    "shard.json",
)


class DamagedError(ValueError):
    """A shard whose files are not what was written."""


@dataclass(frozen=True)
class Store(Documents):
    """A benchmark folder: its small files, and its shards."""

    def create(self) -> None:
        """Make the folder.

        Raises:
            OSError: when it cannot be written to.
        """
        for part in (SHARDS, CELLS, FAILURES, DIAGNOSES, CLAIMS):
            (self.folder / part).mkdir(parents=True, exist_ok=True)

    def exists(self) -> bool:
        """Whether this is a benchmark's folder."""
        return (self.folder / SHARDS).is_dir()

    def claim(self, shard: str) -> Claim | None:
        """Take a shard to compute it; None while another process holds it. A killed process lets go of its own."""
        claim = Claim.of(self.folder / CLAIMS / f"{shard}.lock")
        if claim is not None:
            # what a killed process left of it
            for half in (self.folder / SHARDS).glob(f".{shard}.*"):
                shutil.rmtree(half, ignore_errors=True)
        return claim

    def tidy(self) -> None:
        """Remove the locks that killed processes left of shards that they had finished."""
        with suppress(OSError):  # they do no harm
            for path in (self.folder / CLAIMS).glob("*.lock"):
                claim = self.claim(path.stem) if self.has(path.stem) else None
                if claim is not None:
                    claim.release()

    def write_shard(
        self, record: ShardRecord, rows: pl.DataFrame, tensors: Mapping[str, Mapping[str, Tensor]]
    ) -> None:
        """Put a finished shard into its place, all of it or nothing.

        Args:
            record: without files and checksum.
            rows: of the samples.
            tensors: file name → tensors by name.

        Raises:
            OSError: when it cannot be written (a full disk, say); nothing is left behind.
        """
        table = io.BytesIO()
        rows.write_parquet(table)
        contents = {ROWS_FILE: table.getvalue()}
        contents |= {
            name: save({key: value.contiguous() for key, value in of.items()}) for name, of in tensors.items()
        }
        described = {name: File(sha256=files.sha256(data), size=len(data)) for name, data in contents.items()}
        sealed = record.model_copy(update={"files": described}).sealed()
        contents[RECORD] = sealed.model_dump_json().encode()
        place = self.folder / SHARDS / record.id
        half = place.with_name(f".{record.id}.{os.getpid()}")
        try:
            half.mkdir(parents=True, exist_ok=True)
            for name, data in contents.items():
                files.write(half / name, data)
            files.sync(half)
            if not self.intact(record.id):
                shutil.rmtree(place, ignore_errors=True)
                half.rename(place)
                files.sync(place.parent)
        finally:
            shutil.rmtree(half, ignore_errors=True)
        (self.folder / FAILURES / f"{record.id}.json").unlink(missing_ok=True)

    def shard_names(self) -> list[str]:
        """Names of the shards in their places."""
        if not self.exists():
            return []
        return sorted(entry.name for entry in os.scandir(self.folder / SHARDS) if not entry.name.startswith("."))

    def record(self, shard: str) -> ShardRecord:
        """Read what a shard is.

        Raises:
            DamagedError: when `shard.json` is missing or altered, or a file is missing or has another size.
        """
        folder = self.folder / SHARDS / shard
        record, why = files.read(ShardRecord, folder / RECORD)
        if record is None:
            raise DamagedError(f"{folder}: {why}")
        if record.id != shard or not record.intact():
            raise DamagedError(f"{folder}: {RECORD} was altered")
        for name, file in record.files.items():
            size = (folder / name).stat().st_size if (folder / name).is_file() else None
            if size != file.size:
                what = "is missing" if size is None else f"has {size} bytes instead of {file.size}"
                raise DamagedError(f"{folder}: {name} {what}")
        return record

    def path(self, record: ShardRecord, name: str) -> Path:
        """Where a file of a shard is."""
        return self.folder / SHARDS / record.id / name

    def bytes_of(self, record: ShardRecord, name: str) -> bytes:
        """Read a file of a shard.

        Raises:
            DamagedError: when it is not what was written.
        """
        path = self.path(record, name)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DamagedError(f"{path} cannot be read: {error}") from error
        if files.sha256(data) != record.files[name].sha256:
            raise DamagedError(f"{path} was altered")
        return data

    def verify(self, shard: str) -> ShardRecord:
        """Read every byte of a shard.

        Raises:
            DamagedError: when anything is not what was written.
        """
        record = self.record(shard)
        for name, file in record.files.items():
            path = self.folder / SHARDS / shard / name
            try:
                with path.open("rb") as stream:
                    sha = hashlib.file_digest(stream, "sha256")
            except OSError as error:
                raise DamagedError(f"{path} cannot be read: {error}") from error
            if sha.hexdigest() != file.sha256:
                raise DamagedError(f"{path} was altered")
        return record

    def copy_shard(self, shard: str, other: "Store") -> None:
        """Copy a shard into another folder, in one step.

        Raises:
            DamagedError: when it is not intact.
        """
        self.verify(shard)
        half = other.folder / SHARDS / f".{shard}.{os.getpid()}"
        try:
            shutil.copytree(self.folder / SHARDS / shard, half)
            shutil.rmtree(other.folder / SHARDS / shard, ignore_errors=True)
            half.rename(other.folder / SHARDS / shard)
        finally:
            shutil.rmtree(half, ignore_errors=True)

    def set_aside(self, shard: str) -> bool:
        """Move a damaged shard out of the way of readers; False when it is intact by now, or being computed."""
        claim = self.claim(shard)
        if claim is None:
            return False
        try:
            if not self.has(shard) or self.intact(shard):
                return False
            (self.folder / DAMAGED).mkdir(exist_ok=True)
            shutil.rmtree(self.folder / DAMAGED / shard, ignore_errors=True)  # it was damaged before
            (self.folder / SHARDS / shard).rename(self.folder / DAMAGED / shard)
            return True
        finally:
            claim.release()

    def intact(self, shard: str) -> bool:
        """Whether a shard is in its place, every byte of it."""
        try:
            return self.has(shard) and bool(self.verify(shard))
        except DamagedError:
            return False

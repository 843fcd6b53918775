"""Work that one process at a time may do: it holds a lock meanwhile, which a killed process lets go of."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout


@dataclass(frozen=True)
class Claim:
    """Work that is this process's own until it lets go."""

    lock: FileLock

    @classmethod
    def of(cls, path: Path) -> "Claim | None":
        """Take it, by a lock of this path; None while another process holds it.

        Raises:
            OSError: when the lock cannot be written.
        """
        lock = FileLock(path, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            return None
        return cls(lock)

    def release(self) -> None:
        """Let go, after the work is stored or given up."""
        # removed while it is held: who opened it before finds the work done, or its place taken
        with suppress(OSError):
            Path(self.lock.lock_file).unlink()
        self.lock.release()

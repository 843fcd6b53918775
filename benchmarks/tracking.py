"""How far a measurement is, on the terminal."""

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

from rich.markup import escape
from rich.progress import Progress

T = TypeVar("T")


class Track(Protocol):
    """Yields jobs, and shows which one runs."""

    def __call__(self, title: str, jobs: Sequence[T], /) -> Iterator[T]: ...


def tracked(progress: Progress) -> Track:
    """Show jobs, by what they are as text, in a bar of their own."""

    def track(title: str, jobs: Sequence[T], /) -> Iterator[T]:
        task = progress.add_task(escape(title), total=len(jobs))
        for job in jobs:
            progress.update(task, description=escape(f"{title}: {job}"))
            yield job
            progress.advance(task)
        progress.remove_task(task)

    return track

"""Who looks on: what an engine tells about its requests and passes, for metrics and logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from espalier.serving.running_request import Job


class Watch:
    """Told what happens in an engine, from the engine's thread; this one does nothing. Methods must be quick.

    >>> Watch().passed(3)
    """

    def passed(self, rows: int) -> None:
        """A pass over so many rows was made."""

    def read(self, rows: int) -> None:
        """A piece of a prompt was read."""

    def begun(self, job: Job) -> None:
        """A request left the queue."""

    def piece(self, job: Job, now: float) -> None:
        """Text of a request settled. Keeps the times of its first and its last piece."""
        job.first_piece = now if job.first_piece is None else job.first_piece
        job.last_piece = now

    def ended(self, job: Job, error: BaseException | None) -> None:
        """A request ended, by itself or with an error."""

    def cancelled(self, job: Job) -> None:
        """A request was cancelled."""

"""Draws that wait: decoders that yield `Draw` have their tokens drawn together, once the answers of a pass are given out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from espalier.turns.messages import Draw
    from espalier.turns.task import Task


class Draws:
    """The draws of one loop that wait, and those that were made, by the tasks that asked for them."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Task, Draw]] = []
        self._made: deque[tuple[Task, int | Exception]] = deque()

    def __len__(self) -> int:
        return len(self.waiting) + len(self._made)

    def make(self) -> None:
        """Draws for all that wait."""
        from espalier.models.executors.batched_rows import drawn  # only here: it needs torch

        tokens = drawn([draw.row for _, draw in self.waiting], [draw.rng for _, draw in self.waiting])
        self._made.extend((task, token) for (task, _), token in zip(self.waiting, tokens, strict=True))
        self.waiting = []

    def made(self) -> Iterator[tuple[Task, int | Exception]]:
        """The tasks whose token is there; an interrupt leaves what was not taken."""
        while self._made:
            yield self._made.popleft()

    def forget(self, number: int) -> None:
        """A decoder has ended."""
        self.waiting = [each for each in self.waiting if each[0].number != number]
        self._made = deque(each for each in self._made if each[0].number != number)

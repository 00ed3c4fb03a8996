"""How many rows of prompts a turn may have, so that nobody who is being written waits long."""

from __future__ import annotations

from collections import deque
from statistics import median

_LONGEST = 3.0  # plain turns that a piece of a prompt may take, beside the plain turn itself
_FEWEST = 8


class Pace:
    """Measures plain turns and pieces of prompts. `rows` is at most what is allowed, and less where that would take long.

    >>> pace = Pace()
    >>> pace.turned(0.02); pace.read(64, 0.32)
    >>> pace.rows(64)
    12
    """

    def __init__(self) -> None:
        self._turns, self._each = deque[float](maxlen=31), deque[float](maxlen=5)  # seconds of a turn, of a row

    def turned(self, seconds: float) -> None:
        """Notes a turn in which no prompt was read."""
        self._turns.append(seconds)

    def read(self, rows: int, seconds: float) -> None:
        """Notes a piece of a prompt."""
        self._each.append(seconds / max(1, rows))

    def rows(self, most: int) -> int:
        """How many rows of prompts a turn may have while others are written."""
        if not self._each:
            return min(most, 2 * _FEWEST)
        if not self._turns:
            return most
        return min(most, max(_FEWEST, round(_LONGEST * median(self._turns) / max(1e-9, median(self._each)))))

"""Memory of requests that have ended, handed back to the system."""

from __future__ import annotations

import ctypes
import time
from contextlib import suppress


def trim() -> bool:
    """Hands back what the C library's allocator holds free between blocks in use; False where it cannot (glibc can).

    >>> trim() in (True, False)
    True
    """
    with suppress(OSError, TypeError, AttributeError):
        return bool(ctypes.CDLL(None).malloc_trim(0))
    return False


class Tidy:
    """Trims now and then while there is work: guides and drafts are many small blocks, and their holes are kept else.

    >>> tidy = Tidy(every=60.0)
    >>> tidy.turned(tidy.last + 59), tidy.turned(tidy.last + 61)
    (False, True)
    """

    def __init__(self, every: float = 60.0) -> None:
        self.every, self.last = every, time.monotonic()

    def turned(self, now: float) -> bool:
        """A turn has ended; whether it was time to trim, which takes about as long as a turn."""
        if now - self.last < self.every:
            return False
        self.last = now
        trim()
        return True

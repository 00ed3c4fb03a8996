"""How much the native engine may remember, for the process."""

from __future__ import annotations

from typing import NamedTuple

from espalier import _grammar
from espalier.errors import InvalidInput


class Remembered(NamedTuple):
    """What the engine holds: `generations` alive, and their `megabytes` (expressions, and the masks of what lexemes allow)."""

    generations: int
    megabytes: float


def engine_memory(memory_mb: float | None = None) -> Remembered:
    """What the engine remembers now; `memory_mb` sets a bound for the process (256 at first).

    Guarantee: no mask changes. The engine keeps what it learns in generations. When one has a quarter of the bound, guides and
    texts that begin are made in the next; a generation is freed with the last text in it. What a single guide makes of its own
    texts is bounded by `Limits(memory_mb=…)`. Raises `InvalidInput` for what is no bound.

    >>> engine_memory(memory_mb=256).generations >= 0
    True
    """
    if memory_mb is not None:
        if isinstance(memory_mb, bool) or not isinstance(memory_mb, (int, float)) or not 1 <= memory_mb < 1 << 40:
            raise InvalidInput(
                f"engine_memory(memory_mb={memory_mb!r}): a bound is a number of megabytes from 1 on, such as 256"
            )
        _grammar.engine_bound(float(memory_mb))
    generations, held = _grammar.engine_report()
    return Remembered(generations, held / (1 << 20))

"""What a guide may cost, and what the engine says when it costs more."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from espalier import _grammar
from espalier.errors import InvalidInput, LimitExceeded


@dataclass(frozen=True)
class Limits:
    """How much one guide may cost; past a bound `LimitExceeded` names the place instead of hanging.

    `compile_ms` bounds the building of a guide and each single call on bytes, `mask_us` each single mask: in CPU time of the
    thread that works, so that waiting costs nothing. `states` and `memory_mb` bound what a text may make a guide remember,
    with all texts before it; a guide that has spent half of them forgets all when its next text begins. `None` = unlimited.
    Raises `InvalidInput` for what is no bound.

    >>> Limits(compile_ms=50).compile_ms
    50
    """

    compile_ms: float | None = 10_000
    states: int | None = 2_000_000
    memory_mb: float | None = 1_000
    mask_us: float | None = 10_000_000

    def __post_init__(self) -> None:
        for name, bound in vars(self).items():
            number = isinstance(bound, (int, float)) and not isinstance(bound, bool)
            if bound is not None and not (number and bound > 0):
                raise InvalidInput(f"Limits({name}={bound!r}): a bound is a number above 0, or None for no bound")

    def native(self) -> Any:
        """The bounds as the engine takes them."""
        bounds = [bound if bound is not None and bound < 2**63 else 0 for bound in vars(self).values()]  # 0 = no bound
        compile_ms, states, memory_mb, mask_us = bounds
        return _grammar.Limits(compile_ms, math.ceil(states), memory_mb, mask_us)


class teaching:  # a context manager, written like a function
    """Turns the engine's errors into this library's; what is called within takes a guide's state, or bytes, or both."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, _grammar.GrammarError):
            raise taught(str(error)) from None
        if isinstance(error, TypeError) and "incompatible function arguments" in str(error):
            raise InvalidInput(
                "the text of a guide is bytes, and a state one of its own: guide.matches(text.encode())"
            ) from None


def taught(message: str) -> Exception:
    """The error of this library that says what the engine said."""
    return (LimitExceeded if "Limits" in message else InvalidInput)(message)

"""The fast executor: packed weights and a whole pass in one call of the native kernels."""

from __future__ import annotations

from typing import Any

__all__ = ["Engine", "available"]

Engine: Any = None


def available() -> bool:
    """Returns whether the native kernels were built."""
    return False

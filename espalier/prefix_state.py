"""Values attached to prefixes, each made from its parent's: states, and the prefixes of a second stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from espalier.prefix import Prefix

T = TypeVar("T")


class PrefixState(Generic[T]):
    """What `step(node, value above)` makes of each prefix, made once and kept for as long as the prefix lives.

    At the first node the value above is None; with `written=True` every origin is a first node, so that only what was written
    counts. Forks share what they have in common, and what is rolled back is forgotten.

    >>> count = PrefixState(lambda node, above: (above or 0) + len(node.tokens), written=True)
    >>> count(Prefix([1, 2]) + 3), count(Prefix([1, 2]).given([3]) + 4)
    (3, 2)
    """

    __slots__ = ("_step", "_values", "_written")

    def __init__(self, step: Callable[[Prefix, T | None], T], written: bool = False) -> None:
        self._step, self._written = step, written
        self._values: WeakKeyDictionary[Prefix, T] = WeakKeyDictionary()

    def __call__(self, x: Prefix) -> T:
        missing = []
        for node in x.up():
            if node in self._values:
                break
            missing.append(node)
            if self._written and node is node.origin:
                break
        for node in reversed(missing):
            first = node.parent is None or (self._written and node is node.origin)
            self._values[node] = self._step(node, None if first else self._values[node.parent])  # type: ignore[index]
        return self._values[x]

"""Maps that are values: adding an entry makes a new map and leaves the old one as it is, at O(log n) time and memory."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any, Generic, TypeVar, overload

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
D = TypeVar("D")
_BITS, _WIDTH = 4, 16


class PersistentMap(Generic[K, T]):
    """An immutable map from hashable keys; `map.put(key, value)` is a new one that shares all but a path with the old.

    States that follow tokens are made of such maps: forks share what they have in common. A trie over the bits of hashes
    (Bagwell 2001, "Ideal hash trees").

    >>> a = PersistentMap().put("x", 1)
    >>> b = a.put("y", 2)
    >>> a.get("y"), b.get("y"), len(b), sorted(b)
    (None, 2, 2, ['x', 'y'])
    """

    __slots__ = ("_length", "_root")

    def __init__(self) -> None:
        self._root: Any = None  # None, a leaf (hash, ((key, value), …)), or a branch: a list of _WIDTH nodes, never changed
        self._length = 0

    @overload
    def get(self, key: K) -> T | None: ...
    @overload
    def get(self, key: K, default: D) -> T | D: ...
    def get(self, key: K, default: Any = None) -> Any:
        """The value of a key, or the default."""
        node, bits = self._root, hash(key)
        while type(node) is list:
            node, bits = node[bits & (_WIDTH - 1)], bits >> _BITS
        if node is not None:
            for found, value in node[1]:
                if found == key:
                    return value
        return default

    def put(self, key: K, value: T) -> PersistentMap[K, T]:
        """This map with one entry added or replaced."""
        new: PersistentMap[K, T] = PersistentMap()
        new._root, added = _put(self._root, hash(key), 0, key, value)
        new._length = self._length + added
        return new

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[K]:
        return (key for key, _ in self.items())

    def items(self) -> Iterator[tuple[K, T]]:
        """Keys with their values, in no particular order."""
        nodes = [self._root]
        while nodes:
            node = nodes.pop()
            if type(node) is list:
                nodes.extend(node)
            elif node is not None:
                yield from node[1]


def _put(node: Any, bits: int, shift: int, key: Any, value: Any) -> tuple[Any, int]:
    if node is None:
        return (bits, ((key, value),)), 1
    if type(node) is list:
        at = (bits >> shift) & (_WIDTH - 1)
        child, added = _put(node[at], bits, shift + _BITS, key, value)
        new = node.copy()
        new[at] = child
        return new, added
    if node[0] == bits:
        others = tuple(item for item in node[1] if item[0] != key)
        return (bits, (*others, (key, value))), len(others) + 1 - len(node[1])
    branch = [None] * _WIDTH
    branch[(node[0] >> shift) & (_WIDTH - 1)] = node
    return _put(branch, bits, shift, key, value)

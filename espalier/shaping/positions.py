"""What is remembered of every position of a text: made from its row when the position is first asked about."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from espalier.prefix import Prefix
from espalier.rows import Rows
from espalier.scorer import Ask, Scorer

R = TypeVar("R")
S = TypeVar("S")
_CHUNK = 64  # positions of a prompt that are asked about at once: a row of each is held for a moment


class Positions(Generic[R, S]):
    """A state per prefix, folded over its positions: `take(rows, i)` is what one row leaves, `add(state, taken, node)` the
    state with it.

    `read(prefixes, want)` asks about the prefixes, and before them about every position above that was never asked about
    (those of a prompt, in pieces); it returns the rows, and then `self[x]` is the state that has all of x's positions.
    """

    def __init__(
        self, scorer: Scorer, want: frozenset[str], take: Callable[[Rows, int], R], add: Callable[[S | None, R, Prefix], S]
    ) -> None:
        self.scorer, self.want, self._take, self._add = scorer, want, take, add
        self._states: WeakKeyDictionary[Prefix, S] = WeakKeyDictionary()

    def __getitem__(self, x: Prefix) -> S:
        return self._states[x]

    def read(self, prefixes: Sequence[Prefix], want: frozenset[str] = frozenset()) -> Generator[Ask, Any, Rows]:
        """The rows of the prefixes; from then on their states are known."""
        nodes = dict.fromkeys(prefixes)
        for x in prefixes:
            node = x.parent
            while node is not None and node not in self._states and node not in nodes:
                nodes[node] = None
                node = node.parent
        new = sorted((node for node in nodes if node not in self._states), key=len)
        inside = {node: _between(node) for node in new}
        earlier = [y for node in new for y in (*inside[node], *(() if node in prefixes else (node,))) if len(y)]
        taken: dict[Prefix, R] = {}
        for start in range(0, len(earlier), _CHUNK):
            chunk = earlier[start : start + _CHUNK]
            rows: Rows = yield Ask(self.scorer, chunk, self.want)
            taken |= {y: self._take(rows, i) for i, y in enumerate(chunk)}
        rows = yield Ask(self.scorer, prefixes, want | self.want)
        taken |= {x: self._take(rows, i) for i, x in enumerate(prefixes) if x in inside}
        for node in new:
            state = None if node.parent is None else self._states.get(node.parent)
            for y in (*inside[node], node):
                if y in taken:
                    state = self._add(state, taken[y], node)
            if state is not None:
                self._states[node] = state
        return rows


def _between(node: Prefix) -> list[Prefix]:
    """The positions inside a node of several tokens, all but its last."""
    found, above = list[Prefix](), node.parent
    for token in node.tokens[:-1]:
        above = Prefix([token], above, written=node is not node.origin)
        found.append(above)
    return found

"""The suffixes of a text that occurred before in it, and what followed them: a suffix automaton that is a value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from espalier.shaping.repeats.persistent_map import PersistentMap

Node: TypeAlias = "tuple[int, int, PersistentMap[int, int]]"  # the longest text, the node of its next shorter suffix, edges


def _start() -> PersistentMap[int, Node]:
    nodes: PersistentMap[int, Node] = PersistentMap()
    return nodes.put(0, (0, -1, PersistentMap()))


@dataclass(frozen=True, slots=True)
class Suffixes:
    """A text as the automaton of its substrings; `+ token` is the text one longer, at O(log t) amortised.

    `repeats(most)` gives the tokens that followed earlier occurrences of the text's suffixes. Blumer et al. 1985, "The
    smallest automaton recognizing the subwords of a text".

    >>> text = Suffixes(most=8)
    >>> for token in [1, 2, 3, 1, 2]:
    ...     text = text + token
    >>> text.repeats()
    {3: 2}
    """

    most: int  # longer suffixes than this are not told apart
    nodes: PersistentMap[int, Node] = field(default_factory=_start)
    last: int = 0
    near: int = 0  # the node of the suffix of length `span`
    span: int = 0

    def __add__(self, token: int) -> Suffixes:
        nodes, new = self.nodes, len(self.nodes)
        node, p = (self._node(nodes, self.last)[0] + 1, 0, PersistentMap[int, int]()), self.last
        while p != -1:
            length, link, edges = self._node(nodes, p)
            if edges.get(token) is not None:
                break
            nodes, p = nodes.put(p, (length, link, edges.put(token, new))), link
        if p != -1:
            q = self._node(nodes, p)[2].get(token, 0)
            shared = self._node(nodes, p)[0] + 1
            if self._node(nodes, q)[0] != shared:
                nodes, q = self._split(nodes, p, q, token, shared, new + 1)
            node = (node[0], q, node[2])
        nodes = nodes.put(new, node)
        near, span = self._node(nodes, self.near)[2].get(token, 0), min(self.span + 1, self.most)
        while self._node(nodes, self._node(nodes, near)[1])[0] >= span:
            near = self._node(nodes, near)[1]
        return Suffixes(self.most, nodes, new, near, span)

    @staticmethod
    def _node(nodes: PersistentMap[int, Node], at: int) -> Node:
        node = nodes.get(at)
        assert node is not None
        return node

    def _split(
        self, nodes: PersistentMap[int, Node], p: int, q: int, token: int, length: int, clone: int
    ) -> tuple[PersistentMap[int, Node], int]:
        """The part of node q that is at most `length` long as a node of its own."""
        whole, link, edges = self._node(nodes, q)
        nodes = nodes.put(clone, (length, link, edges)).put(q, (whole, clone, edges))
        while p != -1:
            mine, above, out = self._node(nodes, p)
            if out.get(token) != q:
                break
            nodes, p = nodes.put(p, (mine, above, out.put(token, clone))), above
        return nodes, clone

    def repeats(self, least: int = 1) -> dict[int, int]:
        """Token → the length (`least` to `most`) of the longest suffix that it followed earlier."""
        return dict(self._followers(least))

    def _followers(self, least: int) -> Iterator[tuple[int, int]]:
        found, at, length = set[int](), self.near, self.span
        while at > 0 and length >= least:
            _, link, edges = self._node(self.nodes, at)
            for token in edges:
                if token not in found:
                    found.add(token)
                    yield token, length
            at, length = link, self._node(self.nodes, link)[0]

"""A tree of prefixes with an upper bound, at each, of the probability that it becomes a valid text."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import torch
from torch import Tensor

from espalier.prefix import Prefix

_BYTES = 256 * 2**20  # of rows that are kept


class Node:
    """One prefix. `bound` ≥ Pr[a text that goes on from here is valid]; 1 while its row has not been seen.

    bound = rest + Σ_children p(child) · bound(child), where `rest` is the mass of allowed tokens that have no node.
    """

    __slots__ = ("__weakref__", "bound", "children", "p", "parent", "prefix", "rest", "seen")

    def __init__(self, prefix: Prefix, parent: Node | None, p: float) -> None:
        self.prefix, self.parent, self.p = prefix, parent, p  # p: of its last token, given the parent
        self.children: dict[int, Node] = {}
        self.bound, self.rest, self.seen = 1.0, 1.0, False

    def up(self) -> Iterator[Node]:
        """This node and all above it."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.parent

    def lower(self, bound: float) -> None:
        """Sets the bound, and all that follows from it up to the root."""
        self.bound = bound
        node = self.parent
        while node is not None:
            node.bound = node.rest + sum(child.p * child.bound for child in node.children.values())
            node = node.parent


class Trie:
    """The nodes below one prefix, and their rows as far as memory for them goes (the oldest are forgotten, and asked again).

    >>> trie = Trie(Prefix([1]))
    >>> trie.learn(trie.root, torch.tensor([0.5, 0.25, 0.0]))  # what is missing to 1 is forbidden
    >>> child = trie.child(trie.root, 0)
    >>> child.lower(0.5)
    >>> trie.root.bound, trie.weights(trie.root).tolist()
    (0.5, [0.25, 0.25, 0.0])
    """

    def __init__(self, x: Prefix, limit: int = _BYTES) -> None:
        self.root = Node(x, None, 1.0)
        self.limit, self.held = limit, 0
        self._rows: OrderedDict[Node, Tensor] = OrderedDict()

    def row(self, node: Node) -> Tensor | None:
        """The probabilities [V] of what is allowed after a node, not renormalised; None if they are to be asked for."""
        row = self._rows.get(node)
        if row is not None:
            self._rows.move_to_end(node)
        return row

    def learn(self, node: Node, allowed: Tensor) -> None:
        """Notes the probabilities [V] of a node's tokens, 0 where one is known to be forbidden, and lowers bounds by them."""
        self._rows[node] = allowed
        self.held += allowed.nbytes
        while self.held > self.limit and len(self._rows) > 1:
            self.held -= self._rows.popitem(last=False)[1].nbytes
        node.seen = True
        self.refresh(node)

    def refresh(self, node: Node) -> float:
        """Recomputes the bound of a node from its row, without the rounding of sums and differences; returns it."""
        weights = self._rows[node].double()
        if node.children:
            weights = weights.clone()
            weights[list(node.children)] = 0
        node.rest = float(weights.sum())
        bound = node.rest + sum(child.p * child.bound for child in node.children.values())
        node.lower(bound)
        return bound

    def forbid(self, node: Node, token: int) -> None:
        """Notes that no valid text goes on with this token."""
        if token in node.children:
            node.children[token].lower(0.0)
        elif node in self._rows:
            row = self._rows[node] = self._rows[node].clone()
            row[token] = 0
            self.refresh(node)

    def weights(self, node: Node) -> Tensor:
        """p(v) · bound(v) for all tokens v [V], in float64; their sum is the node's bound."""
        weights = self._rows[node].double().clone()
        for token, child in node.children.items():
            weights[token] = child.p * child.bound
        return weights

    def child(self, node: Node, token: int) -> Node:
        """The node of a token after another node, made if there is none."""
        if token not in node.children:
            p = float(self._rows[node][token])
            node.children[token] = Node(node.prefix + token, node, p)
            self.refresh(node)
        return node.children[token]

    def bound_of(self, node: Node, token: int) -> float:
        """The bound with which this token is chosen after a node."""
        return node.children[token].bound if token in node.children else 1.0


def as_probabilities(logp: Tensor) -> Tensor:
    """Probabilities [V] in the number format of the logits (half precision is widened)."""
    return (logp if logp.dtype == torch.float64 else logp.float()).exp()

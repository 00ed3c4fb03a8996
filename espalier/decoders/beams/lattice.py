"""Best-first search with recombination: thousands of texts as a graph whose nodes were reached in several ways."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from espalier.decoders.budget import Budget, Spent
from espalier.decoders.decoder import Weighted, at_least, check_parts
from espalier.errors import DeadEnd, LimitExceeded, expect, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Row
from espalier.run import Decoder
from espalier.scorer import Ask, Scorer
from espalier.stop import Stop


@dataclass(eq=False, slots=True)
class Node:
    """A token at a place: `ways` are the nodes it was reached from, with the token's log-probability there."""

    token: int | None
    length: int
    prefix: Prefix
    ways: list[tuple[Node, float]] = field(default_factory=list)
    over: bool = False

    def above(self) -> Iterator[Node]:
        """This node and all from which it can be reached."""
        seen, waiting = {id(self)}, [self]
        while waiting:
            node = waiting.pop()
            yield node
            for parent, _ in node.ways:
                if id(parent) not in seen:
                    seen.add(id(parent))
                    waiting.append(parent)


class Paths(list[Weighted]):
    """The texts that were found first, best first, and the graph that holds many more: `paths(n)`, `dot()`."""

    def __init__(self, x: Prefix, root: Node, ends: list[Node], merges: int) -> None:
        self.x, self.root, self.ends, self.merges = x, root, ends, merges
        super().__init__(itertools.islice(self._best(), 1 + len(ends)))

    def paths(self, n: int) -> list[Weighted]:
        """The n best distinct texts of the graph, best first; fewer if it has fewer.

        A path through a merged node has a score in which the context before the merge was replaced by the other one's.
        """
        expect(n, int, "n", "a whole number of texts")
        require(n >= 1, f"n={n}: ask for at least one text")
        return list(itertools.islice(self._best(), n))

    def _best(self) -> Iterator[Weighted]:
        """Texts in falling order: from their ends back to the root, by the best that a beginning can still give (A*)."""
        best = self._best_from_root()
        number = itertools.count()
        heap = [(-best[id(end)], next(number), 0.0, end, ()) for end in self.ends]
        heapq.heapify(heap)
        seen: set[tuple[int, ...]] = set()
        while heap:
            cost, _, after, node, tokens = heapq.heappop(heap)
            if node is self.root:
                if tokens not in seen:
                    seen.add(tokens)
                    yield Weighted(_grown(self.x, tokens), -cost)
                continue
            assert node.token is not None
            for parent, logp in node.ways:
                total = after + logp
                entry = (-(total + best[id(parent)]), next(number), total, parent, (node.token, *tokens))
                heapq.heappush(heap, entry)  # type: ignore[misc]

    def _best_from_root(self) -> dict[int, float]:
        best: dict[int, float] = {id(self.root): 0.0}
        for node in _in_order(self.ends):
            if node is not self.root:
                best[id(node)] = max((best[id(parent)] + logp for parent, logp in node.ways), default=-math.inf)
        return best

    def dot(self, name: str = "lattice") -> str:
        """The graph in the language of Graphviz: tokens as labels, log-probabilities on the edges."""
        nodes = _in_order(self.ends)
        number = {id(node): i for i, node in enumerate(nodes)}
        lines = [
            f'  n{i} [label="{"" if n.token is None else n.token}"{", peripheries=2" if n.over else ""}];'
            for i, n in enumerate(nodes)
        ]
        lines += [f'  n{number[id(p)]} -> n{i} [label="{w:.2f}"];' for i, n in enumerate(nodes) for p, w in n.ways]
        return "\n".join([f"digraph {name} {{", *lines, "}"])


@dataclass(frozen=True)
class Lattice:
    """Best-first search that goes on greedily to an end from each prefix it opens, and merges prefixes that end alike.

    `budget`: rows to compute. A new token whose last `ngram` tokens are those of a node less than `apart` tokens longer or
    shorter becomes another way to that node (never in a circle). Opened next is the prefix with the best
    logp / length ** 0.75, of the `branch` best tokens at each place. Guarantee: every path is a text that the scorer can
    write; scores are exact where nothing was merged, and where the scorer looks at no more than `ngram` tokens; otherwise
    approximate. Xu et al. 2022 (arXiv 2112.07660).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=2, seed=0)
    >>> [found] = es.run(Lattice(60, ngram=2)(model, es.Prefix([1]), es.stop.end([2]) | es.stop.budget(8), es.Rng(0)))
    >>> len(found.paths(50)) > 20, found.dot().startswith("digraph")
    (True, True)
    """

    budget: Budget | int
    ngram: int = 4
    apart: int = 5
    branch: int = 5
    many: ClassVar[bool] = True  # one run finds several texts

    def __post_init__(self) -> None:
        Budget.of(self.budget)
        at_least(self, ngram=1, apart=1, branch=1)

    def __call__(self, scorer: Scorer, x: Prefix, stop: Stop, rng: Rng) -> Decoder[list[Weighted]]:
        check_parts(scorer, x, stop, rng)
        graph = _Graph(self, x, stop)
        spent = Spent(Budget.of(self.budget))
        node: Node | None = graph.next()
        while node is not None and spent.pay(1):
            [row] = yield Ask(scorer, [node.prefix])
            node = graph.grow(node, row) or graph.next()
        if not graph.ends:
            raise LimitExceeded(f"the budget of {self.budget} ended before any text did; allow more rows or shorter texts")
        return Paths(x, graph.root, graph.ends, graph.merges)


class _Graph:
    def __init__(self, lattice: Lattice, x: Prefix, stop: Stop) -> None:
        self.lattice, self.stop, self.merges = lattice, stop, 0
        self.root = Node(None, 0, x)
        self.ends: list[Node] = []
        self.by_tail: dict[tuple[int, ...], list[Node]] = {}
        self.heap: list[tuple[float, int, Node, int, float, float]] = []  # −priority, number, parent, token, logp, total
        self.totals: dict[int, float] = {id(self.root): 0.0}
        self.number = itertools.count()
        self.fresh: Node | None = self.root

    def next(self) -> Node | None:
        """The node to go on from: the best child that waits, made; None if nothing waits."""
        if self.fresh is not None:
            node, self.fresh = self.fresh, None
            return node
        while self.heap:
            _, _, parent, token, logp, total = heapq.heappop(self.heap)
            child = self._make(parent, token, logp, total)
            if child is not None and not child.over:
                return child
        return None

    def grow(self, node: Node, row: Row) -> Node | None:
        """The node of the best token after this one; the next best ones wait. None if the way ends there or was merged."""
        try:
            top = [(token, logp + row.log_normaliser) for token, logp in row.top(self.lattice.branch)]
        except DeadEnd:
            return None
        total = self.totals[id(node)]
        for token, logp in top[1:]:
            priority = (total + logp) / (node.length + 1) ** 0.75
            heapq.heappush(self.heap, (-priority, next(self.number), node, token, logp, total + logp))
        token, logp = top[0]
        child = self._make(node, token, logp, total + logp)
        return child if child is not None and not child.over else None

    def _make(self, parent: Node, token: int, logp: float, total: float) -> Node | None:
        prefix = parent.prefix + token
        node = Node(token, parent.length + 1, prefix, [(parent, logp)], over=self.stop(prefix) is not None)
        tail = tuple(prefix.tail(self.lattice.ngram))
        written = len(prefix) - len(prefix.origin)
        if written > self.lattice.ngram:
            alike = self._alike(node, tail)
            if alike is not None:
                if all(known is not parent for known, _ in alike.ways):
                    alike.ways.append((parent, logp))
                    self.merges += 1
                return None
        if written >= self.lattice.ngram:
            self.by_tail.setdefault(tail, []).append(node)
        self.totals[id(node)] = total
        if node.over:
            self.ends.append(node)
        return node

    def _alike(self, node: Node, tail: tuple[int, ...]) -> Node | None:
        above: set[int] | None = None
        for other in self.by_tail.get(tail, []):
            if other.over != node.over or abs(other.length - node.length) >= self.lattice.apart:
                continue
            above = {id(n) for n in node.above()} if above is None else above
            if id(other) not in above:
                return other
        return None


def _in_order(ends: list[Node]) -> list[Node]:
    """Every node from which an end can be reached, parents first."""
    order: list[Node] = []
    state: dict[int, bool] = {}
    for end in ends:
        stack = [(end, iter(end.ways))]
        if id(end) in state:
            continue
        state[id(end)] = False
        while stack:
            node, ways = stack[-1]
            parent = next((p for p, _ in ways if id(p) not in state), None)
            if parent is not None:
                state[id(parent)] = False
                stack.append((parent, iter(parent.ways)))
            else:
                state[id(node)] = True
                order.append(node)
                stack.pop()
    return order


def _grown(x: Prefix, tokens: tuple[int, ...]) -> Prefix:
    for token in tokens:
        x = x + token
    return x

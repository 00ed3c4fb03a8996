"""Trees of the most probable paths: beams with a final choice of nodes, and the tree that is optimal if acceptance is q."""

from __future__ import annotations

import heapq
import math
from collections.abc import Generator, Iterable, Sequence

from espalier.drafting.draft import Draft, Kind, budget
from espalier.drafting.policies import Growth, TreePolicy
from espalier.errors import require


class Beam(TreePolicy):
    """The `nodes` most probable nodes among all children of `width` beams, `depth` levels deep. Deterministic.

    Every level gives each beam up to `width` children; the `width` most probable of these are the next beams. A child is
    never more probable than its parent, so the chosen nodes form a tree. One pass of the drafter per level. Li et al. 2024,
    "EAGLE-2" (arXiv 2406.16858).

    >>> import espalier as es
    >>> from espalier.drafting.policies import Constant, grow
    >>> model = es.models.Table.random(vocab_size=5, depth=2, seed=0)
    >>> [draft] = es.run(grow(model, es.Prefix([1]), Beam(width=2, depth=3, nodes=4), Constant(3), es.Rng(0)))
    >>> len(draft)
    4
    """

    kind: Kind = "deterministic"

    def __init__(self, width: int = 10, depth: int = 6, nodes: int = 60) -> None:
        budget(width=width, depth=depth, nodes=nodes)
        self.width, self.depth, self.nodes = width, depth, nodes

    def grow(self, growth: Growth) -> Generator[Sequence[int], None, None]:
        level = [0]
        for _ in range(self.depth):
            if not level:
                return
            yield level
            children = most_probable(growth, level, self.nodes, each=self.width)
            level = heapq.nlargest(self.width, children, key=growth.logp)

    def finalize(self, growth: Growth) -> Draft:
        return best(growth, self.nodes)


class OptTree(TreePolicy):
    """The subtree of `nodes` nodes with the largest expected number of accepted tokens if acceptance were q. Deterministic.

    That number is the sum of the nodes' path probabilities. Levels are added until the sum grows by no more than `delta` or
    the tree is `depth` deep; with delta = 0 and no limit of depth the tree is optimal among all subtrees of that size.
    Wang et al. 2024, "OPT-Tree" (arXiv 2406.17276).

    >>> import espalier as es
    >>> from espalier.drafting.policies import Constant, grow
    >>> model = es.models.Table.random(vocab_size=5, depth=2, seed=0)
    >>> [draft] = es.run(grow(model, es.Prefix([1]), OptTree(nodes=6, delta=0.0), Constant(9), es.Rng(0)))
    >>> len(draft)
    6
    """

    kind: Kind = "deterministic"

    def __init__(self, nodes: int = 60, depth: int = 10, delta: float = 0.5) -> None:
        budget(nodes=nodes, depth=depth)
        require(delta >= 0, f"delta={delta}: a level must pay by at least delta ≥ 0 tokens")
        self.nodes, self.depth, self.delta = nodes, depth, delta

    def grow(self, growth: Growth) -> Generator[Sequence[int], None, None]:
        level, expected = [0], 0.0
        for _ in range(self.depth):
            if not level:
                return
            yield level
            level = most_probable(growth, level, self.nodes)
            grown = sum(sorted((math.exp(growth.logp(n)) for n in range(1, len(growth.draft) + 1)), reverse=True)[: self.nodes])
            if grown - expected <= self.delta and expected > 0:
                return
            expected = grown

    def finalize(self, growth: Growth) -> Draft:
        return best(growth, self.nodes)


def most_probable(growth: Growth, parents: Iterable[int], most: int, each: int | None = None) -> list[int]:
    """Fills the `most` most probable slots below these parents, at most `each` below one."""
    slots = [
        (growth.logp(parent) + math.log(q), parent)
        for parent in parents
        for _, q in growth.ranked(parent, min(most, each or most))
    ]
    return [n for _, parent in heapq.nlargest(most, slots, key=lambda slot: slot[0]) if (n := growth.fill(parent)) is not None]


def best(growth: Growth, nodes: int) -> Draft:
    """The draft cut to its most probable nodes; of equally probable ones the earlier, so that the choice is a tree."""
    order = sorted(range(1, len(growth.draft) + 1), key=lambda node: (-growth.logp(node), node))
    return growth.only(order[:nodes])

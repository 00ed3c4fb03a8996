"""Static trees: which ranks of candidates a draft tries at which depth."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeAlias

from espalier.drafting.draft import Draft, budget
from espalier.prefix import Prefix

Ranks: TypeAlias = tuple[tuple[int, ...], ...]


@lru_cache(maxsize=64)
def rank_template(nodes: int, depth: int = 6, width: int = 8, decay: float = 0.35) -> Ranks:
    """The `nodes` most promising rank paths, shortest first: path (0, 2) is the third candidate below the first one.

    A candidate of rank r is taken to be right with probability ∝ decay ** r, a path with the product of its ranks'; the
    set of most probable paths is prefix closed, and optimal if those probabilities are true.
    Cai et al. 2024, "Medusa" (arXiv 2401.10774), whose greedy construction this is.

    >>> rank_template(4)
    ((0,), (0, 0), (0, 0, 0), (1,))
    """
    budget(nodes=nodes)
    budget(depth=depth, width=width)
    weight = [(1 - decay) * decay**rank for rank in range(width)]
    heap: list[tuple[float, tuple[int, ...]]] = [(-weight[0], (0,))]
    chosen: list[tuple[int, ...]] = []
    while heap and len(chosen) < nodes:
        value, path = heapq.heappop(heap)
        chosen.append(path)
        if len(path) < depth:
            heapq.heappush(heap, (value * weight[0], (*path, 0)))
        if path[-1] + 1 < width:
            heapq.heappush(heap, (value * decay, (*path[:-1], path[-1] + 1)))
    return tuple(sorted(chosen))


class MeasuredTree:
    """The `nodes` slots that were most often accepted: a template made from what became of drafts of the same shape.

    The r-th child at depth d is accepted with probability a[d][r] when it is tried, a ratio of counts that start at a geometric
    prior; a slot's worth is the product along its path, so the best set is prefix closed. `children[path]` says how many
    children the node at a path of ranks has. Worked out anew every `every` rounds.

    >>> MeasuredTree(nodes=4, depth=3, width=2, every=8).children
    {(): 2, (0,): 1, (0, 0): 1}
    """

    def __init__(self, nodes: int, depth: int, width: int, every: int, decay: float = 0.35) -> None:
        budget(nodes=nodes)
        budget(depth=depth, width=width)
        self.nodes, self.depth, self.width, self.every, self.rounds = nodes, depth, width, every, 0
        prior = [(1 - decay) * decay**rank for rank in range(width)]
        left = [1.0, *(1 - sum(prior[:rank]) for rank in range(1, width))]
        # (accepted, tried) of every depth and rank: four imagined trials of each
        self.counts = [[(4 * prior[rank] / left[rank], 4.0) for rank in range(width)] for _ in range(depth)]
        self.children = self._best()

    def learn(self, x: Prefix, draft: Draft) -> None:
        """Counts which children were accepted and which refused before them, in the draft from which the text grew to x."""
        if not len(draft):
            return
        path = [0, *draft.accepted(x)]
        for depth, (node, taken) in enumerate(zip(path, [*path[1:], None], strict=True)):
            if depth == self.depth or (taken is None and not draft.missed(x)):
                break
            for rank, child in enumerate(draft.children[node][: self.width]):
                accepted, tried = self.counts[depth][rank]
                self.counts[depth][rank] = accepted + (child == taken), tried + 1
                if child == taken:
                    break
        self.rounds += 1
        if self.rounds % self.every == 0:
            self.children = self._best()

    def _best(self) -> dict[tuple[int, ...], int]:
        reach = [list[float]() for _ in range(self.depth)]  # a[d][r], once those before it were refused
        for depth, counts in enumerate(self.counts):
            left = 1.0
            for accepted, tried in counts:
                reach[depth].append(left * accepted / tried)
                left *= 1 - accepted / tried
        heap: list[tuple[float, tuple[int, ...]]] = [(-reach[0][0], (0,))]
        children, taken = dict[tuple[int, ...], int](), 0
        while heap and taken < self.nodes:
            value, path = heapq.heappop(heap)
            children[path[:-1]], taken = path[-1] + 1, taken + 1
            if len(path) < self.depth:
                heapq.heappush(heap, (value * reach[len(path)][0], (*path, 0)))
            if path[-1] + 1 < self.width:
                level = reach[len(path) - 1]
                heapq.heappush(heap, (value / max(level[path[-1]], 1e-12) * level[path[-1] + 1], (*path[:-1], path[-1] + 1)))
        return children


def grow(draft: Draft, template: Ranks, successors: Callable[[int], Sequence[int]]) -> Draft:
    """The draft with a template's nodes below its root, where `successors(node)` gives a node's candidates, best first.

    Rank paths whose candidate does not exist are left out, and so is all that is below them.
    """
    place: dict[tuple[int, ...], int] = {(): 0}
    found: dict[int, Sequence[int]] = {}
    for path in template:
        parent = place.get(path[:-1])
        if parent is None:
            continue
        if parent not in found:
            found[parent] = successors(parent)
        if path[-1] < len(found[parent]):
            place[path] = draft.add(parent, found[parent][path[-1]])
    return draft

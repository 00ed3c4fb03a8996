"""Static trees: which ranks of candidates a draft tries at which depth."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeAlias

from espalier.drafting.draft import Draft, budget

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

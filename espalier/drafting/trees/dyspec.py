"""Trees that grow where a draft token is most likely to be needed, slot by slot."""

from __future__ import annotations

import heapq
from collections.abc import Generator, Sequence

from espalier.drafting.draft import Kind, budget
from espalier.drafting.policies import Growth, TreePolicy
from espalier.errors import require


class DySpec(TreePolicy):
    """`nodes` slots, each the one with the largest estimated probability of being reached and useful.

    The estimate takes q for the acceptance: a slot of value v filled with token y from the remaining law R opens the slot
    below y with value v·R(y) and the next sibling's with v·(1 - R(y)). The slot is chosen before its token is drawn, so
    drawing without replacement and recursive rejection stay exact. Values never increase from one filled slot to the next.
    Laws of slots that are likely to be filled are asked for together, so passes grow with the depth, not with `nodes`; a
    slot below `threshold` is not worth a token. Xiong et al. 2024, "DySpec" (arXiv 2410.11744).

    >>> import espalier as es
    >>> from espalier.drafting.policies import Constant, grow
    >>> model = es.models.Table.random(vocab_size=4, depth=2, seed=0)
    >>> [draft] = es.run(grow(model, es.Prefix([1]), DySpec(nodes=6), Constant(9), es.Rng(0)))
    >>> len(draft)
    6
    """

    kind: Kind = "without replacement"

    def __init__(self, nodes: int = 16, threshold: float = 0.0) -> None:
        budget(nodes=nodes)
        require(0 <= threshold < 1, f"threshold={threshold}: a probability below 1")
        self.nodes, self.threshold = nodes, threshold

    def grow(self, growth: Growth) -> Generator[Sequence[int], None, None]:
        heap = [(-1.0, 0)]
        while heap and len(growth.draft) < self.nodes and -heap[0][0] >= self.threshold:
            if not growth.known(heap[0][1]):
                likely = heapq.nsmallest(self.nodes - len(growth.draft), heap)
                yield [node for _, node in likely if not growth.known(node)]
            value, parent = heapq.heappop(heap)
            before = float(growth.rest(parent).sum())
            node = growth.fill(parent)
            if node is None:
                continue
            share = float(growth.law(parent)[growth.draft.token(node)]) / before
            heapq.heappush(heap, (value * share, node))
            heapq.heappush(heap, (value * (1 - share), parent))

"""A chain with leaves beside it, more of them where the drafter is less sure."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from espalier.drafting.draft import Kind
from espalier.drafting.policies import Growth, TreePolicy
from espalier.errors import require


class Siblings(TreePolicy):
    """The chain of most probable tokens, each with siblings: `widths` = ((0.95, 3), (0.8, 5), (0.5, 8), (0, 10)) means three
    nodes where the most probable token has more than 0.95, five above 0.8, and so on. Deterministic; only the chain goes on.

    The default is SWIFT's for greedy decoding (Xia et al. 2024, arXiv 2410.06916); `CAPE` is like it (Du et al. 2024, "GliDe
    with a CaPE", arXiv 2402.02082).

    >>> import espalier as es
    >>> from espalier.drafting.policies import Constant, grow
    >>> model = es.models.Table.random(vocab_size=5, depth=2, seed=0)
    >>> [draft] = es.run(grow(model, es.Prefix([1]), Siblings(((0.9, 1), (0.0, 3))), Constant(2), es.Rng(0)))
    >>> draft.children
    [[1, 2, 3], [4, 5, 6], [], [], [], [], []]
    """

    kind: Kind = "deterministic"

    def __init__(
        self, widths: Sequence[tuple[float, int]] = ((0.95, 3), (0.8, 5), (0.5, 8), (0.0, 10)), most: int = 25
    ) -> None:
        floors = [floor for floor, _ in widths]
        require(floors == sorted(floors, reverse=True) and floors[-1:] == [0.0], f"widths={widths}: falling, the last from 0.0")
        require(all(width >= 1 for _, width in widths) and most >= 1, f"widths={widths}, most={most}: each is at least 1")
        self.widths, self.most = tuple(widths), most

    def grow(self, growth: Growth) -> Generator[Sequence[int], None, None]:
        node = 0
        for _ in range(self.most):
            yield [node]
            confidence = float(growth.law(node).max())
            width = next((width for floor, width in self.widths if confidence > floor), 0)
            children = growth.level([node], width)
            if not children:
                return
            node = children[0]


CAPE = ((0.8, 1), (0.6, 4), (0.3, 6), (0.0, 8))

"""Trees of a shape that is fixed before the round: k children per level, or any template."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from copy import copy

from torch import Tensor

from espalier.drafting.draft import Draft, Kind
from espalier.drafting.policies import Growth, TreePolicy
from espalier.errors import DeadEnd, InvalidInput, require
from espalier.prefix import Prefix
from espalier.rows import Rows

Path = tuple[int, ...]


class KConfig(TreePolicy):
    """`children[d]` children below every node at depth d.

    With kind "without replacement" this is RSD-C, to be verified by recursive rejection. `last_row` is the share of the
    target's last row in the law of the first level: its other candidates for the token that was just written often come next,
    and they cost no pass of the drafter (tested by `test_candidates_come_from_the_targets_last_row_too`). The mixture is the
    law that is carried, so every rule stays exact. Yang et al. 2024, "Multi-candidate speculative decoding" (arXiv
    2401.06706); Jeon et al. 2024, "Recursive speculative decoding" (arXiv 2402.14160).

    >>> import espalier as es
    >>> from espalier.drafting.policies import Constant, grow
    >>> model = es.models.Table.random(vocab_size=4, depth=2, seed=0)
    >>> [draft] = es.run(grow(model, es.Prefix([1]), KConfig((3, 2)), Constant(2), es.Rng(0)))
    >>> draft.children[:4]
    [[1, 2, 3], [4, 5], [6, 7], [8, 9]]
    """

    def __init__(self, children: Sequence[int], kind: Kind = "without replacement", last_row: float = 0.0) -> None:
        require(len(children) > 0, "children=(): a tree has at least one level; try children=(3, 2, 1)")
        require(all(k >= 1 for k in children), f"children={tuple(children)}: every level has at least one child per node")
        require(0 <= last_row < 1, f"last_row={last_row}: a share of the first level's law, at least 0 and below 1")
        self.children, self.kind, self.last_row = tuple(children), kind, last_row
        self._last: Tensor | None = None

    def begin(self, x: Prefix) -> KConfig:
        fresh = copy(self)  # of a subclass too
        fresh._last = None
        return fresh

    def grow(self, growth: Growth) -> Generator[Sequence[int], None, None]:
        level = [0]
        for depth, k in enumerate(self.children):
            if not level:
                return
            yield level
            if depth == 0 and self._last is not None:
                q = growth.law(0)
                q.mul_(1 - self.last_row).add_(self._last.to(q), alpha=self.last_row)
            level = growth.level(level, k)

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        self._last = None
        if self.last_row and draft.gained(x):
            try:
                self._last = rows[[0, *draft.accepted(x)][-1]].probs()
            except (DeadEnd, InvalidInput, IndexError):  # it was backed out of
                return


class Template(TreePolicy):
    """A tree given by paths of child numbers: (0, 1) is the second child of the first child of the root.

    A slot whose parent could not be filled, or for which q has nothing left, stays empty together with what is below it.
    The paths must be prefix closed, and a node has children 0 … k - 1. Fixed trees: Cai et al. 2024, "Medusa" (arXiv
    2401.10774).

    >>> Template([(0,), (0, 0), (1,)]).levels
    [[((), 2)], [((0,), 1)]]
    """

    def __init__(self, paths: Iterable[Path], kind: Kind = "without replacement") -> None:
        self.paths, self.kind = sorted({tuple(path) for path in paths}, key=lambda path: (len(path), path)), kind
        require(bool(self.paths), "paths is empty: a tree has at least one slot; try [(0,), (1,), (0, 0)]")
        known = {(), *self.paths}
        for path in self.paths:
            require(len(path) > 0, "paths contains (): the root is there anyway; leave it out")
            require(path[:-1] in known, f"paths has {path} but not its parent {path[:-1]}; a tree is prefix closed")
            require(path[-1] == 0 or (*path[:-1], path[-1] - 1) in known, f"paths has {path} but not the sibling before it")
        counts: dict[Path, int] = {}
        for path in self.paths:
            counts[path[:-1]] = counts.get(path[:-1], 0) + 1
        depth = max(map(len, self.paths))
        self.levels = [[(path, k) for path, k in counts.items() if len(path) == d] for d in range(depth)]

    def __len__(self) -> int:
        """How many slots the tree has."""
        return len(self.paths)

    def grow(self, growth: Growth) -> Generator[Sequence[int], None, None]:
        place: dict[Path, int] = {(): 0}
        for level in self.levels:
            here = [(path, k) for path, k in level if path in place]
            if not here:
                return
            yield [place[path] for path, _ in here]
            for path, k in here:
                for i, node in enumerate(growth.level([place[path]], k)):
                    place[*path, i] = node

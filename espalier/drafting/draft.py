"""Drafts: small trees of prefixes that a drafter proposes below a prefix, and the interface of drafters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

from torch import Tensor

from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.scorer import Ask

Kind: TypeAlias = Literal["deterministic", "with replacement", "without replacement"]


@dataclass(frozen=True, slots=True)
class Law:
    """How the children of one node were drawn: from probabilities `q` [V], in order, with or without replacement."""

    q: Tensor
    replacement: bool = True


class Draft:
    """A tree of prefixes in topological order; node 0 is the prefix it grows from.

    `children[i]` are the nodes below node i, in the order in which they were proposed; `laws[i]` is the law from which they
    were drawn, or absent if they were chosen deterministically (then no two siblings carry the same token).

    >>> draft = Draft(Prefix([1]))
    >>> a = draft.add(0, 5); b = draft.add(a, 6); c = draft.add(0, 7)
    >>> [p.ids() for p in draft.prefixes], draft.children, len(draft)
    ([[1], [1, 5], [1, 5, 6], [1, 7]], [[1, 3], [2], [], []], 3)
    """

    __slots__ = ("children", "laws", "parents", "prefixes")

    def __init__(self, x: Prefix) -> None:
        self.prefixes: list[Prefix] = [x]
        self.parents: list[int] = [-1]
        self.children: list[list[int]] = [[]]
        self.laws: dict[int, Law] = {}

    def __len__(self) -> int:
        """How many tokens are drafted (the root is none)."""
        return len(self.prefixes) - 1

    def add(self, parent: int, token: int) -> int:
        """Adds a child and returns its number; of equal deterministic siblings the one that is there."""
        if parent not in self.laws:
            for node in self.children[parent]:
                if self.token(node) == token:
                    return node
        self.prefixes.append(self.prefixes[parent] + token)
        self.parents.append(parent)
        self.children.append([])
        self.children[parent].append(len(self.prefixes) - 1)
        return len(self.prefixes) - 1

    def extend(self, parent: int, tokens: Sequence[int]) -> int:
        """Adds a chain below a node and returns the number of its last node."""
        for token in tokens:
            parent = self.add(parent, token)
        return parent

    def drawn(self, parent: int, q: Tensor, replacement: bool = True) -> None:
        """Says that the children of `parent`, which has none yet, are draws from q."""
        self.laws[parent] = Law(q, replacement)

    def token(self, node: int) -> int:
        """The token of a node."""
        return self.prefixes[node].tokens[-1]

    def depth(self, node: int) -> int:
        """How far below the root a node is."""
        return len(self.prefixes[node]) - len(self.prefixes[0])

    def pruned(self, viable: Callable[[Prefix], bool]) -> Draft:
        """The draft without what can never be accepted: deterministic nodes that are not viable, and all that is below
        a node that is not. A *drawn* node stays, since dropping draws by their value would bias the law."""
        kept = Draft(self.prefixes[0])
        place = {0: 0}
        kept.laws.update({0: self.laws[0]} if 0 in self.laws else {})
        for node in range(1, len(self.prefixes)):
            parent = self.parents[node]
            if parent not in place or (parent != 0 and not viable(self.prefixes[parent])):
                continue
            if parent in self.laws or viable(self.prefixes[node]):
                place[node] = kept._adopt(place[parent], self.prefixes[node])
                if node in self.laws:
                    kept.laws[place[node]] = self.laws[node]
        return kept

    def _adopt(self, parent: int, prefix: Prefix) -> int:
        self.prefixes.append(prefix)
        self.parents.append(parent)
        self.children.append([])
        self.children[parent].append(len(self.prefixes) - 1)
        return len(self.prefixes) - 1


class Drafter(ABC):
    """Proposes a tree of prefixes below a prefix. What it proposes changes how fast text comes, never which text.

    `kind` says how children are chosen, so that a verifier that needs their law can refuse; `want` names extras of the
    target's pass that `observe` reads. A drafter that remembers anything of a request returns a fresh one from `begin`.
    """

    kind: ClassVar[Kind] = "deterministic"
    want: frozenset[str] = frozenset()

    def begin(self, x: Prefix) -> Drafter:
        """The drafter for one request, whose prompt is x."""
        return self

    @abstractmethod
    def propose(self, x: Prefix, rng: Rng) -> Generator[Ask, Any, Draft]:
        """A draft below x; a generator, so that it may ask a model of its own. `rng` is the drafter's own stream."""

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:  # noqa: B027 - optional
        """What became of a draft: the prefix that it grew to, and the target's rows for `draft.prefixes`."""

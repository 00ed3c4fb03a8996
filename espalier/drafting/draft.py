"""Drafts: small trees of prefixes that a drafter proposes below a prefix, and the interface of drafters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch import Tensor

from espalier.errors import expect, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.scorer import Ask, Scorer

if TYPE_CHECKING:
    from espalier.drafting.guided.forced_tokens import Outlook

Kind: TypeAlias = Literal["deterministic", "with replacement", "without replacement"]


def budget(**numbers: int) -> None:
    """Raise `InvalidInput` unless each of these settings of a drafter is a whole number, at least 1.

    >>> budget(tokens=3, width=1)
    """
    for name, number in numbers.items():
        expect(number, Integral, name, "a whole number, at least 1")
        require(number >= 1, f"{name}={number}: at least 1 is needed; for plain decoding leave the drafter out")


@dataclass(frozen=True, slots=True, eq=False)
class Law:
    """How the children of one node were drawn: from probabilities `q` [V], in order, with or without replacement.

    >>> import torch
    >>> Law(torch.tensor([0.5, 0.25, 0.25]), replacement=False).after([0]).tolist()
    [0.0, 0.5, 0.5]
    """

    q: Tensor
    replacement: bool = True

    def after(self, tried: Sequence[int]) -> Tensor:
        """The probabilities [V], in float64, from which the next sibling is drawn when these have been.

        Without replacement and with nothing left of q: uniform over what was not tried (Chen et al. 2024, "Sequoia",
        arXiv 2402.12374); zero everywhere if all was. Drafters and verifiers both take it from here, so they agree.
        """
        q = self.q.double()
        if self.replacement or not tried:
            return q
        q = q.clone()
        q[list(tried)] = 0
        if not bool((q > 0).any()):
            q = torch.ones_like(q)
            q[list(tried)] = 0
        return q / q.sum().clamp(min=torch.finfo(q.dtype).tiny)


class Draft:
    """A tree of prefixes in topological order; node 0 is the prefix it grows from.

    `children[i]` are the nodes below node i, in the order in which they were proposed; `laws[i]` is the law from which they
    were drawn, or absent if they were chosen deterministically. No two nodes below one carry the same token: a token that
    is drawn again *with* replacement is the same node, listed again. `scored` is how many nodes the target's pass saw
    (None: all); nodes that were added while it ran are pending, and no verifier looks below one.

    >>> draft = Draft(Prefix([1]))
    >>> a = draft.add(0, 5); b = draft.add(a, 6); c = draft.add(0, 7)
    >>> [p.ids() for p in draft.prefixes], draft.children, len(draft)
    ([[1], [1, 5], [1, 5, 6], [1, 7]], [[1, 3], [2], [], []], 3)
    """

    __slots__ = ("children", "laws", "parents", "prefixes", "scored")

    def __init__(self, x: Prefix) -> None:
        self.prefixes: list[Prefix] = [x]
        self.parents: list[int] = [-1]
        self.children: list[list[int]] = [[]]
        self.laws: dict[int, Law] = {}
        self.scored: int | None = None

    def __len__(self) -> int:
        """How many tokens are drafted (the root is none)."""
        return len(self.prefixes) - 1

    def add(self, parent: int, token: int) -> int:
        """Adds a child and returns its number; of equal siblings the one that is there."""
        for node in self.children[parent]:
            if self.token(node) == token:
                if parent in self.laws:
                    self.children[parent].append(node)
                return node
        return self.adopt(parent, self.prefixes[parent] + token)

    def adopt(self, parent: int, prefix: Prefix) -> int:
        """Adds a prefix that is there already, one token below the parent's, as a new child and returns its number."""
        self.prefixes.append(prefix)
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

    def draw(self, parent: int, rng: Rng) -> int:
        """Draws one more child of a node from its law and returns its number."""
        law = self.laws[parent]
        return self.add(parent, rng.categorical(law.after(self.tokens(parent))))

    def tokens(self, parent: int) -> list[int]:
        """The tokens of a node's children, in the order in which they were proposed."""
        return [self.token(node) for node in self.children[parent]]

    def has_row(self, node: int) -> bool:
        """Whether the target's pass gives the row after this node (not if the node was added while it ran)."""
        return self.scored is None or node < self.scored

    def token(self, node: int) -> int:
        """The token of a node."""
        return self.prefixes[node].tokens[-1]

    def depth(self, node: int) -> int:
        """How far below the root a node is."""
        return len(self.prefixes[node]) - len(self.prefixes[0])

    def height(self) -> int:
        """How many levels are drafted; 0 for an empty draft."""
        return max(self.depth(node) for node in range(len(self.prefixes)))

    def gained(self, x: Prefix) -> int:
        """How many tokens the text has gained in the round that ended at x; 0 if a dead end took some back."""
        return max(len(x) - len(self.prefixes[0]), 0)

    def accepted(self, x: Prefix) -> list[int]:
        """The nodes on the path to x, which the text grew to, from the top; the root is not among them."""
        place = {id(prefix): node for node, prefix in enumerate(self.prefixes) if node}
        nodes = []
        for prefix in x.up():
            if prefix is self.prefixes[0]:
                break
            if id(prefix) in place:
                nodes.append(place[id(prefix)])
        return nodes[::-1]

    def missed(self, x: Prefix) -> bool:
        """Whether the text went on to x from a node that has children with a token that none of them has."""
        last = [0, *self.accepted(x)][-1]
        return bool(self.children[last]) and len(x) > len(self.prefixes[last])

    def cut(self, nodes: Iterable[int]) -> Draft:
        """The draft cut to some nodes and all above them; siblings keep their order. For deterministic drafts."""
        wanted = {0}
        for node in nodes:
            while node not in wanted:
                wanted.add(node)
                node = self.parents[node]
        return self.pruned({self.prefixes[node] for node in wanted}.__contains__)

    def pruned(self, viable: Callable[[Prefix], bool]) -> Draft:
        """The draft without what can never be accepted: deterministic nodes that are not viable, and all that is below
        a node that is not. A *drawn* node stays, since dropping draws by their value would bias the law."""
        kept, place = Draft(self.prefixes[0]), {0: 0}
        for node in range(1, len(self.prefixes)):
            parent = self.parents[node]
            if parent not in place or (parent != 0 and not viable(self.prefixes[parent])):
                continue
            if parent in self.laws or viable(self.prefixes[node]):
                place[node] = kept.adopt(place[parent], self.prefixes[node])
        for node, at in place.items():
            kept.children[at] = [place[child] for child in self.children[node] if child in place]
            if node in self.laws and kept.children[at]:
                kept.laws[at] = self.laws[node]
        return kept


class Drafter(ABC):
    """Proposes a tree of prefixes below a prefix. What it proposes changes how fast text comes, never which text.

    `kind` says how children are chosen, so that a verifier that needs their law can refuse; `want` names extras of the
    target's pass that `observe` reads. A drafter that remembers anything of a request returns a fresh one from `begin`.

    >>> import espalier as es
    >>> class Repeat(Drafter):  # drafts the last token again
    ...     def propose(self, x, rng):
    ...         yield from ()  # it asks no model
    ...         draft = Draft(x)
    ...         draft.extend(0, [x.last] * 3)
    ...         return draft
    >>> model, verify = es.models.Table(2, 0, lambda context: torch.tensor([0.0, 9.0])), es.verification.GreedyMatch()
    >>> [x] = es.run(es.speculate(model, Prefix([1]), es.stop.budget(8), Repeat(), verify, es.Rng(0)))
    >>> x.written(), model.passes
    ([1, 1, 1, 1, 1, 1, 1, 1], 2)
    """

    kind: Kind = "deterministic"
    want: frozenset[str] = frozenset()

    def check(self, scorer: Scorer) -> None:  # noqa: B027 - optional
        """Raise `InvalidInput` if this drafter cannot draft for this target (its tokens are those of another vocabulary)."""

    @property
    def owner(self) -> Drafter:
        """The drafter whose memory this one reads and writes: itself, or the one around which it was put for a request."""
        return self

    def begin(self, x: Prefix) -> Drafter:
        """The drafter for one request, whose prompt is x."""
        return self

    def guided_by(self, outlook: Outlook) -> Drafter:
        """This drafter for texts under a guide: what the guide forces, and this drafter's drafts where it forces nothing."""
        from espalier.drafting.guided.forced import Forced

        return Forced(outlook.guide, outlook.vocab, outlook.encode, self)

    @abstractmethod
    def propose(self, x: Prefix, rng: Rng) -> Generator[Ask, Any, Draft]:
        """A draft below x; a generator, so that it may ask a model of its own. `rng` is the drafter's own stream."""

    def join(self, draft: Draft) -> None:  # noqa: B027 - optional
        """Adds to a draft, after the target's pass and before it is verified, what was drafted while the pass ran."""

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:  # noqa: B027 - optional
        """What became of a draft: the prefix that it grew to, and the target's rows for `draft.prefixes`."""


class PerText(Drafter):
    """A drafter that is its settings, and the memory that texts share; each text has one of its own, which `begin` makes."""

    @abstractmethod
    def begin(self, x: Prefix) -> Drafter:
        """The drafter for one request, whose prompt is x."""

    def propose(self, x: Prefix, rng: Rng) -> Generator[Ask, Any, Draft]:
        return self.begin(x).propose(x, rng)


class ModelFree(Drafter):
    """A drafter that asks no model: `draft` is all that it does."""

    @abstractmethod
    def draft(self, x: Prefix, rng: Rng) -> Draft:
        """A draft below x. `rng` is the drafter's own stream."""

    def propose(self, x: Prefix, rng: Rng) -> Generator[Ask, Any, Draft]:
        yield from ()  # no question: a generator all the same
        return self.draft(x, rng)

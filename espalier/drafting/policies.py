"""The two policies of a draft: which slots of the tree are filled (`TreePolicy`) and how far it grows (`LengthPolicy`)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from espalier.drafting.draft import Draft, Kind, budget
from espalier.errors import ContextOverflow, DeadEnd, InvalidInput
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.scorer import Ask, Scorer


class Growth:
    """A draft while it grows. A policy names a *slot* (`fill(parent)`); which token gets it is decided only then.

    That order is what keeps sampling exact: whether a slot exists may depend on the prefix, on the laws q as a whole and on
    tokens drawn before, never on the token that is drawn for it. So there is no way to take a drawn token back; only
    deterministic drafts can be cut to some of their nodes (`only`).
    """

    def __init__(self, x: Prefix, kind: Kind, rng: Rng) -> None:
        self.draft, self.kind, self.rng = Draft(x), kind, rng
        self.passes = 0
        self._laws: dict[int, Tensor] = {}
        self._rest: dict[int, Tensor] = {}
        self._ranked: dict[int, list[tuple[int, float]]] = {}
        self._hidden: dict[int, Tensor] = {}
        self._logp: list[float] = [0.0]
        self._seen = 1

    def law(self, node: int) -> Tensor:
        """q [V]: the drafter's probabilities after a node, which must have been asked for; zeros where nothing may follow."""
        return self._laws[node]

    def rest(self, node: int) -> Tensor:
        """[V] weights, not normalised, from which the next child of a node is drawn."""
        return self._rest.get(node, self._laws[node])

    def logp(self, node: int) -> float:
        """The natural-log probability of the path to a node under q."""
        return self._logp[node]

    def known(self, node: int) -> bool:
        """Whether the law after a node has been asked for."""
        return node in self._laws

    def fill(self, parent: int) -> int | None:
        """One more child of `parent`: its number, or None if q leaves nothing to choose from.

        "with replacement": a draw from q; "without replacement": a draw from q without the children there are;
        "deterministic": the most probable token that is not a child yet.
        """
        token = self._next(parent)
        if token is None:
            return None
        node = self.draft.add(parent, token)
        if node == len(self._logp):  # else it was drawn again
            self._logp.append(self._logp[parent] + math.log(float(self._laws[parent][token])))
        return node

    def _next(self, parent: int) -> int | None:
        at = len(self.draft.children[parent])
        if self.kind == "deterministic":
            ranked = self.ranked(parent, at + 1)
            return ranked[at][0] if at < len(ranked) else None
        weights = self.rest(parent)
        if not bool((weights > 0).any()):
            return None
        if at == 0:
            self.draft.drawn(parent, self._laws[parent], self.kind == "with replacement")
        token = self.rng.categorical(weights)
        if self.kind == "without replacement":
            self._rest[parent] = weights = weights.clone() if at == 0 else weights
            weights[token] = 0
        return token

    def ranked(self, node: int, k: int) -> list[tuple[int, float]]:
        """The k most probable tokens after a node with their probabilities, best first; fewer if fewer are possible."""
        known, q = self._ranked.get(node), self._laws[node]
        if known is None or len(known) < min(k, len(q)):
            order = q.topk(min(32, len(q))) if known is None and k <= 32 else q.sort(descending=True, stable=True)
            pairs = zip(order.indices.tolist(), order.values.tolist(), strict=True)
            before = known or []
            there = {token for token, _ in before}
            self._ranked[node] = known = before + [pair for pair in pairs if pair[0] not in there]
        return [pair for pair in known[:k] if pair[1] > 0]

    def level(self, parents: Iterable[int], children: int) -> list[int]:
        """Up to this many more children of each parent."""
        slots = (self.fill(parent) for parent in parents for _ in range(children))
        return [node for node in slots if node is not None]

    def only(self, nodes: Iterable[int]) -> Draft:
        """The draft cut to these nodes and all above them. Refused for drawn tokens: choosing among them biases the law."""
        if self.kind != "deterministic":
            raise InvalidInput(
                f"this draft is drawn {self.kind}; keeping some of its tokens for what they are would bias sampling; "
                'use kind="deterministic" with a policy that chooses nodes after they are known'
            )
        return self.draft.cut(nodes)

    def learn(self, nodes: Sequence[int], rows: Rows) -> None:
        """Takes in the drafter's rows after these nodes."""
        self.passes += 1
        for at, node in enumerate(nodes):
            try:
                self._laws[node] = rows[at].probs()
            except DeadEnd:
                self._laws[node] = torch.zeros_like(rows.logits[at])
            if "hidden" in rows.extras:
                self._hidden[node] = rows.extras["hidden"][at]

    def close(self, node: int, like: Tensor) -> None:
        """Says that nothing may follow a node (it ends the text)."""
        self._laws[node] = torch.zeros_like(like)

    def signals(self) -> Signals:
        """What a length policy sees: the nodes added since it was last asked, by way of the most probable of them."""
        new = list(range(self._seen, len(self.draft.prefixes))) or [len(self.draft.prefixes) - 1]
        self._seen = len(self.draft.prefixes)
        best = max(new, key=self._logp.__getitem__)
        parent = max(self.draft.parents[best], 0)
        q = self._laws[parent]
        chosen = float(q[self.draft.token(best)]) if best else 1.0
        return Signals(
            depth=self.draft.depth(best),
            passes=self.passes,
            q=q,
            chosen=chosen,
            paths=[self._logp[n] for n in new],
            hidden=self._hidden.get(parent),
            prefix=self.draft.prefixes[best],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Signals:
    """What is known when the next pass of the drafter is decided; about the most probable of the newest nodes.

    `prefix`: that node; `depth`: its depth; `passes`: passes of the drafter so far; `q` [V]: the law it was chosen from;
    `chosen`: its probability there; `paths`: natural-log path probabilities of all newest nodes; `hidden` [D]: the drafter's
    hidden state that gave q, if the policy wants it.
    """

    depth: int
    passes: int
    q: Tensor
    chosen: float
    paths: Sequence[float]
    hidden: Tensor | None
    prefix: Prefix


class TreePolicy(ABC):
    """Which slots of a draft tree are filled.

    `kind` says how tokens get into slots ("deterministic": the most probable first). A policy that remembers anything of a
    request returns a fresh one from `begin`.
    """

    kind: Kind = "without replacement"

    def begin(self, x: Prefix) -> TreePolicy:
        """The policy for one request, whose prompt is x."""
        return self

    @abstractmethod
    def grow(self, growth: Growth) -> Generator[Sequence[int], None, None]:
        """Yields the nodes whose laws it needs (one pass of the drafter each time), and fills slots below them.
        The generator may be left at any yield: what was filled by then is the draft."""

    def finalize(self, growth: Growth) -> Draft:
        """The draft to be verified; deterministic policies may choose among the nodes here (`growth.only`)."""
        return growth.draft

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:  # noqa: B027 - optional
        """What became of a draft, as for `Drafter.observe`."""


class LengthPolicy(ABC):  # noqa: B024 - every method has a sensible default
    """How many passes a drafter makes in a round (for a chain: how many tokens it drafts).

    `plan` is asked before a round, `go_on` whenever the slots of a pass are filled; tokens that made it say no are kept.
    A policy that remembers anything of a request returns a fresh one from `begin`. `meeting` is asked before `plan` where all
    requests of a round are to have reported before any of them plans (`Meeting`). `want` names extras of the drafter's rows
    (for `Signals.hidden`), `reads` those of the target's rows that `observe` reads.
    """

    most: int = 1 << 30
    meeting: Scorer | None = None
    want: frozenset[str] = frozenset()
    reads: frozenset[str] = frozenset()

    @property
    def blind(self) -> bool:
        """Whether it never looks at the draft as it grows: its length is known before."""
        return type(self).go_on is LengthPolicy.go_on

    def begin(self, x: Prefix) -> LengthPolicy:
        """The policy for one request, whose prompt is x."""
        return self

    def plan(self, x: Prefix, rng: Rng) -> int | None:
        """The most passes of this round, `most` unless it is planned; 0 = do not draft, None = no limit of its own."""
        return self.most

    def go_on(self, signals: Signals, rng: Rng) -> bool:
        """Whether to make another pass of the drafter."""
        return True

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:  # noqa: B027 - optional
        """What became of a draft, as for `Drafter.observe`."""


class Chain(TreePolicy):
    """One token after another, at most `most`; a length policy ends it earlier.

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=2, seed=0)
    >>> [draft] = es.run(grow(model, Prefix([1]), Chain(), Constant(3), es.Rng(0)))
    >>> draft.children
    [[1], [2], [3], []]
    """

    def __init__(self, most: int = 32, kind: Kind = "with replacement") -> None:
        budget(most=most)
        self.most, self.kind = most, kind

    def grow(self, growth: Growth) -> Generator[Sequence[int], None, None]:
        node = 0
        for _ in range(self.most):
            yield [node]
            child = growth.fill(node)
            if child is None:
                return
            node = child


class Constant(LengthPolicy):
    """Always the same number of passes.

    >>> Constant(3).plan(Prefix([1]), Rng(0))
    3
    """

    def __init__(self, tokens: int = 5) -> None:
        budget(tokens=tokens)
        self.tokens = tokens

    def plan(self, x: Prefix, rng: Rng) -> int | None:
        return self.tokens


def grow(scorer: Scorer, x: Prefix, tree: TreePolicy, length: LengthPolicy, rng: Rng) -> Generator[Ask, Any, Draft]:
    """The draft that `scorer` writes below x in the shape of the two policies: the body of every draft-model drafter.

    Nothing is drafted below an end token, where the constraint allows nothing, or past the context of `scorer`.

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=2, seed=0)
    >>> [draft] = es.run(grow(model, Prefix([1]), Chain(), Constant(3), es.Rng(0)))
    >>> len(draft), len(draft.laws)
    (3, 3)
    """
    growth = yield from grown(scorer, x, tree, length, rng)
    return tree.finalize(growth)


def grown(scorer: Scorer, x: Prefix, tree: TreePolicy, length: LengthPolicy, rng: Rng) -> Generator[Ask, Any, Growth]:
    """What `grow` does before the tree policy's final choice: the draft together with the laws it was made from."""
    if length.meeting is not None:
        yield Ask(length.meeting, [x])
    growth, most, heard = Growth(x, tree.kind, rng), length.plan(x, rng), 0
    end = scorer.vocab.end if scorer.vocab is not None else frozenset()
    for nodes in tree.grow(growth) if most != 0 else ():
        if heard < growth.passes:
            heard = growth.passes
            if not length.go_on(growth.signals(), rng) or heard == most:
                break
        ask = [n for n in dict.fromkeys(nodes) if not growth.known(n) and (n == 0 or growth.draft.token(n) not in end)]
        if ask:
            try:
                growth.learn(ask, (yield Ask(scorer, [growth.draft.prefixes[n] for n in ask], length.want)))
            except ContextOverflow:  # its context is shorter than the target's: it has no more to say
                break
        for node in nodes:
            if not growth.known(node):
                growth.close(node, growth.law(0))
    if heard < growth.passes:
        length.go_on(growth.signals(), rng)
    return growth

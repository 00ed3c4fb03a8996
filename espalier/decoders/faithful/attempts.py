"""Attempts at one text after another over a shared tree of bounds: side by side, counted in the order of their start."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from espalier.decoders.budget import Spent
from espalier.decoders.faithful.bound_trie import Node, Trie, as_probabilities
from espalier.decoders.faithful.ends import Ends, close, unconstrained
from espalier.errors import Unsatisfiable
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Limit, Row
from espalier.run import Decoder
from espalier.scorer import Ask, Scorer

Learn = Literal["nothing", "checks", "masks"]


@dataclass(frozen=True, slots=True)
class Rule:
    """What an attempt does at a node: `coin`, go on only with probability bound / (the bound by which it was chosen);
    `learn`, what the tree remembers; `masked`, tokens are drawn among the allowed ones only; `lowers`, bounds between 0 and 1
    are used."""

    learn: Learn
    coin: bool = True
    masked: bool = False
    lowers: bool = True


@dataclass(eq=False, slots=True)
class Attempt:
    """One attempt: where it is, with what bound it got there, its weight so far, and what has become of it."""

    rng: Rng
    node: Node
    start: float | None = None  # the root's bound at its start
    chosen: float | None = None  # the bound with which the node was chosen; None at the root
    log_weight: float = 0.0
    outcome: Literal["valid", "failed", "time"] | None = None

    @property
    def value(self) -> float:
        """What it says of the mass of valid texts: its mean over attempts is unbiased."""
        return math.exp(self.log_weight) if self.outcome == "valid" else 0.0


@dataclass(eq=False)
class Attempts:
    """All attempts of one call, and what they have learnt together.

    With `coin`, `Pr[an attempt returns y] = p(y) 1[y valid] / bound(root at its start)`, whatever others learn meanwhile: the
    product of the coins and of the draws telescopes. So every valid result has exactly the law p(y | y valid), if results
    are taken in the order in which attempts were started; first to finish would prefer short texts.
    """

    scorer: Scorer
    x: Prefix
    ends: Ends
    rule: Rule
    spent: Spent
    rng: Rng
    beside: int = 8
    limit: int | None = None  # of attempts
    began: list[Attempt] = field(default_factory=list)
    exhausted: str | None = None

    def __post_init__(self) -> None:
        self.trie = Trie(self.x)
        self._limits: dict[Node, Limit | None] = {}

    def collect(self, n: int) -> Decoder[list[Attempt]]:
        """The first n valid attempts in the order of their start; fewer when a budget ends (`exhausted` says which)."""
        while True:
            done = self._in_order()
            valid = [a for a in done if a.outcome == "valid"]
            if self.spent.budget.seconds is not None and self.spent.left() <= 0:
                self.exhausted = "the budget was used up"
            if len(valid) >= n or self.exhausted:
                return valid[:n]
            if self.trie.root.bound <= 0:
                raise Unsatisfiable(
                    "no text within the length limit satisfies the constraint, or the model gives all of them 0"
                )
            live = [a for a in self.began if a.outcome is None]
            live += self._start(n - len(valid), len(live))
            if not live:
                self.exhausted = f"the limit of {self.limit} attempts was reached"
                continue
            for attempt in live:
                self._advance(attempt)
            waiting = list(dict.fromkeys(a.node for a in live if a.outcome is None))
            if any(a.outcome == "time" for a in live):
                self.exhausted = "the time of the stop condition was used up"
            elif waiting:
                yield from self._ask(waiting)

    @property
    def finished(self) -> list[Attempt]:
        """The attempts that count: those before which none is still running."""
        return self._in_order()

    def _in_order(self) -> list[Attempt]:
        at = next((i for i, a in enumerate(self.began) if a.outcome is None), len(self.began))
        return self.began[:at]

    def _start(self, missing: int, live: int) -> list[Attempt]:
        """As many more attempts as are likely to be needed; depends on the past alone, so the law of results does not."""
        over = [a for a in self.began if a.outcome is not None]
        rate = (1 + sum(a.outcome == "valid" for a in over)) / (1 + len(over))
        wanted = min(self.beside, math.ceil(missing / rate)) - live
        if self.limit is not None:
            wanted = min(wanted, self.limit - len(self.began))
        new = [Attempt(self.rng.split(), self.trie.root) for _ in range(wanted)]
        self.began += new
        return new

    def _ask(self, nodes: list[Node]) -> Decoder[None]:
        left = self.spent.left()
        nodes = nodes[: int(min(left, len(nodes)))]
        if not nodes or not self.spent.pay(len(nodes)):
            self.exhausted = "the budget was used up"
            return
        rows = yield Ask(self.scorer, [node.prefix for node in nodes])
        for node, row in zip(nodes, rows, strict=True):
            self._learn(node, row)

    def _learn(self, node: Node, row: Row) -> None:
        logp = close(unconstrained(row), self.ends.closing(node.prefix) if self.rule.learn != "nothing" else None)
        self._limits[node] = row.limit
        masks = row.limit is not None and (self.rule.learn == "masks" or self.rule.masked)
        mask = row.limit.mask() if masks and row.limit is not None else None
        if mask is not None:
            logp = logp.masked_fill(~mask.to(logp.device), -torch.inf)
        self.trie.learn(node, as_probabilities(logp).cpu())

    def _advance(self, a: Attempt) -> None:
        """Goes on as far as the rows that are known allow."""
        while a.outcome is None and self.trie.row(a.node) is not None:
            node = a.node
            weights = self._weights(node)
            total = float(weights.sum())
            if a.start is None:
                a.start = total
                a.log_weight = math.log(total) if total > 0 else -math.inf
            elif not self.rule.coin:
                a.log_weight += math.log(total / a.chosen) if total > 0 and a.chosen else -math.inf
            if total <= 0 or not self._goes_on(a, total):
                self._fail(a, shut=total <= 0)
                return
            self._draw(a, weights)

    def _weights(self, node: Node) -> Tensor:
        if self.rule.lowers:
            return self.trie.weights(node)
        row = self.trie.row(node)
        assert row is not None
        weights = row.double().clone()
        for token in [t for t, child in node.children.items() if child.bound <= 0]:
            weights[token] = 0
        return weights

    def _goes_on(self, a: Attempt, total: float) -> bool:
        if not self.rule.coin or a.chosen is None or total >= a.chosen:
            return True
        return a.rng.flip(total / a.chosen)

    def _draw(self, a: Attempt, weights: Tensor) -> None:
        node, token = a.node, a.rng.categorical(weights)
        limit = self._limits[node]
        if limit is not None and not limit.allowed(token):  # the row was not masked, or by a mask that allows too much
            self._fail(a, node, token)
            return
        a.chosen = self.trie.bound_of(node, token) if self.rule.lowers else 1.0
        a.node = self.trie.child(node, token)
        end = self.ends(a.node.prefix)
        if end == "valid" or end == "time":
            a.outcome = end
        elif end is not None:
            self._fail(a, shut=True)

    def _fail(self, a: Attempt, node: Node | None = None, token: int = 0, shut: bool = False) -> None:
        a.outcome = "failed"
        if self.rule.learn == "nothing":
            return
        if node is not None:
            self.trie.forbid(node, token)
        elif shut and a.node.bound > 0:
            a.node.lower(0.0)

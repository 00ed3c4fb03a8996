"""Searches that open the prefix with the best value next: A*, LiteSearch, value-guided efficient decoding."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from espalier.decoders.decoder import at_least
from espalier.decoders.steps.best_of_and_rebase import distinct
from espalier.decoders.steps.candidate import Candidate
from espalier.decoders.steps.search import Search
from espalier.decoders.steps.space import Space
from espalier.errors import DeadEnd, require
from espalier.run import Decoder


@dataclass(frozen=True)
class AStar(Search):
    """Best-first over steps: the candidate with the best priority is continued by `branch` steps; the first finished one that
    comes up is the result.

    `priority(candidate, score)` is score + `weight` · mean log-probability unless given (the form is ours: the paper's own was
    not to be had). With priority = log p so far + an upper bound of what can follow, the result is the most probable text and
    nothing is opened that the bound does not demand. propose="top" takes the best tokens (one token a step) instead of drawing.
    "A*-decoding" 2025 (arXiv 2505.13672).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=2, seed=0)
    >>> search = AStar(4, propose="top", priority=lambda c, score: c.logp, steps=es.decoders.Steps(tokens=1))
    >>> [found] = es.run(search(model, es.Prefix([1]), es.stop.budget(3), es.Rng(0)))
    >>> abs(found.best.logp - max(map(__import__("math").log, model.joint(es.Prefix([1]), 3).values()))) < 1e-9
    True
    """

    branch: int
    priority: Callable[[Candidate, float], float] | None = None
    weight: float = 1.0
    propose: Literal["sample", "top"] = "sample"

    def check(self) -> None:
        at_least(self, branch=1)
        require(self.propose in ("sample", "top"), f"propose={self.propose!r}; use 'sample' or 'top'")
        single = self.propose == "sample" or self.steps.tokens == 1
        require(single, "propose='top' opens single tokens; write steps=es.decoders.Steps(tokens=1)")

    def grow(self, space: Space) -> Decoder[None]:
        """Until a finished candidate comes up."""
        number = itertools.count()
        heap: list[tuple[float, int, Candidate]] = [(0.0, next(number), space.root)]
        known: set[tuple[int, ...]] = set()
        while heap:
            _, _, c = heapq.heappop(heap)
            if c.over:
                space.best_first(c)
                return
            children = [d for d in (yield from self._children(space, c)) if d.tokens not in known]
            known.update(d.tokens for d in children)
            for d, score in zip(children, space.evaluate(children), strict=True):
                value = score + self.weight * d.mean if self.priority is None else self.priority(d, score)
                heapq.heappush(heap, (-value, next(number), d))

    def _children(self, space: Space, c: Candidate) -> Decoder[list[Candidate]]:
        if self.propose == "sample":
            return distinct((yield from space.expand([c] * self.branch)))
        top = yield from space.top(c, self.branch)
        return [space.step(c, [token], logp) for token, logp in top]


@dataclass(eq=False, slots=True)
class _Node:
    candidate: Candidate
    value: float
    depth: int
    budget: int
    children: list[_Node] = field(default_factory=list)


@dataclass(frozen=True)
class LiteSearch(Search):
    """A tree over steps whose nodes get few continuations where their value is high: `score` is a chance between 0 and 1.

    A greedy text gives the value to beat. The node with the best value among those with continuations left is opened: its
    first child is greedy, the others are drawn; it may have between `least` and `most` of them. Ends when a finished text is
    good enough, after `leaves` of them or `rounds`.
    Wang et al. 2024 (arXiv 2407.00320).

    >>> [LiteSearch().continuations(v, 0.5, d) for d in (1, 2, 4) for v in (0.1, 0.5, 0.9)]
    [7, 4, 2, 4, 2, 2, 2, 2, 2]
    """

    enough: float = 0.8
    leaves: int = 5
    rounds: int = 100
    least: int = 2
    most: int = 10

    def check(self) -> None:
        at_least(self, leaves=1, rounds=1)
        require(1 <= self.least <= self.most, f"least={self.least}, most={self.most}: numbers of children, 1 ≤ least ≤ most")

    def continuations(self, value: float, greedy: float, depth: int) -> int:
        """How many children a node at this depth may have, given its value and the greedy text's."""
        if value <= 0:
            return 0
        mixed = min(max((value + greedy / depth) / (1 + 1 / depth), 0.0), 1.0)
        tries = 1 if mixed >= 1 else next((c for c in range(1, 10) if 1 - (1 - mixed) ** c > 0.9), 10)
        return min(max(round(tries / depth), self.least), self.most)

    def grow(self, space: Space) -> Decoder[None]:
        """Until a text is good enough."""
        first = yield from space.expand([space.root], greedy=True, whole=True)
        goal = space.evaluate(first)[0] if first else 0.0
        nodes = [_Node(space.root, max(goal, 1e-6), 0, self.continuations(max(goal, 1e-6), goal, 1))]
        done = 0
        for _ in range(self.rounds):
            open_ = [n for n in nodes if not n.candidate.over and len(n.children) < n.budget]
            if not open_ or done >= self.leaves:
                return
            node = max(open_, key=lambda n: n.value)
            if node.value < 0.01 and node is not nodes[0]:
                return
            made = yield from space.expand([node.candidate], greedy=not node.children)
            if not made:
                node.budget = 0
                continue
            [c] = made
            [value] = space.evaluate([c])
            repeated = any(n.candidate.tokens == c.tokens for n in node.children)
            child = _Node(c, 0.0 if repeated else value, node.depth + 1, 0)
            child.budget = self.continuations(child.value, goal, child.depth + 1)
            node.children.append(child)
            nodes.append(child)
            done += c.over and not repeated
            if c.over and child.value > max(self.enough, goal - 0.01):
                return


@dataclass(frozen=True)
class VED(Search):
    """Value-guided efficient decoding over short codes: a beam seeds the tree, then single tokens are added where value and
    uncertainty are above the mean of their depth.

    A node's gain is score + `entropy` · H(next token); from the root down the child with the best gain + `explore` ·
    sqrt(log(N + 1) / (n + 1)) is taken; a node at or above the mean gain of its depth gets one more child, drawn from its
    unopened tokens. V-STAR 2026 (arXiv 2602.10699, constants second-hand).

    >>> import espalier as es
    >>> model, steps = es.models.Table.random(vocab_size=4, depth=2, seed=0), es.decoders.Steps(tokens=1)
    >>> search = VED(score=lambda cs: [float(sum(c.tokens)) for c in cs], steps=steps, budget=30)
    >>> [found] = es.run(search(model, es.Prefix([1]), es.stop.budget(3), es.Rng(0)))
    >>> found.best.tokens
    (3, 3, 3)
    """

    width: int = 8
    entropy: float = 0.1
    explore: float = 0.5
    rounds: int = 10_000

    def check(self) -> None:
        at_least(self, width=1, rounds=1)

    def grow(self, space: Space) -> Decoder[None]:
        """A seed by a beam, then one child at a time."""
        tree = _ValueTree(self, space)
        yield from tree.seed()
        for _ in range(self.rounds):
            if not (yield from tree.add()):
                return


@dataclass(eq=False, slots=True)
class _Valued:
    candidate: Candidate
    logps: dict[int, float]
    gain: float
    children: dict[int, _Valued] = field(default_factory=dict)
    visits: int = 0
    shut: bool = False


class _ValueTree:
    def __init__(self, ved: VED, space: Space) -> None:
        self.ved, self.space = ved, space
        self.gains: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])  # sum and number, by depth
        self.root: _Valued | None = None

    def seed(self) -> Decoder[None]:
        [self.root] = yield from self._make([self.space.root])
        live = [self.root]
        while live:
            grown = [(n.candidate.logp + p, n, t) for n in live for t, p in n.logps.items()]
            best = sorted(grown, key=lambda item: -item[0])[: self.ved.width]
            made = yield from self._make([self.space.step(n.candidate, [t], n.logps[t]) for _, n, t in best])
            for (_, n, t), child in zip(best, made, strict=True):
                n.children[t] = child
            live = [n for n in made if not n.candidate.over]

    def _make(self, candidates: list[Candidate]) -> Decoder[list[_Valued]]:
        rows = yield from self.space.rows([c.prefix for c in candidates if not c.over])
        values = [0.0 if c is self.space.root else v for c, v in zip(candidates, self._values(candidates), strict=True)]
        at = iter(rows)
        made = []
        for c, value in zip(candidates, values, strict=True):
            logps: dict[int, float] = {}
            if not c.over:
                try:
                    row = next(at)
                    logps = dict(row.top(64))
                except DeadEnd:
                    logps = {}
            entropy = -math.fsum(math.exp(p) * p for p in logps.values())
            made.append(_Valued(c, logps, value + self.ved.entropy * entropy, shut=not logps))
            self.gains[len(c.tokens)][0] += made[-1].gain
            self.gains[len(c.tokens)][1] += 1
        return made

    def _values(self, candidates: list[Candidate]) -> list[float]:
        scored = [c for c in candidates if c is not self.space.root]
        values = iter(self.space.evaluate(scored))
        return [0.0 if c is self.space.root else next(values) for c in candidates]

    def add(self) -> Decoder[bool]:
        """One more child somewhere; False if every token of every node is open."""
        assert self.root is not None
        node, path = self.root, [self.root]
        while True:
            unopened = [t for t in node.logps if t not in node.children]
            total_gain, count = self.gains[len(node.candidate.tokens)]
            mean = total_gain / count
            ways = [child for child in node.children.values() if not child.shut]
            if unopened and (node.gain >= mean or not ways):
                break
            if not ways:
                node.shut = True
                if node is self.root:
                    return False
                node, path = self.root, [self.root]
                continue
            total = self.root.visits + 1
            node = max(ways, key=lambda n: n.gain + self.ved.explore * math.sqrt(math.log(total + 1) / (n.visits + 1)))
            path.append(node)
        weights = [math.exp(node.logps[t]) for t in unopened]
        token = unopened[self.space.choose(weights)]
        [node.children[token]] = yield from self._make([self.space.step(node.candidate, [token], node.logps[token])])
        for passed in path:
            passed.visits += 1
        return True

"""Best-first beam search: the result of a beam with fewer rows computed."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import ClassVar

from espalier.decoders.decoder import Weighted, check_parts
from espalier.errors import DeadEnd, Unsatisfiable, expect, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.run import Decoder
from espalier.scorer import Ask, Scorer
from espalier.stop import Stop


@dataclass(frozen=True)
class BestFirst:
    """The k texts that a beam of width k finds (one in which finished texts keep their places), best first.

    The most probable prefix of any length is opened next; at each length at most k are ever opened, less the texts that have
    already been finished before it. Guarantee: the set that the beam finds, with at most its rows; with k as large as the
    language, the k most probable texts. log-probabilities are the model's. `memory`: the most prefixes that wait at a time (the
    worst of the shortest length go first; the guarantee goes with them). Meister et al. 2020 (arXiv 2007.03909).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=2, seed=0)
    >>> [found] = es.run(BestFirst(2)(model, es.Prefix([1]), es.stop.budget(3), es.Rng(0)))
    >>> len(found), found[0].log_weight >= found[1].log_weight
    (2, True)
    """

    k: int
    memory: int | None = None
    many: ClassVar[bool] = True  # one run finds several texts

    def __post_init__(self) -> None:
        expect(self.k, int, "k", "a whole number")
        require(self.k >= 1, f"k={self.k}: at least one text must be looked for")
        big = self.memory is None or self.memory >= self.k
        require(big, f"memory={self.memory}: at least k={self.k} prefixes must be able to wait")

    def __call__(self, scorer: Scorer, x: Prefix, stop: Stop, rng: Rng) -> Decoder[list[Weighted]]:
        check_parts(scorer, x, stop, rng)
        frontier = _Frontier(self.k, self.memory)
        frontier.add(0, [(0.0, x)])
        found: list[Weighted] = []
        while len(found) < self.k and (opened := frontier.pop()) is not None:
            length, cost, y = opened
            if length and stop(y) is not None:
                found.append(Weighted(y, -cost))
                frontier.finish(length)
                continue
            [row] = yield Ask(scorer, [y])
            try:
                children = [(cost - logp - row.log_normaliser, y + token) for token, logp in row.top(self.k)]
            except DeadEnd:
                continue
            frontier.add(length + 1, children)
        if not found:
            raise Unsatisfiable("no text could be finished under the constraint; try a larger k")
        return found


class _Frontier:
    """Prefixes that wait to be opened, by length; each length has k places, less those that finished texts hold."""

    def __init__(self, k: int, memory: int | None) -> None:
        self.k, self.memory, self.number = k, memory, 0
        self.waiting: dict[int, list[tuple[float, int, Prefix]]] = defaultdict(list)
        self.opened: Counter[int] = Counter()
        self.ends: list[int] = []

    def places(self, length: int) -> int:
        return self.k - self.opened[length] - sum(end < length for end in self.ends)

    def pop(self) -> tuple[int, float, Prefix] | None:
        """The cheapest prefix with its length and cost."""
        if not any(self.waiting.values()):
            return None
        length = min((heap[0], at) for at, heap in self.waiting.items() if heap)[1]
        cost, _, y = heapq.heappop(self.waiting[length])
        self.opened[length] += 1
        self._trim()
        return length, cost, y

    def finish(self, length: int) -> None:
        self.ends.append(length)
        self._trim()

    def add(self, length: int, children: list[tuple[float, Prefix]]) -> None:
        for cost, y in children:
            self.number += 1
            heapq.heappush(self.waiting[length], (cost, self.number, y))
        self._trim()

    def _trim(self) -> None:
        """No more wait than there are places; when a length is full, nothing shorter can matter any more."""
        full = max((at for at in self.opened if self.places(at) <= 0), default=-1)
        for at in list(self.waiting):
            kept = 0 if at <= full else self.places(at)
            self.waiting[at] = heapq.nsmallest(max(kept, 0), self.waiting[at])
        while self.memory is not None and sum(map(len, self.waiting.values())) > self.memory:
            shortest = min(at for at, heap in self.waiting.items() if heap)
            self.waiting[shortest] = heapq.nsmallest(len(self.waiting[shortest]) - 1, self.waiting[shortest])

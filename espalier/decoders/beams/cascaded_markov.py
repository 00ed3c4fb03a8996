"""Cascaded decoding: all places at once under models of rising order, pruned by max-marginals, and then the best path."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from espalier.decoders.beams.beam import longest
from espalier.decoders.decoder import Weighted, check_parts, without_constraint
from espalier.errors import Unsatisfiable, expect, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.run import Decoder
from espalier.scorer import Ask, Scorer
from espalier.shaper import Stage
from espalier.stop import Stop

Gram = tuple[int, ...]  # the last tokens of a text; one that ended stays as it is
Read = Callable[[Prefix, int, Gram], Prefix]


@dataclass(frozen=True)
class Markov:
    """The best text of a chain: every place is scored at once given its last m tokens, m = 0, 1, … `orders` (or a list).

    After each order the `k` n-grams with the best max-marginals (of the best text through them) stay at each place; the
    last order's best path is returned, with the chain's log-probability. `read(x, place, gram)` is the prefix of which the
    row is asked at a place, x and the last tokens unless given: the scorer of a Markov transformer puts its barrier there.
    A text that ended stays ended, so all lengths up to the stop's limit compete.

    Guarantee: with `k` at least the number of n-grams it is the exact argmax of the chain of the last order, and of the
    scorer itself where that looks back no further, or `orders` reaches the length limit. The last search keeps a constraint; it
    then follows `k` texts for each n-gram. One pass of up to k · length rows for each order. Deng and Rush 2020 (arXiv
    2006.01112).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=2, seed=0)
    >>> [[found]] = es.run(Markov(2, k=16)(model, es.Prefix([1]), es.stop.budget(3), es.Rng(0)))
    >>> best = max(model.joint(es.Prefix([1]), 3).items(), key=lambda item: item[1])
    >>> tuple(found.prefix.written()) == best[0]
    True
    """

    orders: int | Sequence[int]
    k: int = 32
    read: Read | None = None

    samples: ClassVar[bool] = True  # it ranks texts by the scorer's own law, so no temperature unless one is asked for

    def __post_init__(self) -> None:
        expect(self.orders, (int, Sequence), "orders", "the highest order, or a list of rising orders")
        require(not isinstance(self.orders, str), f"orders={self.orders!r}: a number, or a list of rising numbers")
        expect(self.k, int, "k", "a whole number")
        require(self.k >= 1, f"k={self.k}: at least one n-gram must stay at each place")
        rising = self._orders
        require(
            len(rising) > 0 and rising[0] >= 0 and all(a < b for a, b in itertools.pairwise(rising)),
            f"orders={self.orders!r}: the highest order, at least 0, or a list of rising orders such as (0, 1, 2)",
        )

    @property
    def _orders(self) -> list[int]:
        return list(range(self.orders + 1)) if isinstance(self.orders, int) else [int(m) for m in self.orders]

    def __call__(self, scorer: Scorer, x: Prefix, stop: Stop, rng: Rng) -> Decoder[list[Weighted]]:
        check_parts(scorer, x, stop, rng)
        length = longest(stop)
        require(length is not None, "Markov scores all places at once, so it needs a length limit: stop | es.stop.budget(12)")
        assert length is not None
        chain = _Chain(self, scorer, x, stop, length)
        for m in self._orders:
            yield from chain.score(m)
            if m != self._orders[-1]:
                chain.prune(self.k)
        return [chain.best(self.k if scorer.stage is not Stage.LOGITS else 1)]


class _Chain:
    """The n-grams that are left at each place, and the log-weights of going on from one to the next."""

    def __init__(self, markov: Markov, scorer: Scorer, x: Prefix, stop: Stop, length: int) -> None:
        self.bare = without_constraint(scorer, "Markov")
        self.read = markov.read or (lambda x, place, gram: x + gram if gram else x)
        self.scorer, self.x, self.stop, self.length = scorer, x, stop, length
        self.order = 0
        self.kept: list[dict[Gram, list[int]]] | None = None  # at each place, what may follow the tokens before it
        self.edges: list[dict[Gram, dict[int, float]]] = []  # [place][its last `order` tokens][token]

    def score(self, m: int) -> Decoder[None]:
        """Scores every place given the last m tokens: one pass."""
        levels: list[list[Gram]] = [[()]]
        for place in range(1, self.length):
            before = ((gram, token) for gram in levels[-1] for token in self._left(place - 1, gram))
            levels.append(sorted({self._next(gram, token, m) for gram, token in before if not self._ends(token)}))
        at: dict[Gram, int] = {}
        prefixes: list[Prefix] = []
        found: dict[tuple[int, Gram], int] = {}
        for place, grams in enumerate(levels):
            for gram in grams:
                prefix = self.read(self.x, place, gram)
                ids = tuple(prefix.ids())
                if ids not in at:
                    at[ids] = len(prefixes)
                    prefixes.append(prefix)
                found[place, gram] = at[ids]
        rows = yield Ask(self.bare, prefixes)
        logp = torch.log_softmax(rows.logits.double(), -1).tolist()
        self.edges = [
            {gram: {token: logp[found[place, gram]][token] for token in self._left(place, gram)} for gram in grams}
            for place, grams in enumerate(levels)
        ]
        self.order = m

    def _left(self, place: int, gram: Gram) -> Sequence[int]:
        """The tokens that pruning left at a place behind these."""
        if self.kept is None:
            return range(self.scorer.vocab_size)
        old = min(self.order, place)  # how many tokens were looked at before
        return self.kept[place].get(gram[len(gram) - old :], [])

    def _next(self, gram: Gram, token: int, m: int) -> Gram:
        return (*gram, token)[-m:] if m else ()

    def _ends(self, token: int) -> bool:
        return self.stop(self.x + token) == "stop"

    def marginals(self) -> list[dict[Gram, float]]:
        """At each place, the best log-weight of a whole text through each (order + 1)-gram that ends there."""
        forward: list[dict[Gram, float]] = [{(): 0.0}]
        for place, edges in enumerate(self.edges):
            level: dict[Gram, float] = {}
            for gram, ways in edges.items():
                for token, weight in ways.items():
                    if not self._ends(token):
                        after = self._next(gram, token, self.order)
                        level[after] = max(level.get(after, -math.inf), forward[place].get(gram, -math.inf) + weight)
            forward.append(level)
        through: list[dict[Gram, float]] = []
        behind: dict[Gram, float] | None = None  # None: the length limit ends all
        for place in reversed(range(self.length)):
            values: dict[Gram, float] = {}
            backward: dict[Gram, float] = {}
            for gram, ways in self.edges[place].items():
                for token, weight in ways.items():
                    ended = behind is None or self._ends(token)
                    rest = 0.0 if ended or behind is None else behind.get(self._next(gram, token, self.order), -math.inf)
                    backward[gram] = max(backward.get(gram, -math.inf), weight + rest)
                    values[*gram, token] = forward[place].get(gram, -math.inf) + weight + rest
            through.append(values)
            behind = backward
        return through[::-1]

    def prune(self, k: int) -> None:
        """Leaves the k best n-grams of each place."""
        kept: list[dict[Gram, list[int]]] = []
        for level in self.marginals():
            left: dict[Gram, list[int]] = {}
            for gram in sorted((g for g, value in level.items() if value > -math.inf), key=lambda g: -level[g])[:k]:
                left.setdefault(gram[:-1], []).append(gram[-1])
            kept.append(left)
        self.kept = kept

    def best(self, texts: int) -> Weighted:
        """The best path that the constraint allows; `texts` are followed for each n-gram."""
        live: dict[Gram, list[tuple[float, Prefix]]] = {(): [(0.0, self.x)]}
        done: list[tuple[float, Prefix]] = []
        for edges in self.edges:
            grown: dict[Gram, list[tuple[float, Prefix]]] = {}
            for gram, held in live.items():
                for token, weight in edges.get(gram, {}).items():
                    for total, prefix in held:
                        y = prefix + token
                        if weight > -math.inf and self.scorer.viable(y):
                            over = self.stop(y) is not None
                            place = done if over else grown.setdefault(self._next(gram, token, self.order), [])
                            place.append((total + weight, y))
            live = {gram: sorted(held, key=lambda pair: -pair[0])[:texts] for gram, held in grown.items()}
        if self.scorer.stage is not Stage.LOGITS:
            done = [(w, y) for w, y in done if self.stop(y) == "stop" or self.scorer.may_end(y)] or done
        if not done:
            raise Unsatisfiable("no text of the chain satisfies the constraint; use a larger k")
        total, prefix = max(done, key=lambda pair: pair[0])
        return Weighted(prefix, total)

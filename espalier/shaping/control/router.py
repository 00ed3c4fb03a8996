"""Routing between two models: the large one writes where the text is uncertain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from espalier.errors import InvalidInput, require
from espalier.prefix import Prefix
from espalier.rows import Rows
from espalier.scorer import Answer, Ask, Scorer
from espalier.shaper import Stage


@dataclass(frozen=True, slots=True)
class Route:
    """Which model answers here, and how many tokens were written since it was chosen (None: it never was)."""

    large: bool
    since: int | None


class router(Scorer):
    """The rows of `large` where the mean entropy of the last `window` rows is at least `threshold` bits, else of `small`.

    Once chosen, a model stays for `dwell` tokens. Entropy is that of the model that wrote, before temperature; only rows of
    what was written count, and before the first of them the mean is 0. The chosen model reads what the other wrote in one
    pass. Which model answers is a value on each prefix, so drafts and beams have the route of their own path. The law is
    neither model's. threshold < 0 is the large model, infinity the small one. Simonds 2025, "Entropy adaptive decoding" (arXiv
    2502.06833).

    >>> import espalier as es
    >>> small, large = (es.models.Table.random(vocab_size=4, depth=d, seed=0) for d in (1, 2))
    >>> scorer = router(small, large, threshold=1.2, window=2, dwell=2)
    >>> [x] = es.run(es.sample(scorer, es.Prefix([1]), es.stop.budget(12), es.Rng(0)))
    >>> small.passes + large.passes, len(x.written())
    (12, 12)
    """

    def __init__(self, small: Scorer, large: Scorer, threshold: float, window: int = 5, dwell: int = 10) -> None:
        if not (isinstance(small, Scorer) and isinstance(large, Scorer)):
            raise InvalidInput(f"router({small!r}, {large!r}): expected two scorers, such as small.scorer and large.scorer")
        if small.vocab_size != large.vocab_size:
            raise InvalidInput(f"the small model has {small.vocab_size} tokens and the large one {large.vocab_size}")
        if max(small.stage, large.stage) > Stage.LOGITS:
            raise InvalidInput("router measures the models' own rows; put constraint, temperature and truncation after it")
        require(threshold == threshold, "threshold is not a number; it is an entropy in bits")
        require(window >= 1, f"window={window}: at least one row must be averaged; 5 is usual")
        require(dwell >= 1, f"dwell={dwell}: a model stays for at least one token; 10 is usual")
        self.small, self._large, self.threshold, self.window, self.dwell = small, large, threshold, window, dwell
        self.vocab_size, self.vocab = large.vocab_size, large.vocab
        self._bits: WeakKeyDictionary[Prefix, float] = WeakKeyDictionary()
        self._routes: WeakKeyDictionary[Prefix, Route] = WeakKeyDictionary()

    @property
    def extras(self) -> frozenset[str] | None:
        return frozenset()

    def large(self, x: Prefix) -> bool:
        """Whether the large model answers after x, as far as is known."""
        found = self._route(x)
        return found is not None and found.large

    def viable(self, prefix: Prefix) -> bool:
        return self.small.viable(prefix) and self._large.viable(prefix)

    def answer(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Answer:
        found: dict[Prefix, Tensor] = {}
        waiting = self._needed(prefixes)
        while waiting:  # in waves: a route may hang on the rows above it
            ready = [x for x in waiting if self._route(x) is not None]
            parts = [[x for x in ready if self.large(x) is large] for large in (False, True)]
            asks = tuple(Ask(scorer, part) for scorer, part in zip((self.small, self._large), parts, strict=True) if part)
            answers: list[Rows] = yield asks
            for part, rows in zip(filter(None, parts), answers, strict=True):
                for x, row in zip(part, rows.logits, strict=True):
                    found[x], self._bits[x] = row, _bits(row)
            waiting = [x for x in waiting if x not in found]
        return Rows(torch.stack([found[x] for x in prefixes]), prefixes)

    def _needed(self, prefixes: Sequence[Prefix]) -> list[Prefix]:
        """The prefixes, and those above them whose rows decide and were never seen; shortest first."""
        needed = dict.fromkeys(prefixes)
        for x in prefixes:
            seen = 0
            while x is not x.origin and x.parent is not None and (seen < self.window or x not in self._routes):
                x, seen = x.parent, seen + 1
                if x not in self._bits:
                    needed[x] = None
        return sorted(needed, key=len)

    def _route(self, x: Prefix) -> Route | None:
        """Which model answers after x; None as long as a row above it that decides was not seen."""
        path = [x]
        while path[-1] not in self._routes and path[-1] is not path[-1].origin and path[-1].parent is not None:
            path.append(path[-1].parent)
        route = self._routes.get(path[-1]) or Route(self.threshold <= 0, None)
        self._routes[path.pop()] = route
        for node in reversed(path):
            below = self._next(node, route)
            if below is None:
                return None
            route = self._routes[node] = below
        return route

    def _next(self, node: Prefix, above: Route) -> Route | None:
        since = None if above.since is None else above.since + len(node.tokens)
        if since is not None and since < self.dwell:
            return Route(above.large, since)
        bits, x = list[float](), node
        while len(bits) < self.window and x is not x.origin and x.parent is not None:
            x = x.parent
            if x not in self._bits:
                return None
            bits.append(self._bits[x])
        large = sum(bits) / len(bits) >= self.threshold
        return Route(large, 0 if large is not above.large else since)


def _bits(row: Tensor) -> float:
    logp = torch.log_softmax(row.double(), -1)
    p = logp.exp()
    return -float(torch.special.xlogy(p, p).sum()) / math.log(2)

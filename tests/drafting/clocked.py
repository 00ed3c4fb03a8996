"""A simulated clock: models whose passes take what a cost says, and texts that can be foreseen, or not, or for a while."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

import espalier as es

V = 64


class Clock:
    """A clock that stands still but for passes, which it is told of, and `work` seconds each time that it is read."""

    def __init__(self, work: float = 0.0) -> None:
        self.now, self.work = 0.0, work

    def __call__(self) -> float:
        self.now += self.work
        return self.now


class Timed(es.Model):
    """A model whose passes take simulated time: `cost(n)` for n nodes of one request, `prefill` for the first."""

    vocab_size = V

    def __init__(self, row: Callable[[list[int]], int], clock: Clock, cost: Callable[[int], float]) -> None:
        self.row, self.clock, self.cost = row, clock, cost
        self.sizes: list[int] = []

    def forward(self, prefixes: Sequence[es.Prefix], want: frozenset[str]) -> es.Rows:
        self.clock.now += self.cost(len(prefixes))
        self.sizes.append(len(prefixes))
        logits = torch.zeros(len(prefixes), V)
        for i, x in enumerate(prefixes):
            logits[i, self.row(x.ids())] = 12.0
        return es.Rows(logits, prefixes)


def periodic(ids: list[int]) -> int:
    return (ids[-1] + 1) % 20


def hashed(ids: list[int]) -> int:
    """Tokens in which nothing repeats that could be learned: a function of the last five and their place."""
    return hash((len(ids), *ids[-5:])) % V


def misleading(ids: list[int]) -> int:
    """Predictable for a hundred tokens, then nothing of the kind for two hundred."""
    return periodic(ids) if len(ids) % 300 < 100 else hashed(ids)


def linear(slope: float) -> Callable[[int], float]:
    return lambda n: 0.02 * (1 + slope * (n - 1))


def stairs(n: int) -> float:
    return 0.02 * (1 + 0.5 * ((n - 1) // 8))


COSTS = {"cheap": linear(0.01), "fair": linear(0.1), "dear": linear(1.0), "stairs": stairs}
ROWS = {"periodic": periodic, "hashed": hashed, "misleading": misleading}

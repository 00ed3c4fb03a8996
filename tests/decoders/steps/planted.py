"""Tasks where search must win: a text of six letters out of four, each improbable, that alone is worth 1.

The score of a text, finished or not, is how far it follows the planted one: what a process reward or the share of passed
tests would say.
"""

from __future__ import annotations

import numpy as np

import espalier as es

DEPTH, BRANCHING = 6, 4
X = es.Prefix([0])
STOP = es.stop.budget(DEPTH)


class Planted:
    def __init__(self, seed: int) -> None:
        self.model = es.models.Table.random(BRANCHING, DEPTH, seed=seed, scale=1.0)
        bits, written = np.random.default_rng([seed, 99]), list[int]()
        for _ in range(DEPTH):
            row = self.model.row(tuple([0, *written][-DEPTH:]))
            order = row.argsort(descending=True).tolist()
            written.append(order[int(bits.integers(1, 3))])  # the second or third most probable one
        self.text = tuple(written)

    def score(self, candidates: list[es.decoders.Candidate]) -> list[float]:
        return [self.follows(c.tokens) for c in candidates]

    def follows(self, tokens: tuple[int, ...]) -> float:
        agree = next((i for i, (a, b) in enumerate(zip(tokens, self.text, strict=False)) if a != b), len(tokens))
        return agree / DEPTH

    def solved(self, found: es.decoders.Found) -> bool:
        return found.best.tokens == self.text

"""Typical acceptance: a drafted token passes if the target finds it plausible, given how sure the target is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor

from espalier.drafting.draft import Draft
from espalier.errors import DeadEnd, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.verification.verifier import Guarantee, Verifier


class Typical(Verifier):
    """The longest path of typical tokens (of equally long ones the most probable), then the most probable token.

    y is typical if p(y) > min(ε, δ exp(-H(p))), H the entropy in nats. Lossy; the most probable token is always typical
    unless p is flat, and never accepted where p is zero, so no constraint is broken. Cai et al. 2024, "Medusa"
    (arXiv 2401.10774): ε = 0.09, δ = √ε.

    >>> import espalier as es
    >>> small, big = (es.models.Table.random(vocab_size=3, depth=d, seed=0) for d in (1, 2))
    >>> drafter, stop = es.drafting.DraftModel(small, tree=es.drafting.Beam(2, 3, 6)), es.stop.budget(8)
    >>> [x] = es.run(es.speculate(big, es.Prefix([0]), stop, drafter, Typical(), es.Rng(0)))
    >>> len(x.written()), big.passes < 8
    (8, True)
    """

    guarantee: ClassVar[Guarantee] = "lossy"

    def __init__(self, epsilon: float = 0.09, delta: float = 0.3) -> None:
        require(0 <= epsilon <= 1, f"epsilon={epsilon}: it is a probability, between 0 and 1")
        require(delta >= 0, f"delta={delta}: it multiplies exp(-entropy) and cannot be negative")
        self.epsilon, self.delta = epsilon, delta

    def __call__(self, draft: Draft, rows: Rows, rng: Rng) -> Iterator[Prefix]:
        path, _ = self._best(draft, rows, 0)
        for node in path[1:]:
            yield draft.prefixes[node]
        if draft.has_row(path[-1]):
            yield draft.prefixes[path[-1]] + rows[path[-1]].argmax()

    def _best(self, draft: Draft, rows: Rows, node: int) -> tuple[list[int], float]:
        """The best path from a node down, and its log-probability."""
        best: tuple[list[int], float] = ([node], 0.0)
        if not draft.children[node] or not draft.has_row(node):
            return best
        try:
            p = rows[node].probs()
        except DeadEnd:
            return best
        least = self.threshold(p)
        for child in dict.fromkeys(draft.children[node]):
            chance = float(p[draft.token(child)])
            if chance > least:
                path, logp = self._best(draft, rows, child)
                found = ([node, *path], logp + math.log(chance))
                best = max(best, found, key=lambda entry: (len(entry[0]), entry[1]))
        return best

    def threshold(self, p: Tensor) -> float:
        """What a token's probability must exceed under the law p [V].

        >>> Typical(0.5, 0.3).threshold(torch.tensor([1.0, 0.0]))
        0.3
        """
        return min(self.epsilon, self.delta * math.exp(-float(torch.special.entr(p.double()).sum())))

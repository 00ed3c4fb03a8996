"""Speculative Jacobi decoding: the target itself drafts, by drawing all positions of a window at once in every pass."""

from __future__ import annotations

import torch
from torch import Tensor

from espalier.drafting.draft import Draft, Drafter, Kind, ModelFree
from espalier.errors import DeadEnd, InvalidInput, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows


class SpeculativeJacobi(ModelFree):
    """A window of `tokens` positions, each drawn from what the last pass said of it, under tokens that may have changed since.

    A position's q is the law from which it really was drawn, given all that came before it in time; so `Rejection` is exact,
    although q knew other predecessors than p does. New positions at the end are uniform draws. Needs no second model and no
    training; pays where positions depend little on each other. Teng et al. 2024, "Accelerating auto-regressive text-to-image
    generation with training-free speculative Jacobi decoding" (arXiv 2410.01699).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=3, depth=1, seed=2)
    >>> verify, stop = es.verification.Rejection(), es.stop.budget(12)
    >>> [x] = es.run(es.speculate(model, es.Prefix([0]), stop, SpeculativeJacobi(4), verify, es.Rng(0)))
    >>> len(x.written()), model.passes < 12
    (12, True)
    """

    kind: Kind = "with replacement"

    def __init__(self, tokens: int = 16) -> None:
        require(tokens >= 1, f"tokens={tokens}: a window holds at least one position")
        self.tokens = tokens
        self._laws: list[Tensor] = []
        self._size = 0

    def begin(self, x: Prefix) -> Drafter:
        return SpeculativeJacobi(self.tokens)

    def draft(self, x: Prefix, rng: Rng) -> Draft:
        draft, node = Draft(x), 0
        if not self._size:  # nothing is known yet, not even how large the vocabulary is
            return draft
        uniform = torch.full((self._size,), 1 / self._size, dtype=torch.float64)
        for q in [*self._laws, *[uniform] * self.tokens][: self.tokens]:
            draft.drawn(node, q)
            node = draft.draw(node, rng)
        return draft

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        self._size = rows.logits.shape[-1]
        # The row after node d speaks of position d + 1 below the old root; x has taken positions up to `settled`.
        settled = draft.gained(x)
        self._laws = []
        for node in range(settled, len(draft.prefixes)) if settled else ():
            try:
                self._laws.append(rows[node].probs())
            except (DeadEnd, InvalidInput):  # the old window left the constraint here
                break

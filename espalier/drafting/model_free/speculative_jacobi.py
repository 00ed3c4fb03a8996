"""Speculative Jacobi decoding: the target itself drafts, by drawing all positions of a window at once in every pass."""

from __future__ import annotations

from collections import Counter, defaultdict

import torch
from torch import Tensor

from espalier.drafting.draft import Draft, Drafter, Kind, ModelFree
from espalier.drafting.text_log import Reading
from espalier.errors import DeadEnd, InvalidInput, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows


class SpeculativeJacobi(ModelFree):
    """A window of `tokens` positions, each drawn from what the last pass said of it, under tokens that may have changed since.

    A position's q is the law from which it really was drawn, given all that came before it in time; so `Rejection` is exact,
    although q knew other predecessors than p does. New positions at the end are drawn from what is known: what followed the
    token before them in the text so far, or else the text's own tokens; with a share `blind` of a uniform draw, so that
    nothing is left out (tested by `test_first_draws_of_speculative_jacobi_come_from_the_text`). Needs no second model and no
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

    def __init__(self, tokens: int = 16, blind: float = 0.05) -> None:
        require(tokens >= 1, f"tokens={tokens}: a window holds at least one position")
        require(0 <= blind <= 1, f"blind={blind}: a share of uniform draws, from 0 to 1")
        self.tokens, self.blind = tokens, blind
        self._laws: list[Tensor] = []
        self._size = 0
        self._text, self._after = Reading(), defaultdict[int, Counter[int]](Counter)

    def begin(self, x: Prefix) -> Drafter:
        return SpeculativeJacobi(self.tokens, self.blind)

    def draft(self, x: Prefix, rng: Rng) -> Draft:
        draft, node = Draft(x), 0
        if not self._size:  # nothing is known yet, not even how large the vocabulary is
            return draft
        known = self._text.read(x)
        if not known:
            self._after.clear()
        ids = self._text.ids
        for at in range(max(1, known), len(ids)):
            self._after[ids[at - 1]][ids[at]] += 1
        for position in range(self.tokens):
            draft.drawn(node, self._laws[position] if position < len(self._laws) else self._first(draft.prefixes[node]))
            node = draft.draw(node, rng)
        return draft

    def _first(self, x: Prefix) -> Tensor:
        """The law of the first draw of a position behind x."""
        counts = (x.length and self._after.get(x.last)) or Counter(self._text.ids)
        q = torch.full((self._size,), self.blind / self._size, dtype=torch.float64)
        total = counts.total()
        q[list(counts)] += (1 - self.blind) * torch.tensor(list(counts.values()), dtype=torch.float64) / total
        return q / q.sum()

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

"""A scorer that asks ahead: rows that a cheap drafter foresaw are there before they are asked for."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from espalier.drafting.draft import Drafter
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Row, Rows
from espalier.scorer import Answer, Ask, Scorer, Wrapper

__all__ = ["Foreseen"]


class Foreseen(Wrapper):
    """The rows of `inner` in fewer passes: each pass also reads what `drafter` proposes below the prefixes asked about.

    Guarantee: a row is that of `inner` for the same tokens, whatever the drafter proposes. For one round; `begin` makes a fresh
    one that forgets what was foreseen before.

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=1, seed=0)
    >>> Foreseen(model, es.drafting.PromptLookup()).vocab_size
    4
    """

    def __init__(self, inner: Scorer, drafter: Drafter) -> None:
        super().__init__(inner)
        self.drafter, self._coins = drafter, Rng(0)
        self._twins: dict[Prefix, Prefix] = {}  # the prefix that was read in place of one with the same tokens
        self._below: dict[tuple[Prefix, int], Prefix] = {}
        self._rows: dict[Prefix, Row] = {}

    def begin(self, x: Prefix) -> Foreseen:
        """A fresh one for the round that begins at x."""
        fresh = Foreseen(self.inner, self.drafter)
        fresh._twins[x] = x
        return fresh

    def answer(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Answer:
        if want:  # extras are those of the pass that gives them
            rows: Rows = yield Ask(self.inner, prefixes, want)
            return rows
        twins = [self._twin(x) for x in prefixes]
        missing = [x for x in dict.fromkeys(twins) if x not in self._rows]
        if missing:
            asked = list(missing)
            for x in missing:
                draft = (yield from self.drafter.propose(x, self._coins)).pruned(self.inner.viable)
                for node in range(1, len(draft.prefixes)):
                    self._below.setdefault((draft.prefixes[draft.parents[node]], draft.token(node)), draft.prefixes[node])
                asked += draft.prefixes[1:]
            rows = yield Ask(self.inner, asked, want)
            self._rows.update(zip(asked, rows, strict=True))
        found = [self._rows[x] for x in twins]
        limits = [row.limit for row in found]
        some = None if all(limit is None for limit in limits) else limits
        return Rows(torch.stack([row.logits for row in found]), prefixes, {}, some, found[0].after)

    def _twin(self, x: Prefix) -> Prefix:
        """The prefix with the tokens of x that was read, or will be."""
        if x not in self._twins:
            if x.parent is None or len(x.tokens) != 1:
                self._twins[x] = x
            else:
                above = self._twin(x.parent)
                self._twins[x] = self._below.get((above, x.last)) or (x if above is x.parent else above + x.last)
        return self._twins[x]

"""Hierarchy drafting: stores of n-grams from the most local to the most general, asked in that order."""

from __future__ import annotations

from espalier.drafting.draft import Draft, ModelFree, PerText, budget
from espalier.drafting.model_free.lookahead import Pool
from espalier.drafting.retrieval.text_store import TextStore
from espalier.drafting.text_log import Reading, Session
from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.scorer import Scorer


class Hierarchy(PerText):
    """Up to `guesses` chains of n − 1 tokens that followed the last token: in this text, in earlier texts, in a corpus.

    The stores are asked in the order of how near they are, each only for what the ones before it left of the budget, and a
    guess that is there already counts once. The pool of earlier texts is kept from request to request (`shared=False`:
    not); the corpus is a `TextStore`, asked with the last `context` tokens. In the paper the nearest store also keeps what a
    window of Jacobi iterations guessed; here it is what was written alone.
    Cho et al. 2025, "Lossless acceleration of large language models with hierarchical drafting based on temporal locality
    in speculative decoding" (arXiv 2502.05609).

    >>> drafter = Hierarchy(n=3, guesses=2, store=TextStore([[8, 2, 6, 6]]), context=1)
    >>> x = Prefix([1, 2, 3, 4, 1, 2])
    >>> [p.ids()[6:] for p in drafter.begin(x).draft(x, Rng(0)).prefixes[1:]]
    [[3], [3, 4], [6], [6, 6]]
    """

    def __init__(
        self, n: int = 5, guesses: int = 7, store: TextStore | None = None, context: int = 2, shared: bool = True
    ) -> None:
        require(n >= 2, f"n={n}: an n-gram that can draft has at least 2 tokens")
        budget(guesses=guesses)
        require(1 <= context <= 32, f"context={context}: between 1 and 32 tokens can be looked for")
        self.n, self.guesses, self.store, self.context, self.shared = n, guesses, store, context, shared
        self.session, self._whose = Pool(4 * guesses), Session()

    def check(self, scorer: Scorer) -> None:
        self._whose.check(scorer)
        if self.store is not None:
            self.store.check(scorer.vocab)

    def begin(self, x: Prefix) -> _Stores:
        return _Stores(self)


class _Stores(ModelFree):
    def __init__(self, settings: Hierarchy) -> None:
        self.settings, self._text, self._own = settings, Reading(), Pool(4 * settings.guesses)

    def draft(self, x: Prefix, rng: Rng) -> Draft:
        s, draft = self.settings, Draft(x)
        known, ids = self._text.read(x), self._text.ids
        for at in range(max(known, s.n - 1), len(ids)):
            gram = ids[at - s.n + 1], tuple(ids[at - s.n + 2 : at + 1])
            self._own.add(*gram)
            if s.shared and known:
                s.session.add(*gram)
        if not ids:
            return draft
        nearest_first = [*self._own.after(ids[-1]), *(s.session.after(ids[-1]) if s.shared else ()), *self._corpus()]
        for tokens in list(dict.fromkeys(nearest_first))[: s.guesses]:
            draft.extend(0, tokens)
        return draft

    def _corpus(self) -> list[tuple[int, ...]]:
        s = self.settings
        if s.store is None or len(self._text.ids) < s.context:
            return []
        beginnings = s.store.tree(self._text.ids[-s.context :], s.n - 1, 16 * s.guesses)
        return [tokens for tokens, _ in beginnings if len(tokens) == s.n - 1]

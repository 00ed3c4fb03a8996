"""Lookahead decoding: a window of Jacobi iterates that breeds n-grams, and a pool that drafts them."""

from __future__ import annotations

from collections import OrderedDict

from espalier.drafting.draft import Draft, Drafter, ModelFree, PerText, budget
from espalier.drafting.text_log import Reading, guess
from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows


class Pool:
    """For each token the n-grams that began with it, the `size` last used ones, latest last."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._after: dict[int, OrderedDict[tuple[int, ...], None]] = {}

    def add(self, token: int, tokens: tuple[int, ...]) -> None:
        """Notes that `tokens` followed `token`; forgets what was not seen for longest."""
        kept = self._after.setdefault(token, OrderedDict())
        kept.pop(tokens, None)
        kept[tokens] = None
        if len(kept) > self.size:
            kept.popitem(last=False)

    def after(self, token: int) -> list[tuple[int, ...]]:
        """What followed `token`, latest first."""
        return list(reversed(self._after.get(token, ())))


class Lookahead(PerText):
    """The pool's n-grams that begin with the last token, and beside them a window that is iterated to find more.

    The window holds up to n − 1 rows of `window` tokens, each row one Jacobi step ahead of the one before; position i of a
    row stands on the first row up to i and on column i above it. That is a tree, so the window is part of the draft: its
    nodes are verified like all others (and now and then accepted), and their rows give the next iterate. n-grams of the
    text itself go into the pool too. Costs at most (window + guesses) · (n − 1) nodes.
    Fu, Bailis, Stoica, Zhang 2024, "Break the sequential dependency of LLM inference using lookahead decoding"
    (arXiv 2402.02057).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=5, depth=1, seed=0)
    >>> verify, stop = es.verification.SampleMatch(), es.stop.budget(30)
    >>> [x] = es.run(es.speculate(model | es.temperature(0), es.Prefix([1]), stop, Lookahead(), verify, es.Rng(0)))
    >>> len(x.written()), model.passes < 30
    (30, True)
    """

    def __init__(self, window: int = 5, n: int = 4, guesses: int = 4) -> None:
        budget(window=window, guesses=guesses)
        require(n >= 2, f"n={n}: an n-gram that can draft has at least 2 tokens")
        self.window, self.n, self.guesses = window, n, guesses

    def begin(self, x: Prefix) -> Drafter:
        return _Lookahead(self)


class _Lookahead(ModelFree):
    def __init__(self, settings: Lookahead) -> None:
        self.settings, self.pool, self._text = settings, Pool(settings.guesses), Reading()
        self.window: list[list[int]] = []  # rows, the oldest first
        self._nodes: list[list[Prefix]] = []  # where the rows stand in the last draft

    def draft(self, x: Prefix, rng: Rng) -> Draft:
        s, draft = self.settings, Draft(x)
        known, ids = self._text.read(x), self._text.ids
        for at in range(max(known, s.n - 1), len(ids)):
            self.pool.add(ids[at - s.n + 1], tuple(ids[at - s.n + 2 : at + 1]))
        if not ids:
            return draft
        for tokens in self.pool.after(x.last):
            draft.extend(0, tokens)
        if not self.window:
            self.window = [[ids[-1 - i % len(ids)] for i in range(s.window)]]
        node, self._nodes = 0, [[] for _ in self.window]
        for i, token in enumerate(self.window[0]):
            node = below = draft.add(node, token)
            self._nodes[0].append(draft.prefixes[node])
            for row, nodes in zip(self.window[1:], self._nodes[1:], strict=True):
                below = draft.add(below, row[i])
                nodes.append(draft.prefixes[below])
        return draft

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        at = {prefix: i for i, prefix in enumerate(rows.prefixes)}
        if not self._nodes or any(prefix not in at for prefix in self._nodes[-1]):
            self.window = []  # a constraint pruned part of the window: begin another
            return
        newest = [guess(rows[at[prefix]]) for prefix in self._nodes[-1]]
        s, self.window = self.settings, [*self.window, newest]
        shift = draft.gained(x)  # the text moved on by so many positions,
        if len(self.window) == s.n:
            for column in zip(*self.window, strict=True):
                self.pool.add(column[0], column[1:])
            self.window.pop(0)  # and without its first row the window has moved on by one already
            shift = max(shift - 1, 0)
        filler = x.tail(max(s.window, 1))
        for row in self.window:
            del row[:shift]
            row.extend(filler[i % len(filler)] for i in range(s.window - len(row)))

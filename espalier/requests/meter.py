"""Meters: scorers and drafters that pass everything on and note passes, time and log-probabilities."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from torch import Tensor

from espalier.drafting.draft import Draft, Drafter
from espalier.models.executors import native
from espalier.prefix import Prefix
from espalier.requests.completion import LogProb, Stats
from espalier.rng import Rng
from espalier.rows import Row, Rows
from espalier.run import Decoder
from espalier.scorer import Answer, Ask, Scorer, Wrapper

if TYPE_CHECKING:
    from espalier.lm import LanguageModel
    from espalier.requests.prompt import Prompt
    from espalier.text.tokenizer import Tokenizer
    from espalier.text.vocab import Vocab

__all__ = ["LawMeter", "LogProb", "Meter", "TimedDrafter", "WithScorer"]

Top = tuple[tuple[int, float], ...]


class Meter(Wrapper):
    """The inner scorer, with its passes counted and, for each token that came of them, its log-probability noted.

    `top`: how many of the best tokens are noted with each.
    """

    def __init__(self, inner: Scorer, stats: Stats, top: int = 0) -> None:
        super().__init__(inner)
        self.stats, self.top, self.emitted = stats, top, 0
        self._rows: dict[Prefix, Tensor] = {}  # of the last pass
        self._known: WeakKeyDictionary[Prefix, tuple[float, Top]] = WeakKeyDictionary()
        self._many: dict[Prefix, list[tuple[float, Top]]] = {}  # of nodes of several tokens, asked for at the end

    def answer(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Answer:
        start = time.perf_counter()
        for x in prefixes:  # what a decoder goes on from without having kept it: the row it came of goes with this pass
            self.book(x)
        rows: Rows = yield Ask(self.inner, prefixes, want)
        self.stats.pass_seconds += time.perf_counter() - start
        self.stats.passes += 1
        self.stats.nodes += len(prefixes)
        self._rows = dict(zip(prefixes, rows.logits, strict=True))
        return rows

    def book(self, x: Prefix) -> None:
        """Notes the log-probability of x's one token, if the last pass holds the row it came of."""
        row = self._rows.get(x.parent) if x.parent is not None else None
        if row is not None and len(x.tokens) == 1 and x not in self._known:
            self._known[x] = _of(row, x.last, self.top)

    def complete(self, prefixes: Iterable[Prefix]) -> Decoder[None]:
        """Asks, in one pass, for the rows of what was written and is not noted yet."""
        missing: dict[Prefix, list[tuple[Prefix, int]]] = {}
        for x in prefixes:
            for node in x.path():
                if node.origin is x.origin and node is not x.origin and node not in self._known:
                    self.book(node)
                    if node not in self._known:
                        at = node.parent
                        for token in node.tokens:
                            assert at is not None
                            missing.setdefault(at, []).append((node, token))
                            at = at + token
        if not missing:
            return
        rows: Rows = yield Ask(self.inner, list(missing))
        for (_, wanted), row in zip(missing.items(), rows.logits, strict=True):
            for node, token in wanted:
                self._many.setdefault(node, []).append(_of(row, token, self.top))

    def noted(self, x: Prefix) -> list[tuple[float, Top]]:
        """For each of x's own tokens its log-probability, and the best tokens in its place with theirs."""
        return [self._known[x]] if x in self._known else self._many[x]

    def note(self) -> None:
        """Books the tokens that came out of the last pass."""
        if self.emitted:
            self.stats.per_pass[self.emitted] += 1
            self.stats.tokens += self.emitted
        self.emitted = 0


@dataclass(frozen=True)
class WithScorer:
    """A language model whose scorer is another one: what methods that read texts and ask a scorer are given."""

    scorer: Scorer
    lm: LanguageModel

    @property
    def tokenizer(self) -> Tokenizer:
        return self.lm.tokenizer

    @property
    def vocab(self) -> Vocab:
        return self.lm.vocab

    def prompt(self, prompt: Prompt) -> Prefix:
        """The prefix of a prompt."""
        return self.lm.prompt(prompt)


class LawMeter(Wrapper):
    """The inner scorer, with the log-probability noted that each token had under the law that it was drawn from."""

    def __init__(self, inner: Scorer, top: int) -> None:
        super().__init__(inner, inner.stage)
        self.top = top
        self._rows: dict[Prefix, Row] = {}
        self._known: WeakKeyDictionary[Prefix, tuple[float, Top]] = WeakKeyDictionary()

    def answer(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Answer:
        for x in prefixes:
            self.book(x)
        rows: Rows = yield Ask(self.inner, prefixes, want)
        self._rows = dict(zip(prefixes, rows, strict=True))
        return rows

    def book(self, x: Prefix) -> None:
        """Notes what the law said of x's one token, if the last pass holds its row."""
        row = self._rows.get(x.parent) if x.parent is not None else None
        if row is not None and len(x.tokens) == 1 and x not in self._known:
            self._known[x] = row.logp(x.last), tuple(row.top(self.top)) if self.top else ()

    def of(self, x: Prefix, at: int) -> tuple[float | None, Top]:
        """The log-probability of x's token `at`, and the best tokens; None where the decoder did not ask there."""
        return self._known.get(x, (None, ())) if at == 0 else (None, ())


def _of(row: Tensor, token: int, top: int) -> tuple[float, Top]:
    total = native.log_sum_exp(row)
    if not top:
        return float(row[token]) - total, ()
    values, tokens = native.top(row[None], top)
    best = tuple((t, v - total) for t, v in zip(tokens[0].tolist(), values[0].tolist(), strict=True))
    return float(row[token]) - total, best


class TimedDrafter(Drafter):
    """The inner drafter, with the time that it takes (its own models' passes included) added to the statistics."""

    def __init__(self, inner: Drafter, stats: Stats) -> None:
        self.inner, self.stats = inner, stats
        self.kind, self.want = inner.kind, inner.want

    @property
    def owner(self) -> Drafter:
        return self.inner.owner

    def check(self, scorer: Scorer) -> None:
        self.inner.check(scorer)

    def begin(self, x: Prefix) -> Drafter:
        return TimedDrafter(self.inner.begin(x), self.stats)

    def propose(self, x: Prefix, rng: Rng) -> Generator[Ask, Any, Draft]:
        start = time.perf_counter()
        draft = yield from self.inner.propose(x, rng)
        self.stats.draft_seconds += time.perf_counter() - start
        return draft

    def join(self, draft: Draft) -> None:
        start = time.perf_counter()
        self.inner.join(draft)
        self.stats.draft_seconds += time.perf_counter() - start

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        start = time.perf_counter()
        self.inner.observe(x, draft, rows)
        self.stats.draft_seconds += time.perf_counter() - start

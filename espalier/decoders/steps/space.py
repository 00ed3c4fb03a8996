"""The space that a search over steps walks in: it writes steps in shared passes, scores candidates and keeps the books."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch

from espalier.decoders.beams.hypothesis import checked
from espalier.decoders.budget import Budget, Spent
from espalier.decoders.decoder import check_parts
from espalier.decoders.steps.candidate import Candidate, Found, Progress, Score, Steps, Stopped
from espalier.errors import DeadEnd, EspalierError, InvalidInput, LimitExceeded
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Row
from espalier.run import Decoder
from espalier.scorer import Ask, Scorer
from espalier.stop import Stop

_ROWS = 512  # that are kept


class Exhausted(Exception):
    """The next pass would exceed the budget. Ends a search; never leaves it."""


class Space:
    """One search: its scorer and stop, what it has spent, the texts it has finished, and their scores.

    Equal prefixes are one prefix and their rows are computed once; a pass that would exceed the budget is not made.
    """

    def __init__(
        self,
        scorer: Scorer,
        x: Prefix,
        stop: Stop,
        rng: Rng,
        score: Score | None,
        steps: Steps,
        budget: Budget,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        check_parts(scorer, x, stop, rng)
        self.scorer, self.x, self.stop, self.rng, self.steps = scorer, x, stop, rng, steps
        self.score, self.spent, self.progress = score, Spent(budget), progress
        self.root = Candidate("", (), 0.0, None, 0, x)
        self.finished: dict[tuple[int, ...], tuple[float, Candidate]] = {}
        self.partial: tuple[float, Candidate] | None = None
        self.short = False  # whether the budget has cut something
        self._scores: dict[tuple[int, ...], float] = {}
        self._children: dict[tuple[Prefix, int], Prefix] = {}
        self._rows: OrderedDict[Prefix, Row] = OrderedDict()

    def found(self, stopped: Stopped) -> Found:
        """The books as a result: texts that a constraint would not let end (they were cut) only if there is nothing else.
        Raises `LimitExceeded` if the budget ended before anything could be scored."""
        scored = list(self.finished.values()) or ([self.partial] if self.partial is not None else [])
        scored = [(score, c) for score, c in scored if self._may_end(c.prefix)] or scored
        if not scored:
            raise LimitExceeded(
                f"the search ended ({stopped}) after {self.spent.tokens} tokens with nothing scored; allow it a larger budget"
            )
        return Found(scored, self.spent, stopped)

    def _may_end(self, x: Prefix) -> bool:
        return self.stop(x) == "stop" or self.scorer.may_end(x)

    def rows(self, prefixes: Sequence[Prefix]) -> Decoder[list[Row]]:
        """The rows after prefixes, in one pass over those that are not known."""
        new = [x for x in dict.fromkeys(prefixes) if x not in self._rows]
        got: dict[Prefix, Row] = {x: self._rows[x] for x in prefixes if x in self._rows}
        if new:
            if not self.spent.pay(len(new)):
                raise Exhausted
            rows = yield Ask(self.scorer, new)
            got.update(zip(new, rows, strict=True))
            if self.progress is not None:
                self.progress(Progress(self.spent, max((s for s, _ in self.finished.values()), default=None)))
        for x, row in got.items():
            self._rows[x] = row
            self._rows.move_to_end(x)
        while len(self._rows) > _ROWS:
            self._rows.popitem(last=False)
        return [got[x] for x in prefixes]

    def child(self, x: Prefix, token: int) -> Prefix:
        """The prefix of a token after x: the same one each time."""
        return self._children.setdefault((x, token), x + token)

    def step(self, c: Candidate, tokens: Sequence[int], logp: float) -> Candidate:
        """The candidate that goes on from another by these tokens, as one step."""
        prefix = c.prefix
        for token in tokens:
            prefix = self.child(prefix, token)
        written = (*c.tokens, *tokens)
        text = self.scorer.vocab.join(written).decode("utf-8", "replace") if self.scorer.vocab is not None else ""
        over = bool(tokens) and self.stop(prefix) is not None
        return Candidate(text, written, c.logp + logp, c, c.step + 1, prefix, over)

    def expand(
        self,
        parents: Sequence[Candidate],
        *,
        greedy: bool = False,
        whole: bool = False,
        at_most: int | None = None,
        within: int | None = None,
    ) -> Decoder[list[Candidate]]:
        """One more step of each parent (a parent that is given twice is continued twice), drawn or greedy, all in shared
        passes; with `whole` the rest of the text is one step. `at_most` tokens are written, or as many as make `within` of the
        whole text. A way that turns out to be dead is left out."""
        ways = [_Way(parent, parent.prefix) for parent in parents]
        live = [way for way in ways if not way.parent.over]
        while live := self._affordable(live):
            rows = yield from self.rows([way.x for way in live])
            for way, row in zip(live, rows, strict=True):
                try:
                    token = row.argmax() if greedy else row.draw(self.rng)
                except DeadEnd:
                    way.dead = True
                    continue
                way.x = self.child(way.x, token)
                way.tokens.append(token)
                way.logp += row.logp(token)
                cut = at_most is not None and len(way.tokens) >= at_most
                cut |= within is not None and len(way.parent.tokens) + len(way.tokens) >= within
                way.done = cut or self._complete(way, whole)
            live = [way for way in live if not way.dead and not way.done]
        self.short |= any(way.short for way in ways)
        if any(way.short for way in ways) and not any(way.done for way in ways):
            raise Exhausted
        return [self.step(way.parent, way.tokens, way.logp) for way in ways if way.done]

    def _affordable(self, live: list[_Way]) -> list[_Way]:
        """Those of the ways whose next rows the budget still pays for: the first ones; what is common is paid once."""
        left, new, kept = self.spent.left(), set[Prefix](), list[_Way]()
        for way in live:
            costs = way.x not in self._rows and way.x not in new
            if costs and len(new) >= left:
                way.short = True
                continue
            if costs:
                new.add(way.x)
            kept.append(way)
        return kept

    def _complete(self, way: _Way, whole: bool) -> bool:
        over = self.stop(way.x) is not None
        return over or (not whole and self.steps.ends(way.tokens, self.scorer.vocab))

    def top(self, c: Candidate, k: int) -> Decoder[list[tuple[int, float]]]:
        """The k best next tokens of a candidate with their log-probabilities; none at a dead end."""
        [row] = yield from self.rows([c.prefix])
        try:
            return row.top(k)
        except DeadEnd:
            return []

    def evaluate(self, candidates: Sequence[Candidate]) -> list[float]:
        """What the score says of each; equal texts are scored once. Finished ones are booked."""
        new = list({c.tokens: c for c in candidates if c.tokens not in self._scores}.values())
        if new:
            self.spent.calls += len(new)
            values = self._call(new)
            self._scores.update((c.tokens, value) for c, value in zip(new, values, strict=True))
        for c in candidates:
            value = self._scores[c.tokens]
            if c.over:
                self.finished.setdefault(c.tokens, (value, c))
            elif self.partial is None or value > self.partial[0]:
                self.partial = (value, c)
        return [self._scores[c.tokens] for c in candidates]

    def best_first(self, c: Candidate) -> None:
        """Makes a finished candidate the best, whatever the scores of the others: a rule other than the score chose it."""
        value = max(score for score, _ in self.finished.values()) if self.finished else 0.0
        own = self.finished.get(c.tokens, (value, c))[0]
        rest = {tokens: pair for tokens, pair in self.finished.items() if tokens != c.tokens}
        top = max((score for score, _ in rest.values()), default=own)
        self.finished = {c.tokens: (max(own, top), c), **rest}

    def forget(self, dropped: Sequence[Candidate]) -> None:
        """Takes candidates that a search does not go on from out of the books."""
        gone = {c.tokens for c in dropped}
        self.finished = {tokens: pair for tokens, pair in self.finished.items() if tokens not in gone}
        if self.partial is not None and self.partial[1].tokens in gone:
            self.partial = None

    def only(self, kept: Sequence[Candidate]) -> None:
        """Forgets every finished text but these."""
        wanted = {c.tokens for c in kept}
        self.finished = {tokens: pair for tokens, pair in self.finished.items() if tokens in wanted}

    def choose(self, weights: Sequence[float]) -> int:
        """A place drawn in proportion to its weight."""
        return self.rng.categorical(torch.tensor(weights, dtype=torch.float64))

    def _call(self, new: list[Candidate]) -> list[float]:
        if self.score is None:
            return [c.logp for c in new]
        try:
            values = self.score(new)
        except (EspalierError, KeyboardInterrupt):
            raise
        except Exception as error:
            raise InvalidInput(f"the score raised {type(error).__name__}: {error}; the search was stopped") from error
        return checked(values, len(new), "the score")


class _Way:
    """A step on its way."""

    __slots__ = ("dead", "done", "logp", "parent", "short", "tokens", "x")

    def __init__(self, parent: Candidate, x: Prefix) -> None:
        self.parent, self.x = parent, x
        self.tokens: list[int] = []
        self.logp, self.done, self.dead, self.short = 0.0, False, False, False


def draw(weights: Sequence[float], rng: Rng) -> int:
    """A place drawn in proportion to exp(weight)."""
    logs = torch.tensor(weights, dtype=torch.float64)
    if not bool((logs > -math.inf).any()):
        logs = torch.zeros_like(logs)
    return rng.categorical(torch.softmax(logs, 0))

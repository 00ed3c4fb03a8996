"""NeuroLogic decoding with look-ahead: clauses of phrases as a soft demand on a beam."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from espalier.constraints.words.phrases import Progress, Tracker, absent
from espalier.decoders.beams.hypothesis import Hypothesis
from espalier.decoders.beams.phrases import continuations, owed
from espalier.decoders.decoder import Weighted, at_least, check_parts
from espalier.errors import DeadEnd, InvalidInput, Unsatisfiable, require
from espalier.prefix import Prefix
from espalier.prefix_state import PrefixState
from espalier.rng import Rng
from espalier.rows import Row
from espalier.run import Decoder
from espalier.scorer import Ask, Scorer
from espalier.stop import Stop
from espalier.text.vocab import Vocab

Clause = str | Sequence[str]


@dataclass(frozen=True)
class NeuroLogic:
    """A beam that prefers texts which satisfy clauses, and looks `ahead` greedy tokens for the phrases still owed.

    A clause is a phrase or a list of alternatives; `absent("…")` is one that must not appear, and a text in which such a
    clause is violated is dropped. Kept are those that met at most `tolerance` clauses fewer than the best, in turn from groups
    with the same clauses met; ranked by logp / length + `alpha` · the largest mean log-probability of an owed phrase anywhere
    ahead. Finds are ordered by clauses met, then logp / length. Guarantee: soft; clauses may stay unmet. With alpha=0 and a
    width and tolerance as large as the language, the best is the best text that satisfies all. Lu et al. 2021
    (arXiv 2010.12884), look-ahead: 2022 (arXiv 2112.08726).

    >>> import espalier as es
    >>> from espalier.text import Vocab
    >>> vocab = Vocab([b"a", b"b", None], end=[2])
    >>> model, stop = es.models.Table.random(3, 1, seed=0, vocab=vocab), es.stop.end([2]) | es.stop.budget(6)
    >>> [found] = es.run(NeuroLogic(["bb"], 4)(model, es.Prefix([0]), stop, es.Rng(0)))
    >>> b"bb" in vocab.join(found[0].prefix.written())
    True
    """

    clauses: Sequence[Clause]
    width: int
    ahead: int = 5
    alpha: float = 0.25
    tolerance: int = 2
    many: ClassVar[bool] = True  # one run finds several texts

    def __post_init__(self) -> None:
        at_least(self, width=1, ahead=0, tolerance=0)
        listed = not isinstance(self.clauses, str) and len(self.clauses) > 0
        require(listed, "clauses is a list of phrases, or of lists of alternatives")

    def __call__(self, scorer: Scorer, x: Prefix, stop: Stop, rng: Rng) -> Decoder[list[Weighted]]:
        check_parts(scorer, x, stop, rng)
        if scorer.vocab is None:
            raise InvalidInput("NeuroLogic reads the text, so it needs a scorer with a vocabulary (model.vocab = Vocab(…))")
        state = _Clauses(self.clauses, scorer.vocab)
        live, done = [Hypothesis(x, 0.0, 0.0)], list[tuple[int, Hypothesis]]()
        while live:
            rows = yield Ask(scorer, [h.prefix for h in live])
            grown = [c for h, row in zip(live, rows, strict=True) for c in self._children(h, row, state)]
            grown = [h for h in grown if not state.violated(h.prefix)]
            over = [h for h in grown if stop(h.prefix) is not None]
            done += [(len(state.met(h.prefix)), h.with_score(h.logp / h.length)) for h in over]
            done = sorted(done, key=lambda item: (-item[0], -item[1].score))[: self.width]
            ended = set(map(id, over))
            live = yield from self._kept([h for h in grown if id(h) not in ended], scorer, state)
        if not done:
            raise Unsatisfiable("no text was finished without what must be absent; try a larger width")
        return [Weighted(h.prefix, h.score) for _, h in done]

    def _children(self, h: Hypothesis, row: Row, state: _Clauses) -> list[Hypothesis]:
        try:
            found = dict(row.top(2 * self.width))
        except DeadEnd:
            return []
        for tokens in state.ways(h.prefix).values():
            if row.allowed(tokens[0]):
                found.setdefault(tokens[0], row.logp(tokens[0]))
        total = h.logp + row.log_normaliser
        return [Hypothesis(h.prefix + t, total + p, (total + p) / (h.length + 1)) for t, p in found.items() if p > -math.inf]

    def _kept(self, grown: list[Hypothesis], scorer: Scorer, state: _Clauses) -> Decoder[list[Hypothesis]]:
        most = max((len(state.met(h.prefix)) for h in grown), default=0)
        pool = sorted((h for h in grown if len(state.met(h.prefix)) >= most - self.tolerance), key=lambda h: -h.score)
        if self.ahead and self.alpha and pool:
            pool = pool[: 4 * self.width] + [h for h in pool[4 * self.width :] if state.met(h.prefix) != state.met(_above(h))]
            likely = yield from self._ahead(pool, scorer, state)
            pool = sorted(
                (h.with_score(h.score + self.alpha * v) for h, v in zip(pool, likely, strict=True)), key=lambda h: -h.score
            )
        groups: dict[frozenset[int], list[Hypothesis]] = defaultdict(list)
        for h in pool:
            groups[state.met(h.prefix)].append(h)
        places = {id(h): n for n, h in enumerate(pool)}
        striped = [(i, -len(met), -h.score, places[id(h)]) for met, group in groups.items() for i, h in enumerate(group)]
        return [pool[n] for *_, n in sorted(striped)[: self.width]]

    def _ahead(self, pool: list[Hypothesis], scorer: Scorer, state: _Clauses) -> Decoder[list[float]]:
        """For each hypothesis the largest mean log-probability of an owed phrase after it, or after greedy tokens from it."""
        best, at = [-math.inf] * len(pool), [h.prefix for h in pool]
        open_ = [i for i in range(len(pool)) if state.ways(at[i])]
        for _ in range(self.ahead):
            if not open_:
                break
            ways = {i: list(state.ways(at[i]).values()) for i in open_}
            ends = {(i, w): _run(at[i], way) for i in open_ for w, way in enumerate(ways[i])}
            asked = list(dict.fromkeys([at[i] for i in open_] + [node for nodes in ends.values() for node in nodes]))
            rows = yield Ask(scorer, asked)
            row = dict(zip(asked, rows, strict=True))
            for (i, w), nodes in ends.items():
                steps = [_logp(row[x], token) for x, token in zip([at[i], *nodes], ways[i][w], strict=True)]
                best[i] = max(best[i], math.fsum(steps) / len(steps))
            going = []
            for i in open_:
                try:
                    at[i] = at[i] + row[at[i]].argmax()
                except DeadEnd:
                    continue
                if not state.violated(at[i]) and state.ways(at[i]):
                    going.append(i)
            open_ = going
        return [value if value > -math.inf else 0.0 for value in best]


class _Clauses:
    """What each text has met, kept with its prefix."""

    def __init__(self, clauses: Sequence[Clause], vocab: Vocab) -> None:
        self.clauses = [[clause] if isinstance(clause, str) else list(clause) for clause in clauses]
        require(all(way for ways in self.clauses for way in ways), "a phrase is empty; it would be everywhere")
        self.vocab, tracker = vocab, Tracker(self.clauses, False, False)
        self.tracker = tracker
        self._state = PrefixState(
            lambda x, above: tracker.start() if above is None else tracker.advance(above, vocab.join(x.tokens)), written=True
        )
        self._never = [c for c, ways in enumerate(self.clauses) if all(isinstance(way, absent) for way in ways)]

    def progress(self, x: Prefix) -> Progress:
        return self.tracker.progress(self._state(x))

    def met(self, x: Prefix) -> frozenset[int]:
        return self.progress(x).clauses

    def violated(self, x: Prefix) -> bool:
        """Whether a clause of absent phrases alone is broken, for good."""
        met = self.met(x)
        return any(c not in met for c in self._never)

    def ways(self, x: Prefix) -> dict[bytes, list[int]]:
        """The tokens of the phrases that are owed."""
        phrases = owed(self.clauses, self.met(x))
        return continuations(self.vocab.join(x.written()), phrases, self.vocab) if phrases else {}


def _run(x: Prefix, tokens: Sequence[int]) -> list[Prefix]:
    """The prefixes after all tokens but the last."""
    nodes = []
    for token in tokens[:-1]:
        x = x + token
        nodes.append(x)
    return nodes


def _logp(row: Row, token: int) -> float:
    try:
        return max(row.logp(token), -1e9)
    except DeadEnd:
        return -1e9


def _above(h: Hypothesis) -> Prefix:
    assert h.prefix.parent is not None
    return h.prefix.parent

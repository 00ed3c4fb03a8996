"""Scores of given texts: their log-probabilities, in one packed pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rows import Row, Rows
from espalier.run import Decoder
from espalier.scorer import Ask, Scorer
from espalier.text.vocab import Vocab

_ROWS = 512  # rows of one question at most: V numbers each


@dataclass(frozen=True, slots=True)
class Scored:
    """A given continuation, its tokens, and the natural log of each one's probability.

    >>> Scored("ab", (5, 6), (-1.0, -0.5)).logprob
    -1.5
    """

    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]

    @property
    def logprob(self) -> float:
        """The log-probability of the whole continuation."""
        return sum(self.logprobs)


def scored(scorer: Scorer, x: Prefix, continuations: Sequence[Sequence[int]], vocab: Vocab) -> Decoder[list[Scored]]:
    """The decoder that scores continuations of x; what they share is asked once, all of it in one pass.

    Law: `logprobs[i]` is log p(token i | x and the tokens before it) in the scorer's own rows, -inf for what it cannot say.

    >>> import espalier as es
    >>> model, vocab = es.models.Table.random(vocab_size=2, depth=2, seed=0), Vocab([b"a", b"b"])
    >>> [found] = es.run(scored(model, Prefix([0]), [[a, b] for a in (0, 1) for b in (0, 1)], vocab))
    >>> import math; round(sum(math.exp(each.logprob) for each in found), 12)
    1.0
    """
    wrong = [t for tokens in continuations for t in tokens if not 0 <= t < scorer.vocab_size]
    require(not wrong, f"the continuation has token {wrong[:1]}, outside this vocabulary of {scorer.vocab_size} tokens")
    places: dict[tuple[int, ...], Prefix] = {(): x}
    for tokens in continuations:
        for end in range(1, len(tokens)):
            at = tuple(tokens[:end])
            if at not in places:
                places[at] = places[at[:-1]] + at[-1]
    asked = list(places)
    rows: dict[tuple[int, ...], Row] = {}
    for first in range(0, len(asked), _ROWS):
        part = asked[first : first + _ROWS]
        answer: Rows = yield Ask(scorer, [places[at] for at in part])
        rows.update(zip(part, answer, strict=True))
    found = []
    for tokens in continuations:
        logprobs = tuple(rows[tuple(tokens[:i])].logp(token) for i, token in enumerate(tokens))
        found.append(Scored(vocab.join(tokens).decode("utf-8", errors="replace"), tuple(tokens), logprobs))
    return found

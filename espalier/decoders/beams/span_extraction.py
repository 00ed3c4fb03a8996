"""The most probable span of a passage, exactly."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from espalier.decoders.faithful.ends import end_tokens
from espalier.engine import run
from espalier.errors import DeadEnd, InvalidInput, require
from espalier.prefix import Prefix
from espalier.run import Decoder
from espalier.scorer import Ask, Scorer
from espalier.stop import Stop, end

if TYPE_CHECKING:
    from espalier.lm import LanguageModel


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens [start, stop) of a passage, and the log-probability that the model writes them and then ends.

    >>> Span(2, 4, "a b", -1.5).text
    'a b'
    """

    start: int
    stop: int
    text: str
    logp: float


def spans(
    scorer: Scorer, x: Prefix, passage: Sequence[int], stop: Stop, longest: int | None = None, batch: int = 8
) -> Decoder[tuple[int, int, float]]:
    """The span (start, stop, logp) of a passage's tokens that the scorer most probably writes before an end token.

    Guarantee: the best of all spans. Spans that begin alike share a prefix, and are opened best first: as a probability only
    falls with length, what is less probable than a finished span is never computed. Ram et al. 2021 (arXiv 2108.05857).
    """
    ends = end_tokens(stop)
    require(len(passage) > 0, "the passage is empty; there is nothing to extract")
    require(bool(ends), "extraction needs an end token to score where a span stops: stop=es.stop.end(…)")
    number = itertools.count()
    heap: list[tuple[float, int, Prefix, list[int]]] = [(0.0, next(number), x, list(range(len(passage))))]
    best: tuple[float, int, int] | None = None
    while heap and (best is None or heap[0][0] < best[0]):
        opened = [heapq.heappop(heap) for _ in range(min(batch, len(heap))) if best is None or heap[0][0] < best[0]]
        rows = yield Ask(scorer, [y for _, _, y, _ in opened])
        for (cost, _, y, places), row in zip(opened, rows, strict=True):
            try:
                logps = row.dense() + row.log_normaliser
            except DeadEnd:
                continue
            length = len(y) - len(x)
            if length:
                closed = cost - float(logps[ends].logsumexp(0))
                start = places[0] - length
                if best is None or closed < best[0]:
                    best = (closed, start, places[0])
            following: dict[int, list[int]] = {}
            for place in places:
                if place < len(passage) and (longest is None or length < longest):
                    following.setdefault(passage[place], []).append(place + 1)
            for token, next_places in following.items():
                heapq.heappush(heap, (cost - float(logps[token]), next(number), y + token, next_places))
    if best is None:
        raise InvalidInput("no span of the passage has a probability above 0")
    return best[1], best[2], -best[0]


def extract(lm: LanguageModel, prompt: Any, passage: str, longest: int | None = None) -> Span:
    """The most probable span of a passage as the answer to a prompt, over all spans of the passage's tokens.

    >>> import espalier as es
    >>> lm = es.load()  # doctest: +SKIP
    >>> extract(lm, "Who wrote it?", "It was written by Ada in 1843.").text  # doctest: +SKIP
    """
    tokens = lm.tokenizer.encode(passage)
    [(start, stop, logp)] = run(spans(lm.scorer, lm.prompt(prompt), tokens, end(lm.vocab.end), longest))
    return Span(start, stop, lm.vocab.join(tokens[start:stop]).decode("utf-8", "replace"), logp)

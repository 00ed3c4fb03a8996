"""DIVER: where several tokens are plausible, the spans that they begin are weighed by what they tell of the input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from espalier.decoders.backtracking import DeadEnds
from espalier.decoders.decoder import Weighted, check_parts
from espalier.errors import DeadEnd, InvalidInput, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Row, Rows
from espalier.run import Decoder, Keep
from espalier.scorer import Ask, Scorer
from espalier.shaping.combine.linear import plausible
from espalier.stop import Stop


@dataclass(slots=True)
class _Span:
    """A candidate on its way: its nodes below the text, their log-probability, and whether it met another divergence."""

    nodes: list[Prefix]
    logp: float
    met: bool = False


def diver(
    scorer: Scorer,
    x: Prefix,
    stop: Stop,
    score: Callable[[Sequence[Prefix]], Sequence[float]],
    lam: float = 1.0,
    span: Literal["left", "right"] = "right",
    alpha: float = 0.3,
    most: int = 3,
    longest: int = 8,
) -> Decoder[Prefix]:
    """x, extended greedily; where more than one token has p ≥ alpha · max p, by the span of the greatest
    log p(span | x) + lam · (score(x + span) - score(x)).

    `score(texts)` is log p(input | text) for each of some prefixes, so that the difference is the pointwise mutual information
    of span and input: a model with the prompts reversed, say. The `most` best plausible tokens begin spans, each continued
    greedily, all to one length: to the first place where a candidate is unsure again ("left"), or to where the last of them has
    been ("right"), at most `longest` tokens. lam = 0 takes the most probable span. How many candidates, alpha and `longest` are
    ours, the paper's values are not known to us. Lu et al. 2024, "DIVER" (arXiv 2406.02120).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=5, depth=2, seed=0)
    >>> [x] = es.run(diver(model, Prefix([1]), es.stop.budget(6), lambda texts: [x.ids().count(3) for x in texts], lam=9.0))
    >>> len(x.written())
    6
    """
    check_parts(scorer, x, stop)
    _check(score, span, alpha, most, longest)
    dead = DeadEnds(scorer, stop)
    while not stop(x):
        rows: Rows = yield Ask(scorer, [x])
        try:
            row = rows[0].dense()
        except DeadEnd as end:
            x = dead.back_up(end)
            continue
        begun = _plausible(row, alpha, most)
        spans = [_Span([x + token], float(row[token])) for token in begun]
        if len(spans) > 1:
            spans = yield from _grown(scorer, spans, stop, span, alpha, longest)
        chosen = spans[0] if len(spans) == 1 else _best(x, spans, score, lam)
        for node in chosen.nodes:
            x = yield Keep(node)
            if stop(x):
                break
    return x


@dataclass(frozen=True)
class Diver:
    """`diver` as a decoder for `lm.generate(decoder=…)`.

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=5, depth=2, seed=0)
    >>> decoder = Diver(lambda texts: [x.ids().count(3) for x in texts], lam=9.0)
    >>> [[found]] = es.run(decoder(model, es.Prefix([1]), es.stop.budget(6), es.Rng(0)))
    >>> len(found.prefix.written())
    6
    """

    score: Callable[[Sequence[Prefix]], Sequence[float]]
    lam: float = 1.0
    span: Literal["left", "right"] = "right"
    alpha: float = 0.3
    most: int = 3
    longest: int = 8
    samples: ClassVar[bool] = True  # reads how plausible tokens are, so no temperature unless one is asked for

    def __post_init__(self) -> None:
        _check(self.score, self.span, self.alpha, self.most, self.longest)

    def __call__(self, scorer: Scorer, x: Prefix, stop: Stop, rng: Rng) -> Decoder[list[Weighted]]:
        settings = (self.score, self.lam, self.span, self.alpha, self.most, self.longest)
        return [Weighted((yield from diver(scorer, x, stop, *settings)))]


def _check(score: object, span: str, alpha: float, most: int, longest: int) -> None:
    require(callable(score), f"score was {score!r}; give a function of a list of prefixes that returns a number for each")
    require(span in ("left", "right"), f"span={span!r}: use 'left' or 'right'")
    require(0 < alpha <= 1, f"alpha={alpha}: a fraction of the best token's probability, above 0 and at most 1")
    require(most >= 1 and longest >= 1, f"most={most}, longest={longest}: at least one candidate of one token")


def _plausible(row: Tensor, alpha: float, most: int) -> list[int]:
    count = min(most, int(plausible(row, alpha).sum()))
    found: list[int] = row.topk(max(1, count)).indices.tolist()
    return found if len(found) > 1 else [int(row.argmax())]


def _grown(scorer: Scorer, spans: list[_Span], stop: Stop, side: str, alpha: float, longest: int) -> Decoder[list[_Span]]:
    """The spans, each continued greedily to the length at which they are compared; without those that are dead ends."""
    for _ in range(longest - 1):
        going = [one for one in spans if not stop(one.nodes[-1])]
        if not going:
            break
        rows: Rows = yield Ask(scorer, [one.nodes[-1] for one in going])
        laws = {id(one): law for one, row in zip(going, rows, strict=True) if (law := _law(row)) is not None}
        alive = [one for one in spans if one not in going or id(one) in laws]
        if not alive:
            return spans[:1]  # all are dead ends: the decoder backs up from the first
        spans = alive
        for one in spans:
            if id(one) in laws:
                one.met |= len(_plausible(laws[id(one)], alpha, 2)) > 1
        unsure = [one.met or bool(stop(one.nodes[-1])) for one in spans]
        if any(unsure) if side == "left" else all(unsure):
            break
        for one in spans:
            if id(one) in laws:
                best = int(laws[id(one)].argmax())
                one.logp += float(laws[id(one)][best])
                one.nodes.append(one.nodes[-1] + best)
    return spans


def _law(row: Row) -> Tensor | None:
    try:
        return row.dense()
    except DeadEnd:
        return None


def _best(x: Prefix, spans: list[_Span], score: Callable[[Sequence[Prefix]], Sequence[float]], lam: float) -> _Span:
    if lam == 0:
        return max(spans, key=lambda one: one.logp)
    values = [float(value) for value in score([x, *(one.nodes[-1] for one in spans)])]
    if len(values) != len(spans) + 1 or not all(torch.isfinite(torch.tensor(values))):
        raise InvalidInput(
            f"score was asked about {len(spans) + 1} texts and said {str(values)[:80]}; one finite number for each"
        )
    weighed = [one.logp + lam * (value - values[0]) for one, value in zip(spans, values[1:], strict=True)]
    return spans[weighed.index(max(weighed))]

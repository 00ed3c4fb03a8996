"""Beam search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from espalier.decoders.decoder import Weighted
from espalier.decoders.sample import check_parts
from espalier.errors import DeadEnd, Unsatisfiable, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Row
from espalier.run import Decoder
from espalier.scorer import Ask, Scorer
from espalier.stop import Stop


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A prefix with its natural-log probability `logp` (of what was written) and `score` = logp / length ** alpha.

    >>> Hypothesis(Prefix([1, 2]), logp=-3.0, score=-1.5).score
    -1.5
    """

    prefix: Prefix
    logp: float
    score: float


@dataclass(frozen=True)
class Beam:
    """Beam search as an object: `beam` with its settings; a find's `log_weight` is its score.

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=2, seed=0)
    >>> [found] = es.run(Beam(4)(model, es.Prefix([1]), es.stop.budget(2), es.Rng(0)))
    >>> len(found), found[0].log_weight >= found[1].log_weight
    (4, True)
    """

    width: int
    alpha: float = 1.0
    many: ClassVar[bool] = True  # one run finds several texts

    def __post_init__(self) -> None:
        require(self.width >= 1, f"width={self.width}: a beam keeps at least one hypothesis")

    def __call__(self, scorer: Scorer, x: Prefix, stop: Stop, rng: Rng) -> Decoder[list[Weighted]]:
        found = yield from beam(scorer, x, stop, self.width, self.alpha)
        return [Weighted(h.prefix, h.score) for h in found]


def beam(scorer: Scorer, x: Prefix, stop: Stop, width: int, alpha: float = 1.0) -> Decoder[list[Hypothesis]]:
    """The `width` best finished hypotheses below x, best first; fewer if there are fewer.

    Keeps the `width` most probable unfinished prefixes; ends when no unfinished one can still beat the finished (for
    alpha ≤ 0, when probability only falls; otherwise when all slots are finished or nothing is live). A hypothesis's logp
    is the *model's*: under a constraint the probabilities are not renormalised, so with alpha = 0 and a beam as wide as the
    language the best is argmax p(text) over the allowed texts. Graves 2012 (arXiv 1211.3711); length normalisation: Wu et
    al. 2016 (arXiv 1609.08144), with length ** alpha.

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=2, seed=0)
    >>> [found] = es.run(beam(model, es.Prefix(), es.stop.budget(2), width=16, alpha=0.0))
    >>> best = max(model.joint(es.Prefix(), 2).items(), key=lambda item: item[1])
    >>> tuple(found[0].prefix.ids()) == best[0]
    True
    """
    check_parts(scorer, x, stop)
    require(width >= 1, f"width={width}: a beam keeps at least one hypothesis")
    live, done = [Hypothesis(x, 0.0, 0.0)], list[Hypothesis]()
    while live and not _settled(live, done, width, alpha):
        rows = yield Ask(scorer, [h.prefix for h in live])
        grown = [
            (h.logp + logp, h.prefix, token) for h, row in zip(live, rows, strict=True) for token, logp in _top(row, 2 * width)
        ]
        grown.sort(key=lambda candidate: -candidate[0])
        live = []
        for logp, parent, token in grown[: 2 * width]:
            y = parent + token
            h = Hypothesis(y, logp, logp / (len(y) - len(y.origin)) ** alpha)
            if stop(y):
                done.append(h)
            elif len(live) < width:
                live.append(h)
        done = sorted(done, key=lambda h: -h.score)[:width]
    if not done:
        raise Unsatisfiable("no hypothesis in the beam could be finished under the constraint; try a wider beam")
    return done


def _top(row: Row, k: int) -> list[tuple[int, float]]:
    try:
        return [(token, logp + row.log_normaliser) for token, logp in row.top(k)]
    except DeadEnd:
        return []


def _settled(live: list[Hypothesis], done: list[Hypothesis], width: int, alpha: float) -> bool:
    if len(done) < width:
        return False
    best = max(h.logp for h in live)
    if alpha <= 0:  # scores can only fall
        return best <= done[-1].logp
    return max(h.score for h in live) <= done[-1].score

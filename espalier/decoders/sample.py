"""The decoder that everything else builds on: plain sampling."""

from __future__ import annotations

from espalier.decoders.backtracking import DeadEnds
from espalier.decoders.decoder import check_parts
from espalier.errors import DeadEnd
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.run import Decoder, Draw, Keep
from espalier.scorer import Ask, Scorer
from espalier.stop import Stop


def sample(scorer: Scorer, x: Prefix, stop: Stop, rng: Rng) -> Decoder[Prefix]:
    """x, extended by one token at a time, each drawn from its row, until `stop`.

    Guarantee: the law of the text is the product of the rows' laws; with temperature 0, or on `scorer | temperature(0)`,
    that is greedy decoding. One pass per token.

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=3, seed=0)
    >>> [x] = es.run(sample(model | es.temperature(0), es.Prefix(), es.stop.budget(3), es.Rng(0)))
    >>> len(x.written())
    3
    """
    check_parts(scorer, x, stop, rng)
    dead = DeadEnds(scorer, stop)
    while not stop(x):
        [row] = yield Ask(scorer, [x])
        try:
            x = yield Keep(x + (yield Draw(row, rng)))
        except DeadEnd as end:
            x = dead.back_up(end)
    return x

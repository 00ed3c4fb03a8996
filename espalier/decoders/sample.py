"""The decoder that everything else builds on: plain sampling."""

from __future__ import annotations

from espalier.decoders.dead_ends import DeadEnds
from espalier.errors import DeadEnd, expect, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.run import Decoder, Keep
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
            x = yield Keep(x + row.draw(rng))
        except DeadEnd as end:
            x = dead.back_up(end)
    return x


def check_parts(scorer: Scorer, x: Prefix, stop: Stop, rng: Rng | None = None) -> None:
    """Raise `InvalidInput` if a decoder was given something else than its parts, or its parts in another order."""
    expect(scorer, Scorer, "the scorer of a decoder", "a scorer, such as lm.scorer | es.temperature(0.7)")
    expect(x, Prefix, "the prefix of a decoder", "a Prefix, such as lm.prompt(text) or es.Prefix(tokens)")
    require(callable(stop), f"the stop of a decoder was {stop!r}; expected a condition, such as es.stop.budget(64)")
    expect(rng, (Rng, type(None)), "the rng of a decoder", "a source of randomness, es.Rng(seed)")

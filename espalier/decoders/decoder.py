"""What every decoder returns, and how one is handed over: a callable of a scorer, a prefix, a stop and a source of draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Protocol, runtime_checkable

from espalier.errors import InvalidInput, expect, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.run import Decoder
from espalier.scorer import Constrained, Scorer
from espalier.shaper import Stage
from espalier.stop import Stop


@dataclass(frozen=True, slots=True)
class Weighted:
    """A prefix that a decoder found, and the natural log of its weight: 0 for a plain sample, the score of a hypothesis,
    the importance weight of a particle.

    >>> Weighted(Prefix([1, 2])).log_weight
    0.0
    """

    prefix: Prefix
    log_weight: float = 0.0


@runtime_checkable
class Decoding(Protocol):
    """What `lm.generate(decoder=…)` takes: `(scorer, x, stop, rng)` → a decoder that returns its finds, the best first.

    One that finds several texts in one run says so (`many = True`); `n` then takes the best of them, else it makes n runs.
    A function of your own is one; so are `es.decoders.Sample()`, `Speculate(drafter, verifier)`, `Beam(8)`.

    >>> import espalier as es
    >>> isinstance(es.decoders.Sample(), Decoding)
    True
    """

    def __call__(self, scorer: Scorer, x: Prefix, stop: Stop, rng: Rng, /) -> Decoder[list[Weighted]]:
        """The decoder for one text."""


def without_constraint(scorer: Scorer, who: str) -> Scorer:
    """The scorer without its constraints, for decoders that ask about runs of tokens that nobody wrote as a whole.

    Raises `InvalidInput` for temperature or truncation, which have no place in what `who` computes.

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=1, seed=0)
    >>> without_constraint(model, "a beam") is model
    True
    """
    if scorer.stage > Stage.CONSTRAINT:
        raise InvalidInput(
            f"{who} looks at log-probabilities as they are; leave out {scorer.stage.says}, or use es.decoders.Beam"
        )
    while isinstance(scorer, Constrained):
        scorer = scorer.inner
    return scorer


def under_constraint(scorer: Scorer, rows: Rows) -> Rows:
    """Rows of `without_constraint(scorer, …)` as the constraints in the scorer restrict them after the rows' prefixes.

    >>> import espalier as es
    >>> class Low(es.TokenConstraint):
    ...     def start(self):
    ...         return 0
    ...     def advance(self, state, token):
    ...         return 0 if token < 2 else None
    >>> model, x = es.models.Table.random(vocab_size=4, depth=1, seed=0), Prefix([1])
    >>> rows = Rows(model.row((1,))[None], [x])
    >>> under_constraint(model * Low(), rows)[0].dense().exp().sum().item(), rows[0].allowed(3)
    (1.0, True)
    """
    if not isinstance(scorer, Constrained):
        return rows
    asking = scorer.answer(rows.prefixes, frozenset())
    next(asking)  # asks for the rows of `scorer.inner`
    try:
        asking.send(under_constraint(scorer.inner, rows))
    except StopIteration as done:
        restricted: Rows = done.value
        return restricted
    raise AssertionError("a constraint asks once")


def finds(result: object, x: Prefix) -> list[Weighted]:
    """What a decoder returned, as a list of `Weighted`. Raises `InvalidInput` if it is something else.

    A prefix counts as a list of one. Every find must go on from x.

    >>> x = Prefix([1])
    >>> [found.prefix.ids() for found in finds(x + 2, x)]
    [[1, 2]]
    """
    found = [result] if isinstance(result, Prefix | Weighted) else result
    if isinstance(found, Sequence) and not isinstance(found, str | bytes) and found:
        weighted = [Weighted(each) if isinstance(each, Prefix) else each for each in found]
        if all(isinstance(each, Weighted) and isinstance(each.prefix, Prefix) for each in weighted):
            if any(each.prefix.origin is not x.origin for each in weighted):
                raise InvalidInput("a decoder returned a prefix that does not go on from the one it was given")
            return weighted
    raise InvalidInput(
        f"a decoder returned {str(result)[:200]}; return the prefixes it found, best first: [es.decoders.Weighted(x, 0.0)]"
    )


def at_least(settings: object, **least: int) -> None:
    """Raise `InvalidInput` unless these attributes are whole numbers that are at least so large.

    >>> at_least(slice(3, 5), start=1, stop=2)
    """
    for name, bound in least.items():
        value = getattr(settings, name)
        expect(value, Integral, name, "a whole number")
        require(value >= bound, f"{name}={value}: at least {bound} is needed")


def check_parts(scorer: Scorer, x: Prefix, stop: Stop, rng: Rng | None = None) -> None:
    """Raise `InvalidInput` if a decoder was given something else than its parts, or its parts in another order."""
    expect(scorer, Scorer, "the scorer of a decoder", "a scorer, such as lm.scorer | es.temperature(0.7)")
    expect(x, Prefix, "the prefix of a decoder", "a Prefix, such as lm.prompt(text) or es.Prefix(tokens)")
    require(callable(stop), f"the stop of a decoder was {stop!r}; expected a condition, such as es.stop.budget(64)")
    expect(rng, (Rng, type(None)), "the rng of a decoder", "a source of randomness, es.Rng(seed)")

"""Exact sampling of p(text | text is valid) by attempts that may fail: plain, adaptive and constrained rejection, and ASAp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from espalier.decoders.budget import Budget, Spent
from espalier.decoders.decoder import Weighted, at_least, check_parts
from espalier.decoders.faithful.attempts import Attempts, Rule
from espalier.decoders.faithful.ends import Ends
from espalier.errors import LimitExceeded, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.run import Decoder
from espalier.scorer import Scorer
from espalier.stop import Stop


@dataclass(frozen=True)
class Rejecting:
    """What the samplers by attempts have in common: `n` samples, `beside` attempts at a time, `tries` of them at most.

    `guide` restricts the scorer; without one the scorer's own constraint counts (`scorer * guide`).
    """

    guide: Any = None
    n: int = 1
    target: str = "finished"
    beside: int = 8
    budget: Budget | int | None = None
    tries: int | None = 100_000

    rule: ClassVar[Rule]
    samples: ClassVar[bool] = True  # of the scorer's own law, so no temperature unless one is asked for

    def __post_init__(self) -> None:
        at_least(self, n=1, beside=1, **{} if self.tries is None else {"tries": 1})
        require(self.target in ("finished", "prefix"), f"target={self.target!r}; use 'finished' or 'prefix'")
        Budget.of(self.budget)

    def attempts(self, scorer: Scorer, x: Prefix, stop: Stop, rng: Rng) -> Attempts:
        """The attempts of one call, before the first."""
        check_parts(scorer, x, stop, rng)
        scorer = scorer if self.guide is None else scorer * self.guide
        ends = Ends(scorer, stop, self.target)
        return Attempts(scorer, x, ends, self.rule, Spent(Budget.of(self.budget)), rng, self.beside, self.tries)

    def __call__(self, scorer: Scorer, x: Prefix, stop: Stop, rng: Rng) -> Decoder[list[Weighted]]:
        attempts = self.attempts(scorer, x, stop, rng)
        valid = yield from attempts.collect(self.n)
        if not valid:
            raise LimitExceeded(
                f"no valid text in {len(attempts.began)} attempts: {attempts.exhausted}; allow more, or use es.decoders.SMC"
            )
        return [Weighted(a.node.prefix, 0.0 if self.rule.coin else a.log_weight) for a in valid]


@dataclass(frozen=True)
class Reject(Rejecting):
    """Plain rejection: sample without the constraint until a text satisfies it.

    Guarantee: every find has exactly the law p(text | text is valid); the number of attempts is 1 / p(valid) on average.
    An attempt ends with the first token that is refused.

    >>> import espalier as es
    >>> model, x = es.models.Table.random(vocab_size=3, depth=1, seed=0), es.Prefix([0])
    >>> [[found]] = es.run(Reject()(model, x, es.stop.end([2]) | es.stop.budget(8), es.Rng(0)))
    >>> found.prefix.last, found.log_weight
    (2, 0.0)
    """

    rule: ClassVar[Rule] = Rule("nothing", lowers=False)


@dataclass(frozen=True)
class ARS(Rejecting):
    """Adaptive rejection: what was refused once is not drawn again. Needs a check only, no mask.

    Guarantee: every find has exactly the law p(text | text is valid), the first one too. Parys et al. 2025, "Constrained
    adaptive rejection sampling" (arXiv 2510.01902).

    >>> import espalier as es
    >>> model, x = es.models.Table.random(vocab_size=3, depth=1, seed=0), es.Prefix([0])
    >>> [[found]] = es.run(ARS()(model, x, es.stop.end([2]) | es.stop.budget(8), es.Rng(0)))
    >>> found.prefix.last
    2
    """

    rule: ClassVar[Rule] = Rule("checks")


@dataclass(frozen=True)
class CARS(Rejecting):
    """Constrained adaptive rejection: every row's mask lowers the bounds of the prefixes above it, for all attempts after.

    Guarantee: every find has exactly the law p(text | text is valid), the first one too. An attempt that arrives at a node
    goes on with probability bound(now) / bound(when it was chosen) and then draws v in proportion to p(v) · bound(v); masking a
    new node without that coin would be local decoding. A constraint without a mask is checked (`ARS`). Parys et al. 2025
    (arXiv 2510.01902); the coin and the order of results are ours.

    >>> import torch, espalier as es
    >>> coin = es.models.Table(3, 0, lambda context: torch.tensor([0.0, 0.0, -9.0]))
    >>> x, stop = es.Prefix([0]), es.stop.end([2]) | es.stop.budget(3)
    >>> [found] = es.run(CARS(n=3)(coin, x, stop, es.Rng(0)))
    >>> [f.prefix.last for f in found]
    [2, 2, 2]
    """

    rule: ClassVar[Rule] = Rule("masks")


@dataclass(frozen=True)
class ASAp(Rejecting):
    """Adaptive sampling with approximate expected futures: masked decoding, reweighted by the bounds learnt so far.

    Guarantee: the law tends to p(text | text is valid) with the number of samples; the first sample is local masked decoding.
    `log_weight` is the importance weight, constant once all bounds are exact. Park et al. 2024 (arXiv 2405.21047).

    >>> import espalier as es
    >>> model, x = es.models.Table.random(vocab_size=3, depth=1, seed=0), es.Prefix([0])
    >>> [found] = es.run(ASAp(n=4)(model, x, es.stop.end([2]) | es.stop.budget(8), es.Rng(0)))
    >>> len(found)
    4
    """

    beside: int = 1
    rule: ClassVar[Rule] = Rule("masks", coin=False, masked=True)


@dataclass(frozen=True)
class Local(Rejecting):
    """Masked decoding step by step, with the weight that it owes: the product of the allowed masses.

    Guarantee: E[weight · f(text)] = Σ p(y) f(y) over valid y; the law of a find by itself is the product of renormalised rows.
    The weights of finds that were backed up over are 0, and count in `es.faithful`'s `log_z`.

    >>> import espalier as es
    >>> model, x = es.models.Table.random(vocab_size=3, depth=1, seed=0), es.Prefix([0])
    >>> [[found]] = es.run(Local()(model, x, es.stop.end([2]) | es.stop.budget(8), es.Rng(0)))
    >>> found.log_weight <= 0
    True
    """

    rule: ClassVar[Rule] = Rule("masks", coin=False, masked=True, lowers=False)

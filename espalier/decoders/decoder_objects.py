"""Plain sampling and speculation as objects, for `lm.generate(decoder=…)`."""

from __future__ import annotations

from dataclasses import dataclass, field

from espalier.decoders.decoder import Weighted
from espalier.decoders.sample import sample
from espalier.decoders.speculation import speculate
from espalier.drafting.draft import Drafter
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.run import Decoder
from espalier.scorer import Scorer
from espalier.stop import Stop
from espalier.verification.exact_match import SampleMatch
from espalier.verification.verifier import Verifier, check_pair


@dataclass(frozen=True)
class Sample:
    """One token per pass, each drawn from its row: `es.sample`.

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=2, seed=0)
    >>> [[found]] = es.run(Sample()(model, es.Prefix([1]), es.stop.budget(3), es.Rng(0)))
    >>> len(found.prefix.written()), found.log_weight
    (3, 0.0)
    """

    def __call__(self, scorer: Scorer, x: Prefix, stop: Stop, rng: Rng) -> Decoder[list[Weighted]]:
        return [Weighted((yield from sample(scorer, x, stop, rng)))]


@dataclass(frozen=True)
class Speculate:
    """What a drafter proposes, as far as a verifier accepts it: `es.speculate`. Guarantee: the verifier's.

    >>> import espalier as es
    >>> model, x, stop = es.models.Table.random(vocab_size=4, depth=2, seed=0), es.Prefix([1]), es.stop.budget(5)
    >>> fast = Speculate(es.drafting.PromptLookup())
    >>> [[a]], [[b]] = es.run(fast(model, x, stop, es.Rng(0))), es.run(es.decoders.Sample()(model, x, stop, es.Rng(0)))
    >>> a.prefix.ids() == b.prefix.ids()
    True
    """

    drafter: Drafter
    verifier: Verifier = field(default_factory=SampleMatch)

    def __post_init__(self) -> None:
        check_pair(self.drafter, self.verifier)

    def __call__(self, scorer: Scorer, x: Prefix, stop: Stop, rng: Rng) -> Decoder[list[Weighted]]:
        return [Weighted((yield from speculate(scorer, x, stop, self.drafter, self.verifier, rng)))]

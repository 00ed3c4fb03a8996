"""Speculation at the level of steps: a small model writes a step, and a score says whether the large one writes it anew."""

from __future__ import annotations

from dataclasses import dataclass

from espalier.decoders.steps.search import Search
from espalier.decoders.steps.space import Space
from espalier.errors import expect, require
from espalier.run import Decoder
from espalier.scorer import Scorer


@dataclass(frozen=True)
class DraftedSteps(Search):
    """One text, step by step: `draft` writes a step; if its score is at least `least` it stays, else the target writes it.

    Guarantee: **lossy**: kept steps have the draft's law. With least=−inf it is the draft's text, with least=inf the target's.
    A guide belongs to both scorers. Liao et al. 2025, reward-guided speculative decoding (arXiv 2501.19324).

    >>> import espalier as es
    >>> model, small = es.models.Table.random(4, 2, seed=0), es.models.Table.random(4, 1, seed=1)
    >>> search = DraftedSteps(small, least=-9.0, score=lambda cs: [c.last_logp for c in cs], steps=es.decoders.Steps(tokens=1))
    >>> [found] = es.run(search(model, es.Prefix([1]), es.stop.budget(3), es.Rng(0)))
    >>> len(found.best.tokens)
    3
    """

    draft: Scorer
    least: float

    def check(self) -> None:
        expect(self.draft, Scorer, "draft", "a scorer, such as small.scorer | es.temperature(0.7)")

    def grow(self, space: Space) -> Decoder[None]:
        """Until the text ends. Draft and target spend of one budget."""
        require(self.draft.vocab_size == space.scorer.vocab_size, "draft and target do not have the same tokens")
        small = Space(self.draft, space.x, space.stop, space.rng, self.score, self.steps, space.spent.budget)
        small.spent = space.spent
        at = space.root
        while not at.over:
            drafted = yield from small.expand([at])
            if drafted and space.evaluate(drafted)[0] >= self.least:
                at = drafted[0]
                continue
            space.forget(drafted)
            written = yield from space.expand([at])
            if not written:
                return
            space.evaluate(written)
            at = written[0]

"""Conditioning on an attribute that a classifier of prefixes knows: p(text | attribute) by Bayes' rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from espalier.decoders.beams.hypothesis import Hypothesis, Score, checked
from espalier.errors import DeadEnd, require
from espalier.prefix import Prefix
from espalier.rows import Rows
from espalier.scorer import Answer, Ask, Scorer, Wrapper

Classifier = Callable[[list[Prefix]], Sequence[float]]


class Conditional(Wrapper):
    """The scorer's law given an attribute: p(v | x) · (p(a | x v) / p(a | x)) ** alpha, renormalised.

    `classifier(prefixes)` gives log p(a | prefix). Guarantee: with alpha=1 and an exact classifier rows are p(v | x, a), so
    sampling draws from p(text | a) and a beam's logp is log p(text | a). The `top` best tokens of a row are asked about (None:
    all); the others are left out. `Conditional.score` is the beam score log p + alpha · log p(a | x) in which the term is
    replaced at each step, for `Beam(score=…)`. Yoshida 2024 (arXiv 2311.08817).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=3, depth=1, seed=0)
    >>> no_twos = Conditional(model, lambda xs: [-100.0 * (2 in x.written()) for x in xs])
    >>> [x] = es.run(es.sample(no_twos, es.Prefix([0]), es.stop.budget(9), es.Rng(0)))
    >>> 2 in x.written()
    False
    """

    def __init__(self, scorer: Scorer, classifier: Classifier, alpha: float = 1.0, top: int | None = 50) -> None:
        require(top is None or top >= 1, f"top={top}: at least one token must be asked about; None for all")
        super().__init__(scorer)
        self.classifier, self.alpha, self.top = classifier, alpha, top

    def answer(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Answer:
        rows: Rows = yield Ask(self.inner, prefixes, want)
        shaped = []
        for row, x in zip(rows, prefixes, strict=True):
            logits = torch.full_like(row.logits, -torch.inf)
            try:
                candidates = row.top(self.top or len(row.logits))
            except DeadEnd:
                shaped.append(logits)
                continue
            asked = [x + token for token, _ in candidates]
            said = checked(self.classifier(asked), len(asked), "the classifier")
            for (token, logp), value in zip(candidates, said, strict=True):
                logits[token] = logp + self.alpha * max(value, -1e30)
            shaped.append(logits)
        return Rows(torch.stack(shaped), prefixes, rows.extras, rows.limits)

    @staticmethod
    def score(classifier: Classifier, alpha: float = 1.0) -> Score:
        """log p(x) + alpha · log p(a | x) of each hypothesis."""

        def score(hypotheses: list[Hypothesis]) -> list[float]:
            said = checked(classifier([h.prefix for h in hypotheses]), len(hypotheses), "the classifier")
            return [h.logp + alpha * max(value, -1e30) for h, value in zip(hypotheses, said, strict=True)]

        return score

"""Decoding towards a value: the candidates are weighed by what a function says of the texts that they make."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch

from espalier.errors import InvalidInput, require
from espalier.prefix import Prefix
from espalier.rows import Rows
from espalier.scorer import Answer, Ask, Scorer, Wrapper
from espalier.shaping.forks import unrestricted
from espalier.shaping.scores import candidates

Value: TypeAlias = Callable[[Sequence[Prefix]], Sequence[float]]


class value(Wrapper):
    """log p(v) + weight · V(x + v) for the k most probable tokens, the others far below; V gets all candidates at once.

    V is any function of prefixes: a reward model of unfinished texts (ARGS), the expected reward of what the model would write
    (controlled decoding), or that of a tuned model (Transfer-Q*). With an exact V = weight⁻¹ log E[exp(reward)] draws have the
    tilted law p(text) · exp(reward) on the candidates. weight = 0 is the model, cut to k tokens. Khanov et al. 2024 (arXiv
    2402.01694); Mudgal et al. 2023 (arXiv 2310.17022); Chakraborty et al. 2024 (arXiv 2405.20495).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=2, seed=0)
    >>> fewer_zeros = value(model, lambda texts: [-x.ids().count(0) for x in texts], weight=99.0, k=4)
    >>> [x] = es.run(es.sample(fewer_zeros, es.Prefix([1]), es.stop.budget(9), es.Rng(0)))
    >>> 0 in x.ids()
    False
    """

    def __init__(self, scorer: Scorer, V: Value, weight: float = 1.0, k: int = 10) -> None:
        super().__init__(unrestricted(scorer, "value"))
        require(callable(V), f"V was {V!r}; give a function of a list of prefixes that returns a number for each")
        require(math.isfinite(weight), f"weight={weight}: a finite number; 0 is the model alone")
        require(k >= 1, f"k={k}: at least one candidate; 10 is usual")
        self.V, self.weight, self.k = V, weight, k

    def answer(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Answer:
        rows: Rows = yield Ask(self.inner, prefixes, want)
        logps, tokens = torch.log_softmax(rows.logits, -1).topk(min(self.k, self.vocab_size), -1)
        texts = [x + v for x, row in zip(prefixes, tokens.tolist(), strict=True) for v in row]
        values = [float(each) for each in self.V(texts)]
        if len(values) != len(texts) or not all(map(math.isfinite, values)):
            raise InvalidInput(f"V was asked about {len(texts)} texts and said {str(values)[:80]}; one finite number for each")
        scores = logps + self.weight * logps.new_tensor(values).view(logps.shape)
        return rows.with_logits(
            torch.stack([candidates(row, at, score) for row, at, score in zip(rows.logits, tokens, scores, strict=True)])
        )

"""An exact toy: an n-gram model with Witten-Bell smoothing, normalised for every context."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from espalier.capabilities import Capabilities, Extra
from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rows import Rows
from espalier.scorer import Model
from espalier.text.vocab import Vocab


class NGram(Model):
    """p(v | context) = (count(context v) + T · p(v | shorter context)) / (count(context) + T), T = kinds of token seen there.

    The shortest context backs off to the uniform law, so every token is possible and every row sums to one. Rows are
    float64 log-probabilities. Witten, Bell 1991, "The zero-frequency problem".

    >>> model = NGram([[0, 1, 0, 1, 0]], vocab_size=3, order=2)
    >>> row = model.forward([Prefix([0])], frozenset())[0]
    >>> row.argmax(), round(float(row.probs().sum()), 12)
    (1, 1.0)
    """

    invariant = True

    def __init__(self, texts: Iterable[Sequence[int]], vocab_size: int, order: int = 3, vocab: Vocab | None = None) -> None:
        require(order >= 1, f"order={order}: an n-gram model looks at n - 1 ≥ 0 tokens; try order=3")
        self.vocab_size, self.order, self.vocab = vocab_size, order, vocab
        self.passes = 0
        self._counts: defaultdict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
        for text in texts:
            for at, token in enumerate(text):
                for n in range(min(order, at + 1)):
                    self._counts[tuple(text[at - n : at])][token] += 1

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(frozenset({Extra.HIDDEN}), hidden=self.vocab_size, invariant=True)

    def forward(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Rows:
        self.passes += 1
        logits = torch.stack([self.probs(x.tail(self.order - 1)).log() for x in prefixes])
        return Rows(logits, prefixes, {"hidden": logits} if "hidden" in want else {})

    def probs(self, context: Sequence[int]) -> Tensor:
        """[V] probabilities after a context of at most n - 1 tokens."""
        p = torch.full((self.vocab_size,), 1 / self.vocab_size, dtype=torch.float64)
        for n in range(len(context) + 1):
            counts = self._counts.get(tuple(context[len(context) - n :]))
            if counts is None:
                break
            seen = torch.zeros_like(p)
            seen[torch.tensor(list(counts))] = torch.tensor(list(counts.values()), dtype=p.dtype)
            p = (seen + len(counts) * p) / (seen.sum() + len(counts))
        return p

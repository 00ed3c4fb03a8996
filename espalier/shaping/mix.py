"""Scorers made of several scorers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from espalier.errors import InvalidInput
from espalier.prefix import Prefix
from espalier.rows import Rows
from espalier.scorer import Answer, Ask, Scorer


class Mixture(Scorer):
    """The scorer whose rows are `combine` of its parts' log-probabilities, all asked in one turn.

    >>> import torch, espalier as es
    >>> a, b = (es.models.Table.random(vocab_size=4, depth=2, seed=s) for s in (0, 1))
    >>> half = Mixture([a, b], lambda logps: torch.logaddexp(*logps))  # the average of two laws
    >>> [x] = es.run(es.sample(half, es.Prefix(), es.stop.budget(2), es.Rng(0)))
    """

    def __init__(self, parts: Sequence[Scorer], combine: Callable[[list[Tensor]], Tensor]) -> None:
        sizes = {part.vocab_size for part in parts}
        if len(sizes) != 1:
            raise InvalidInput(f"a mixture needs parts of one vocabulary, these have {sorted(sizes)} tokens")
        self.parts, self.combine = tuple(parts), combine
        self.vocab_size, self.vocab = parts[0].vocab_size, parts[0].vocab

    def answer(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Answer:
        answers: list[Rows] = yield tuple(Ask(part, prefixes, want) for part in self.parts)
        return Rows(self.combine([rows.dense() for rows in answers]), prefixes, answers[0].extras)

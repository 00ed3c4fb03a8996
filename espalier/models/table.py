"""An exact toy: a model whose every row is a table entry, so that joint laws can be enumerated."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from espalier.capabilities import Capabilities, Extra
from espalier.prefix import Prefix
from espalier.rows import Rows
from espalier.scorer import Model
from espalier.text.vocab import Vocab


class Table(Model):
    """A model given by a function from the last `depth` tokens to a row of logits [V], in float64, remembered per context.

    Its hidden state is the row itself. `passes` counts calls of `forward`.

    >>> model = Table(2, 1, lambda context: torch.tensor([0.0, 1.0]))
    >>> model.forward([Prefix([0])], frozenset()).logits.tolist()
    [[0.0, 1.0]]
    """

    invariant = True

    def __init__(
        self, vocab_size: int, depth: int, row: Callable[[tuple[int, ...]], Tensor], vocab: Vocab | None = None
    ) -> None:
        self.vocab_size, self.depth, self.vocab = vocab_size, depth, vocab
        self.passes = 0
        self._row = row
        self._rows: dict[tuple[int, ...], Tensor] = {}

    @classmethod
    def random(cls, vocab_size: int, depth: int, seed: int, vocab: Vocab | None = None, scale: float = 1.5) -> Table:
        """A table of independent normal logits with this scale, one row per context of up to `depth` tokens."""

        def row(context: tuple[int, ...]) -> Tensor:
            bits = np.random.default_rng([seed, len(context), *context])
            return torch.from_numpy(bits.normal(size=vocab_size) * scale)

        return cls(vocab_size, depth, row, vocab)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(frozenset({Extra.HIDDEN, Extra.LAYERS}), hidden=self.vocab_size, layers=0, invariant=True)

    def forward(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Rows:
        self.passes += 1
        logits = torch.stack([self.row(tuple(x.tail(self.depth))) for x in prefixes])
        extras = {"hidden": logits} if "hidden" in want else {}
        if "layers" in want:
            extras["layers"] = logits[:, None]
        return Rows(logits, prefixes, extras)

    def row(self, context: tuple[int, ...]) -> Tensor:
        """The logits [V] after a context of at most `depth` tokens."""
        if context not in self._rows:
            self._rows[context] = self._row(context).double()
        return self._rows[context]

    def joint(self, x: Prefix, length: int) -> dict[tuple[int, ...], float]:
        """The probability of every continuation of x by `length` tokens: V ** length entries."""
        law: dict[tuple[int, ...], float] = {}
        for tokens in itertools.product(range(self.vocab_size), repeat=length):
            context, p = x.ids(), 1.0
            for token in tokens:
                logp = torch.log_softmax(self.row(tuple(context[max(0, len(context) - self.depth) :])), -1)
                p *= float(logp[token].exp())
                context = [*context, token]
            law[tokens] = p
        return law

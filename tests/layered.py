"""A model of layers whose parts can be run alone, for the tests of self-speculation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

import espalier as es
from espalier.text import Vocab


class Layers(es.Model):
    """Each layer adds its own table's row to the residual stream; the head reads the stream as it is."""

    def __init__(self, tables: Sequence[es.models.Table], vocab: Vocab | None = None) -> None:
        self.tables, self.layers, self.passes = list(tables), len(tables), 0
        self.vocab_size, self.vocab = tables[0].vocab_size, vocab

    @classmethod
    def random(cls, vocab_size: int, scales: Sequence[float], seed: int = 0) -> Layers:
        return cls([es.models.Table.random(vocab_size, 2, seed * 100 + i, scale=s) for i, s in enumerate(scales)])

    def forward(self, prefixes: Sequence[es.Prefix], want: frozenset[str]) -> es.Rows:
        self.passes += 1
        added = torch.stack([table.forward(prefixes, frozenset()).logits for table in self.tables], 1)
        stream = torch.cat([torch.zeros_like(added[:, :1]), added.cumsum(1)], 1)  # [N, L + 1, V]
        extras = {"layers": stream, "hidden": stream[:, -1]}
        return es.Rows(stream[:, -1], prefixes, {name: extras[name] for name in want & extras.keys()})

    @property
    def capabilities(self) -> es.Capabilities:
        extras = frozenset({es.Extra.HIDDEN, es.Extra.LAYERS})
        return es.Capabilities(extras, self.vocab_size, self.layers, partial=True, lens=True, invariant=True)

    def partial(self, layers: Sequence[int]) -> Layers:
        return Layers([self.tables[layer] for layer in layers], self.vocab)

    def read(self, hidden: Tensor, norm: bool = True) -> Tensor:
        return hidden


def logits(model: es.Model, x: es.Prefix) -> Tensor:
    """The logits [V] after a prefix."""
    return model.forward([x], frozenset()).logits[0]


MODEL = Layers.random(3, [1.5, 0.5, 0.3, 0.8], seed=1)

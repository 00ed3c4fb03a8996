"""Early exits: a model's first layers as a model, whose rows the whole model goes on from."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from threading import RLock
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from espalier.capabilities import Capabilities
from espalier.models.kv.layout import Pass
from espalier.models.kv.planning import row_costs
from espalier.prefix import Prefix
from espalier.rows import Rows
from espalier.scorer import Model

if TYPE_CHECKING:
    from espalier.models.transformer import Transformer

__all__ = ["Exit", "staged"]


class Exit(Model):
    """The law that `model` would have after its first `layer` layers, through its final norm and head.

    Guarantee: one store of keys and values, the model's own, and no layer computed twice: what an exit has computed of a token
    stays in the token's slot with the residual stream behind it, and the model's own pass over that token begins there. A row
    of the model is what it is without exits (to the last bit where the model is `invariant`). Elhoushi et al. 2024,
    "LayerSkip" (arXiv 2404.16710): cache reuse.

    >>> lm.model.exit(8).forward([lm.prompt("Hi")])  # doctest: +SKIP
    """

    def __init__(self, model: Transformer, layer: int) -> None:
        self.model, self.layer = model, layer
        self.vocab_size, self.vocab, self.context = model.vocab_size, model.vocab, model.context

    @property
    def capabilities(self) -> Capabilities:
        whole = self.model.capabilities
        return Capabilities(whole.extras, whole.hidden, self.layer, lens=True, invariant=whole.invariant, chunked=True)

    @property
    def fingerprint(self) -> str:
        """What decides how long a pass takes."""
        return f"exit after {self.layer} of {self.model.fingerprint}"

    @property
    def passing(self) -> RLock:
        return self.model.passing

    @property
    def room(self) -> int:
        """How many tokens there is room for."""
        return self.model.room

    def read(self, hidden: Tensor, norm: bool = True) -> Tensor:
        """The logits of rows of the residual stream."""
        return self.model.read(hidden, norm)

    def costs(self, prefixes: Sequence[Prefix]) -> list[int]:
        with self.passing:
            return row_costs(self.model.kv, prefixes, self.layer)

    def forward(self, prefixes: Sequence[Prefix], want: frozenset[str] = frozenset()) -> Rows:
        return self.forward_beside(prefixes, want, ())

    def forward_beside(self, prefixes: Sequence[Prefix], want: frozenset[str], ahead: Sequence[tuple[Prefix, int]]) -> Rows:
        with self.passing, torch.no_grad():
            return self.model.answers(prefixes, want, ahead, self.layer)


def staged(model: Transformer, rows: Pass, depth: int, every: bool, taps: bool) -> tuple[Tensor, Tensor | None]:
    """The residual stream after `depth` layers and the final norm, and with `taps` before and after each of these layers.

    Spans that have `states` go on from the layer that they came to; the others join in as soon as they are as far. Of all rows
    if `every`, else of those that are answered.
    """
    spans = len(rows.bounds) - 1
    states = rows.states or (None,) * spans
    starts = [min(depth, 0 if state is None else state.shape[1] - 1) for state in states]
    count, out = len(rows.tokens), torch.from_numpy(rows.out).long()
    stream: Tensor | None = None
    tapped: Tensor | None = None
    hidden: Tensor | None = None
    edges = [*sorted(set(starts)), depth]
    for first, last in itertools.pairwise(edges):
        active = [s for s in range(spans) if starts[s] <= first]
        part, places = rows.of_spans(active)
        at = torch.from_numpy(places).long()
        whole = first == 0 and last == model.executor.layers
        executor = model.executor if whole else model.between(first, last)
        for s in active:
            state = states[s]
            if state is not None and starts[s] == first:
                if stream is None:
                    stream, tapped = _room(count, depth, state, taps)
                stream[rows.bounds[s] : rows.bounds[s + 1]] = state[:, first]
                if tapped is not None:
                    tapped[rows.bounds[s] : rows.bounds[s + 1], : first + 1] = state[:, : first + 1]
        begin = stream[at.to(stream.device)] if first and stream is not None else None
        normed, passed = executor.run(part, model.kv.keys[first:last], model.kv.values[first:last], True, start=begin)
        assert passed is not None
        if stream is None:
            stream, tapped = _room(count, depth, passed, taps)
        at = at.to(stream.device)
        stream[at] = passed[:, -1]
        if tapped is not None:
            tapped[at, first : last + 1] = passed
        hidden = torch.empty(count, normed.shape[1], dtype=normed.dtype, device=normed.device) if hidden is None else hidden
        hidden[at] = normed
    assert hidden is not None
    if every:
        return hidden, tapped
    out = out.to(hidden.device)
    return hidden[out], None if tapped is None else tapped[out]


def _room(count: int, depth: int, like: Tensor, taps: bool) -> tuple[Tensor, Tensor | None]:
    width = like.shape[-1]
    stream = torch.empty(count, width, dtype=like.dtype, device=like.device)
    return stream, torch.empty(count, depth + 1, width, dtype=like.dtype, device=like.device) if taps else None

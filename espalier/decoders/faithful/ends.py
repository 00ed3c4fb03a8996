"""What counts as a finished text, and the law of a row before and under its constraint."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rows import Row
from espalier.scorer import Constrained, Scorer, Wrapper
from espalier.stop import Either, Stop, end

Target = Literal["finished", "prefix"]


def unconstrained(row: Row) -> Tensor:
    """[V] natural-log probabilities of a row, with its temperature and truncation but without its constraint: the p of
    p(text | text is valid)."""
    logp = torch.log_softmax(row.logits, -1)
    for shaper in row.after:
        logp = torch.log_softmax(shaper(logp[None], [row.prefix])[0], -1)
    return logp


class Ends:
    """When a text is over, for a scorer, a stop and a target.

    target="finished": a text counts if an end token or a stop string ended it, and the constraint accepts it there; one that
    was cut by its length does not. target="prefix": a text that was cut counts too, as what is written of it.
    """

    def __init__(self, scorer: Scorer, stop: Stop, target: str) -> None:
        require(target in ("finished", "prefix"), f"target={target!r}; use target='finished' or target='prefix'")
        self.stop, self.target = stop, target
        self.tokens = frozenset(end_tokens(stop)) | (scorer.vocab.end if scorer.vocab is not None else frozenset())
        self._laws = [layer for layer in _layers(scorer) if isinstance(layer, Constrained)]
        self._probe = next((t for t in range(scorer.vocab_size) if t not in self.tokens), None)

    def __call__(self, x: Prefix) -> Literal["valid", "dead", "cut", "time"] | None:
        """What has become of x, whose last token was allowed: None means that it goes on."""
        reason = self.stop(x)
        if reason is None:
            return None
        if x is not x.origin and x.last in self.tokens:
            return "valid"
        if reason == "stop":
            return "valid" if all(map(_accepts, self._laws, [x] * len(self._laws))) else "dead"
        if reason == "time":
            return "time"
        return "valid" if self.target == "prefix" else "cut"

    def closing(self, x: Prefix) -> Tensor | None:
        """The end tokens, if only they still make a finished text of x; else None."""
        if self.target == "prefix" or not self.tokens or self._probe is None or self.stop(x + self._probe) != "length":
            return None
        return torch.tensor(sorted(self.tokens))


def close(weights: Tensor, ends: Tensor | None) -> Tensor:
    """The weights [V] at the end tokens alone, where only they still make a finished text."""
    if ends is None:
        return weights
    closed = torch.full_like(weights, -torch.inf)
    closed[ends] = weights[ends]
    return closed


def _accepts(layer: Constrained, x: Prefix) -> bool:
    state, accepts = layer.state(x), getattr(layer.constraint, "accepts", None)
    return state is not None and (accepts is None or bool(accepts(state)))


def _layers(scorer: Scorer) -> list[Scorer]:
    layers = [scorer]
    while isinstance(layers[-1], Wrapper):
        layers.append(layers[-1].inner)
    return layers


def end_tokens(stop: Stop) -> list[int]:
    """The tokens at which a stop condition ends a text."""
    if isinstance(stop, Either):
        return end_tokens(stop.first) + end_tokens(stop.second)
    return sorted(stop.tokens) if isinstance(stop, end) else []

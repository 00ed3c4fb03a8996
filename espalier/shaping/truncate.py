"""Truncation: keeping only the tokens that are probable enough. All work on normalised, constrained log-probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import ClassVar

import torch
from torch import Tensor

from espalier.errors import expect, require
from espalier.prefix import Prefix
from espalier.shaper import Shaper, Stage

_HEAD = 512  # how many tokens are sorted before all of them are: their mass is nearly always enough


class top_k(Shaper):
    """Keeps the k most probable tokens, and those that tie with the k-th. Fan, Lewis, Dauphin 2018 (arXiv 1805.04833).

    >>> top_k(1)(torch.tensor([[-1.0, -2.0]]), []).tolist()
    [[-1.0, -inf]]
    """

    stage: ClassVar[Stage] = Stage.TRUNCATION

    def __init__(self, k: int) -> None:
        expect(k, Integral, "top_k", "a whole number")
        require(k >= 1, f"top_k={k}: at least one token must remain; leave top_k out to keep all")
        self.k = k

    def __call__(self, weights: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
        least = weights.topk(min(self.k, weights.shape[-1]), -1).values[..., -1:]
        return weights.masked_fill(weights < least, -torch.inf)


class top_p(Shaper):
    """Keeps the smallest set of most probable tokens whose mass is at least p. Holtzman et al. 2020 (arXiv 1904.09751).

    >>> top_p(0.6)(torch.tensor([[0.5, 0.3, 0.2]]).log(), []).exp() > 0
    tensor([[ True,  True, False]])
    """

    stage: ClassVar[Stage] = Stage.TRUNCATION

    def __init__(self, p: float) -> None:
        expect(p, Real, "top_p", "a number")
        require(0 < p <= 1, f"top_p={p}: a mass is more than 0 and at most 1; 1 keeps all tokens")
        self.p = p

    def __call__(self, weights: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
        if self.p == 1:
            return weights
        size = weights.shape[-1]
        values, tokens = weights.topk(min(_HEAD, size), -1)
        if values.shape[-1] < size and bool((values.double().exp().sum(-1) < self.p).any()):
            values, tokens = weights.sort(dim=-1, descending=True, stable=True)
        mass = values.double().exp().cumsum(-1)
        before = mass - values.double().exp()
        keep = (before < self.p) & (values > -torch.inf)
        return torch.full_like(weights, -torch.inf).scatter(-1, tokens, values.masked_fill(~keep, -torch.inf))


class min_p(Shaper):
    """Keeps the tokens that are at least p times as probable as the most probable one. Nguyen et al. 2024 (arXiv 2407.01082).

    >>> min_p(0.5)(torch.tensor([[0.6, 0.3, 0.1]]).log(), []).exp()[0, 2].item()
    0.0
    """

    stage: ClassVar[Stage] = Stage.TRUNCATION

    def __init__(self, p: float) -> None:
        expect(p, Real, "min_p", "a number")
        require(0 <= p <= 1, f"min_p={p}: it is a fraction of the best token's probability, between 0 and 1")
        self.log_p = math.log(p) if p > 0 else -math.inf

    def __call__(self, weights: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
        least = weights.amax(-1, keepdim=True) + self.log_p
        return weights.masked_fill(weights < least - 1e-7, -torch.inf)

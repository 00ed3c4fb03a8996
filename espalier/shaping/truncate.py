"""Truncation: keeping only the tokens that are probable enough. All work on normalised, constrained log-probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from espalier.errors import expect, require
from espalier.prefix import Prefix
from espalier.shaper import Shaper, Stage
from espalier.shaping.temper import entropy

_HEADS = (512, 8192)  # how many tokens are sorted before all of them are: the first few are nearly always enough


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

    @property
    def in_kernel(self) -> tuple[str, float] | None:
        return ("top_k", float(self.k)) if type(self) is top_k else None

    def __call__(self, weights: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
        least = weights.topk(min(self.k, weights.shape[-1]), -1).values[..., -1:]
        return weights.masked_fill(weights < least, -torch.inf)


class top_p(Shaper):
    """Keeps the smallest set of most probable tokens whose mass is at least p; of equals the first. Holtzman et al. 2020
    (arXiv 1904.09751).

    >>> top_p(0.6)(torch.tensor([[0.5, 0.3, 0.2]]).log(), []).exp() > 0
    tensor([[ True,  True, False]])
    """

    stage: ClassVar[Stage] = Stage.TRUNCATION

    def __init__(self, p: float) -> None:
        expect(p, Real, "top_p", "a number")
        require(0 < p <= 1, f"top_p={p}: a mass is more than 0 and at most 1; 1 keeps all tokens")
        self.p = p

    @property
    def in_kernel(self) -> tuple[str, float] | None:
        return ("top_p", float(self.p)) if type(self) is top_p else None

    def __call__(self, weights: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
        if self.p == 1:
            return weights
        values = _head(weights, lambda head, _: head.double().exp().sum(-1) >= self.p)[0]
        mass = values.double().exp().cumsum(-1)
        before = mass - values.double().exp()
        keep = (before < self.p) & (values > -torch.inf)
        least = values.masked_fill(~keep, torch.inf).amin(-1, keepdim=True)
        return weights.masked_fill(~_from(weights, least, keep & (values == least)), -torch.inf)


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

    @property
    def in_kernel(self) -> tuple[str, float] | None:
        return ("min_p", float(math.exp(self.log_p))) if type(self) is min_p else None

    def __call__(self, weights: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
        least = weights.amax(-1, keepdim=True) + self.log_p
        return weights.masked_fill(weights < least - 1e-7, -torch.inf)


class typical(Shaper):
    """Keeps the smallest set of tokens of mass p whose surprise is nearest to the row's entropy. Meister et al. 2022 (arXiv
    2202.00666).

    The most probable token may be left out.

    >>> typical(0.25)(torch.tensor([[0.5, 0.3, 0.2]]).log(), []).exp() > 0
    tensor([[False,  True, False]])
    """

    stage: ClassVar[Stage] = Stage.TRUNCATION
    keeps_best = False

    def __init__(self, p: float = 0.95) -> None:
        expect(p, Real, "typical", "a number")
        require(0 < p <= 1, f"p={p}: a mass is more than 0 and at most 1; 1 keeps all tokens")
        self.p = p

    def __call__(self, weights: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
        if self.p == 1:
            return weights
        near = -(weights + entropy(weights)).abs()
        order = _head(near, lambda _, tokens: weights.gather(-1, tokens).double().exp().sum(-1) >= self.p)[1]
        values = weights.gather(-1, order)
        mass = values.double().exp()
        keep = (mass.cumsum(-1) - mass < self.p) & (values > -torch.inf)
        return torch.full_like(weights, -torch.inf).scatter(-1, order, values.masked_fill(~keep, -torch.inf))


class epsilon(Shaper):
    """Keeps the tokens with probability ≥ e, and the most probable one. Hewitt et al. 2022 (arXiv 2210.15191).

    >>> epsilon(0.25)(torch.tensor([[0.5, 0.3, 0.2]]).log(), []).exp() > 0
    tensor([[ True,  True, False]])
    """

    stage: ClassVar[Stage] = Stage.TRUNCATION

    def __init__(self, e: float = 3e-4) -> None:
        expect(e, Real, "epsilon", "a number")
        require(0 <= e < 1, f"e={e}: a probability below 1; 3e-4 to 4e-3 are usual, 0 keeps all tokens")
        self.e = e

    def __call__(self, weights: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
        return _at_least(weights, weights.new_full((len(weights), 1), math.log(self.e) if self.e > 0 else -math.inf))


class eta(Shaper):
    """Keeps the tokens with p ≥ min(e, √e · exp(-H)), H the row's entropy, and the most probable one: flat rows lose less.

    Hewitt et al. 2022, "Truncation sampling as language model desmoothing" (arXiv 2210.15191).

    >>> (eta(0.25)(torch.tensor([[0.5, 0.3, 0.2]]).log(), []).exp() > 0).tolist()
    [[True, True, True]]
    """

    stage: ClassVar[Stage] = Stage.TRUNCATION

    def __init__(self, e: float = 3e-4) -> None:
        expect(e, Real, "eta", "a number")
        require(0 < e < 1, f"e={e}: a probability above 0 and below 1; 3e-4 to 4e-3 are usual")
        self.e = e

    def __call__(self, weights: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
        return _at_least(weights, (0.5 * math.log(self.e) - entropy(weights)).clamp(max=math.log(self.e)))


class top_n_sigma(Shaper):
    """Keeps the tokens whose logit is within n standard deviations of the greatest one; temperature does not change which.

    The deviation is that of all possible tokens (divided by their number). Tang et al. 2024, "Top-nσ" (arXiv 2411.07641).

    >>> top_n_sigma(1.0)(torch.tensor([[4.0, 3.0, 0.0, -1.0]]), []) > -torch.inf
    tensor([[ True,  True, False, False]])
    """

    stage: ClassVar[Stage] = Stage.TRUNCATION

    def __init__(self, n: float = 1.0) -> None:
        expect(n, Real, "top_n_sigma", "a number")
        require(0 <= n < math.inf, f"n={n}: a number of standard deviations, from 0; 1 is usual")
        self.n = n

    def __call__(self, weights: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
        possible = weights > -torch.inf
        count = possible.sum(-1, keepdim=True)
        mean = weights.masked_fill(~possible, 0).sum(-1, keepdim=True) / count
        spread = ((weights - mean).masked_fill(~possible, 0).square().sum(-1, keepdim=True) / count).sqrt()
        return _at_least(weights, weights.amax(-1, keepdim=True) - self.n * spread)


class top_h(Shaper):
    """Keeps the most probable tokens while the entropy of the kept, renormalised, is at most a · H; one at least.

    Potraghloo et al. 2025, "Top-H decoding" (arXiv 2509.02510).

    >>> top_h(0.6)(torch.tensor([[0.5, 0.3, 0.2]]).log(), []).exp() > 0
    tensor([[ True, False, False]])
    """

    stage: ClassVar[Stage] = Stage.TRUNCATION

    def __init__(self, a: float = 0.4) -> None:
        expect(a, Real, "top_h", "a number")
        require(0 <= a <= 1, f"a={a}: a share of the row's entropy, 0 to 1; 0.4 is usual, 1 keeps all tokens")
        self.a = a

    def __call__(self, weights: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
        if self.a == 1:
            return weights
        most = self.a * entropy(weights.double()) + 1e-12
        values, order = _head(weights, lambda head, _: (_entropies(head)[..., -1:] > most)[..., 0])
        keep = (_entropies(values) > most).cumsum(-1) == 0
        keep[..., 0] = True
        kept = torch.zeros_like(weights, dtype=torch.bool).scatter(-1, order, keep)
        return weights.masked_fill(~kept, -torch.inf)


def _entropies(values: Tensor) -> Tensor:
    """For each j the entropy of the first j tokens of a row, renormalised."""
    p = values.double().exp()
    mass: Tensor = p.cumsum(-1)
    entropies: Tensor = mass.log() - torch.special.xlogy(p, p).cumsum(-1) / mass
    return entropies


def _head(weights: Tensor, enough: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """The greatest weights of each row in order, with their tokens: as many as are `enough`, seldom all."""
    size = weights.shape[-1]
    for most in _HEADS:
        if most < size:
            values, tokens = weights.topk(most, -1)
            if bool(enough(values, tokens).all()):
                return values, tokens
    if weights.is_cpu and size > _HEADS[-1]:  # numpy sorts long rows many times as fast
        tokens = torch.from_numpy(np.argsort(-weights.detach().numpy(), -1))
        return weights.gather(-1, tokens), tokens
    values, tokens = weights.sort(dim=-1, descending=True, stable=True)
    return values, tokens


def _at_least(weights: Tensor, least: Tensor) -> Tensor:
    """The tokens that reach a log-probability, and the greatest ones in any case."""
    least = torch.minimum(least.to(weights.dtype), weights.amax(-1, keepdim=True))
    return weights.masked_fill(weights < least, -torch.inf)


def _from(weights: Tensor, least: Tensor, equals: Tensor) -> Tensor:
    """Which weights are greater than the least that is kept, or are among the first of its equals: as many as `equals` says."""
    same = weights == least
    wanted = equals.sum(-1, keepdim=True)
    if bool((same.sum(-1, keepdim=True) > wanted).any()):
        same &= same.cumsum(-1) <= wanted
    return (weights > least) | same

"""Stochastic beam search: texts drawn without replacement, by the largest of Gumbel-perturbed log-probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch

from espalier.decoders.decoder import Weighted, check_parts
from espalier.errors import DeadEnd, InvalidInput, Unsatisfiable, expect, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Row
from espalier.run import Decoder
from espalier.scorer import Ask, Scorer
from espalier.stop import Stop


@dataclass(frozen=True, slots=True)
class Perturbed:
    """A prefix, its log-probability, and the largest perturbed log-probability of the texts that begin with it."""

    prefix: Prefix
    logp: float
    key: float


class WithoutReplacement(list[Weighted]):
    """The finds of `StochasticBeam`, in the order of the draws; a find's `log_weight` is log (p / inclusion probability).

    `threshold` is the (k + 1)-th largest perturbed log-probability, −∞ if there are no more texts.
    """

    def __init__(self, best: list[Perturbed], threshold: float) -> None:
        self.threshold, self.logps = threshold, [found.logp for found in best]
        super().__init__(
            Weighted(found.prefix, found.logp - math.log(chance))
            for found, chance in zip(best, map(self._inclusion, self.logps), strict=True)
        )

    def _inclusion(self, logp: float) -> float:
        return -math.expm1(-math.exp(min(logp - self.threshold, 700.0))) if self.threshold > -math.inf else 1.0

    @property
    def inclusions(self) -> list[float]:
        """The probability of each find to be among the k, given the threshold."""
        return [self._inclusion(logp) for logp in self.logps]

    def estimate(self, f: Callable[[Prefix], float], normalised: bool = False) -> float:
        """An estimate of the mean of f over the model's texts: Σ p / q · f, unbiased; with `normalised` divided by Σ p / q,
        which has less variance and a bias that vanishes with k."""
        weights = [math.exp(found.log_weight) for found in self]
        total = math.fsum(w * f(found.prefix) for w, found in zip(weights, self, strict=True))
        return total / math.fsum(weights) if normalised else total


@dataclass(frozen=True)
class StochasticBeam:
    """k different texts, drawn without replacement from the scorer's own law, in one pass per length of 1 + k rows.

    Guarantee: the k texts have the law of k draws in sequence, each from what is left; `found.estimate(f)` is an unbiased
    estimate of a mean by the inclusion probabilities 1 − exp(−exp(log p − threshold)). Temperature, truncation and a constraint
    are part of the law (rows are renormalised). Kool et al. 2019 (arXiv 1903.06059).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=2, seed=0)
    >>> [found] = es.run(StochasticBeam(3)(model, es.Prefix([1]), es.stop.budget(2), es.Rng(0)))
    >>> len({tuple(f.prefix.ids()) for f in found}), 0 < found.estimate(lambda x: 1.0)
    (3, True)
    """

    k: int
    many: ClassVar[bool] = True  # one run finds several texts

    def __post_init__(self) -> None:
        expect(self.k, int, "k", "a whole number")
        require(self.k >= 1, f"k={self.k}: at least one text must be drawn")

    def estimate(self, found: list[Weighted], f: Callable[[Prefix], float], normalised: bool = False) -> float:
        """`found.estimate(f)`, for what this decoder returned."""
        if not isinstance(found, WithoutReplacement):
            raise InvalidInput("estimate needs the list that StochasticBeam returned, with its threshold")
        return found.estimate(f, normalised)

    def __call__(self, scorer: Scorer, x: Prefix, stop: Stop, rng: Rng) -> Decoder[list[Weighted]]:
        check_parts(scorer, x, stop, rng)
        beam = [Perturbed(x, 0.0, -math.log(-math.log(rng.uniform())))]
        while live := [h for h in beam if h.prefix is x or stop(h.prefix) is None]:
            rows = yield Ask(scorer, [h.prefix for h in live])
            grown = [child for h, row in zip(live, rows, strict=True) for child in children(h, row, self.k + 1, rng)]
            alive = set(map(id, live))
            over = [h for h in beam if id(h) not in alive]
            beam = sorted(over + grown, key=lambda h: -h.key)[: self.k + 1]
        if not beam:
            raise Unsatisfiable("no text could be drawn: the constraint allows beginnings that cannot be finished")
        threshold = beam[self.k].key if len(beam) > self.k else -math.inf
        return WithoutReplacement(beam[: self.k], threshold)


def children(h: Perturbed, row: Row, k: int, rng: Rng) -> list[Perturbed]:
    """The k children with the largest perturbed log-probabilities, the largest of which is the parent's.

    They are made in falling order: the next one is drawn from what is left, its key is a Gumbel number with the log of the
    mass that is left as its location, cut off at the key before. So no number is drawn for the other tokens.
    """
    try:
        left = row.dense().double().clone()
    except DeadEnd:
        return []
    found: list[Perturbed] = []
    key = h.key
    while len(found) < k and bool((left > -torch.inf).any()):
        mass = float(torch.logsumexp(left, 0))
        if found:
            location = h.logp + mass
            key = location - _log_sum(location - key, math.log(-math.log(rng.uniform())))
        token = rng.categorical((left - mass).exp())
        found.append(Perturbed(h.prefix + token, h.logp + float(left[token]), key))
        left[token] = -torch.inf
    return found


def _log_sum(a: float, b: float) -> float:
    return max(a, b) + math.log1p(math.exp(-abs(a - b)))

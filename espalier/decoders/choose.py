"""Choosing among finished texts: votes, minimum Bayes risk, rerankers, and when to abstain."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from espalier.decoders.beams.hypothesis import checked
from espalier.errors import require

T = TypeVar("T")
Utility = Callable[[T, T], float]
Features = Sequence[Callable[[T], float]]


def mbr(
    candidates: Sequence[T],
    utility: Utility[T],
    references: Sequence[T] | None = None,
    weights: Sequence[float] | None = None,
    own: bool = True,
) -> T:
    """The candidate with the largest mean utility(candidate, reference) over the references, which are the candidates unless
    given; the first of equals. `weights` belong to the references (normalised log-weights of particles, say).

    Guarantee: the maximum of the Monte-Carlo estimate of the expected utility. With own=False a candidate is never its own
    reference, in any pair. Kumar and Byrne 2004; with judges: Wu et al. 2024 (arXiv 2410.02902).

    >>> mbr(["a", "b", "a"], lambda h, y: float(h == y))
    'a'
    """
    require(len(candidates) > 0, "there are no candidates to choose from")
    same = references is None
    against = candidates if references is None else references
    require(own or same, "own=False leaves out a candidate as its own reference; with other references there is none")
    require(own or len(candidates) > 1, "own=False needs two candidates at least")
    shares = [1.0] * len(against) if weights is None else list(weights)
    require(len(shares) == len(against), f"{len(shares)} weights for {len(against)} references; give one for each")

    def value(i: int) -> float:
        used = [j for j in range(len(against)) if own or j != i]
        total = math.fsum(shares[j] for j in used)
        return math.fsum(shares[j] * utility(candidates[i], against[j]) for j in used) / total if total > 0 else 0.0

    return candidates[max(range(len(candidates)), key=lambda i: (value(i), -i))]


def vote(
    candidates: Sequence[T],
    answer: Callable[[T], Hashable] = lambda c: c,
    weights: Sequence[float] | None = None,
    log: bool = False,
) -> T:
    """The first candidate with the answer that has the most votes, or the most weight; `log`: weights are log-weights.

    Candidates whose answer is None do not vote. Wang et al. 2022 (arXiv 2203.11171); weighted: Wu et al. 2024
    (arXiv 2408.00724).

    >>> vote(["x=1", "y=2", "z=1"], answer=lambda text: text[-1])
    'x=1'
    """
    require(len(candidates) > 0, "there are no candidates to choose from")
    given = [0.0 if log else 1.0] * len(candidates) if weights is None else checked(weights, len(candidates), "weights")
    top = max(given)
    shares = [math.exp(w - top) if top > -math.inf else 1.0 for w in given] if log else given
    require(all(s >= 0 for s in shares), "weights are at least 0; for log-weights write log=True")
    votes: dict[Hashable, float] = {}
    first: dict[Hashable, T] = {}
    for candidate, share in zip(candidates, shares, strict=True):
        said = answer(candidate)
        if said is not None:
            votes[said] = votes.get(said, 0.0) + share
            first.setdefault(said, candidate)
    require(bool(votes), "no candidate gave an answer (all are None); there is nothing to vote on")
    return first[max(votes, key=lambda said: votes[said])]


def rerank(candidates: Sequence[T], features: Features[T], weights: Sequence[float] | None = None) -> list[T]:
    """The candidates by the weighted sum of their features, the best first (equal weights unless given; `tune` fits them).

    Fernandes et al. 2022 (arXiv 2205.00978).

    >>> rerank(["bb", "a"], [len])
    ['bb', 'a']
    """
    shares = [1.0] * len(features) if weights is None else checked(weights, len(features), "weights")
    values = [math.fsum(w * f(c) for w, f in zip(shares, features, strict=True)) for c in candidates]
    return [candidates[i] for i in sorted(range(len(candidates)), key=lambda i: (-values[i], i))]


def tune(lists: Sequence[Sequence[T]], features: Features[T], quality: Callable[[T], float], rounds: int = 3) -> list[float]:
    """Weights for `rerank` under which the chosen candidates of these lists have the best mean quality that coordinate ascent
    from equal weights finds (the line search of MERT, over the places where the choice changes).

    >>> tune([["bb", "a"], ["c", "ddd"]], [len], lambda text: -len(text))[0] < 0
    True
    """
    tables = [[[f(c) for f in features] for c in each] for each in lists]
    goods = [[quality(c) for c in each] for each in lists]

    def worth(weights: Sequence[float]) -> float:
        picks = [max(range(len(t)), key=lambda i, t=t: sum(w * v for w, v in zip(weights, t[i], strict=True))) for t in tables]  # type: ignore[misc]
        return math.fsum(good[i] for good, i in zip(goods, picks, strict=True))

    best = [1.0] * len(features)
    for _ in range(rounds):
        for k in range(len(features)):
            points = sorted(_crossings(tables, best, k))
            tries = [a + (b - a) / 2 for a, b in itertools.pairwise(points)]
            edges = [points[0] - 1.0, points[-1] + 1.0] if points else [-1.0, 1.0]
            options = [[*best[:k], w, *best[k + 1 :]] for w in (*edges, *tries)]
            best = max([best, *options], key=worth)
    return best


def _crossings(tables: Sequence[Sequence[Sequence[float]]], weights: Sequence[float], k: int) -> set[float]:
    points = set()
    for table in tables:
        for i, a in enumerate(table):
            for b in table[:i]:
                slope = a[k] - b[k]
                rest = math.fsum(w * (x - y) for j, (w, x, y) in enumerate(zip(weights, a, b, strict=True)) if j != k)
                if slope:
                    points.add(-rest / slope)
    return points


def two_stage(candidates: Sequence[T], quality: Callable[[T], float], utility: Utility[T], keep: int) -> T:
    """The `mbr` choice among the `keep` candidates of the best quality; with all of them kept it is `mbr`.

    Fernandes et al. 2022 (arXiv 2205.00978).

    >>> two_stage(["a", "bb", "bb"], len, lambda h, y: float(h == y), keep=2)
    'bb'
    """
    require(keep >= 1, f"keep={keep}: at least one candidate must be kept")
    kept = set(sorted(range(len(candidates)), key=lambda i: (-quality(candidates[i]), i))[:keep])
    return mbr([c for i, c in enumerate(candidates) if i in kept], utility)


def abstain(candidates: Sequence[T], rejector: Callable[[T], float]) -> T | None:
    """The first candidate that the rejector accepts (a number above 0), None if there is none: better no answer.

    >>> abstain(["bad", "good"], lambda text: 1.0 if text == "good" else -1.0)
    'good'
    """
    return next((c for c in candidates if rejector(c) > 0), None)


@dataclass(frozen=True)
class Rejector:
    """Accepts where the chance to be right, fitted from features, is above 1 − `cost` of abstaining.

    >>> r = Rejector.fit([[0.0], [1.0], [0.1], [0.9]], [False, True, False, True], cost=0.3)
    >>> r([1.0]) > 0, r([0.0]) > 0
    (True, False)
    """

    weights: tuple[float, ...]
    bias: float
    cost: float

    @classmethod
    def fit(cls, features: Sequence[Sequence[float]], right: Sequence[bool], cost: float) -> Rejector:
        """A logistic fit of right or wrong; `cost` of abstaining, where a wrong answer costs 1.

        The threshold is that of the best rejector for this cost (Mao et al. 2023, arXiv 2301.09044, whose own surrogate this
        fit stands in for).
        """
        require(0 < cost < 0.5, f"cost={cost}: between 0 and 0.5; from 0.5 on guessing is never worse")
        require(len(features) == len(right) > 0, f"{len(features)} rows of features for {len(right)} outcomes")
        x = torch.tensor([[*row, 1.0] for row in features], dtype=torch.float64)
        y = torch.tensor(right, dtype=torch.float64)
        w = torch.zeros(x.shape[1], dtype=torch.float64)
        for _ in range(50):  # Newton's steps, with a small ridge so that separable data has a fit
            p = torch.sigmoid(x @ w)
            slope = x.T @ (y - p) - 1e-3 * w
            curve = (x * (p * (1 - p))[:, None]).T @ x + 1e-3 * torch.eye(len(w), dtype=torch.float64)
            w = w + torch.linalg.solve(curve, slope)
        return cls(tuple(w[:-1].tolist()), float(w[-1]), cost)

    def __call__(self, features: Sequence[float]) -> float:
        """The log-odds of being right, less those that the cost demands: above 0 is accept."""
        odds = math.fsum(w * f for w, f in zip(self.weights, features, strict=True)) + self.bias
        return odds - math.log((1 - self.cost) / self.cost)

    def risk(self, features: Sequence[Sequence[float]], right: Sequence[bool]) -> tuple[float, float]:
        """Coverage, the share that is accepted, and risk, the share of it that is wrong."""
        taken = [r for f, r in zip(features, right, strict=True) if self(f) > 0]
        return len(taken) / max(len(right), 1), sum(not r for r in taken) / max(len(taken), 1)


__all__ = ["Rejector", "abstain", "mbr", "rerank", "tune", "two_stage", "vote"]

"""Which particles go on, and how often: unbiased choices, each through the flips of an `Rng`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from espalier.rng import Rng

Scheme = Callable[[Tensor, int, Rng], list[int]]


def multinomial(weights: Tensor, n: int, rng: Rng) -> list[int]:
    """n places drawn independently in proportion to the weights."""
    return sorted(rng.categorical(weights) for _ in range(n))


def systematic(weights: Tensor, n: int, rng: Rng) -> list[int]:
    """n places by one draw: the points u, u + 1, … below n on the line of cumulated weights.

    Which places come is a step function of u, so u is drawn as one of the steps (Carpenter et al. 1999).

    >>> systematic(torch.tensor([0.5, 0.25, 0.25]), 4, Rng(0))
    [0, 0, 1, 2]
    """
    line = torch.cumsum(weights.double() / weights.double().sum(), 0) * n
    line[-1] = n
    cuts = torch.unique(torch.cat([line.remainder(1.0), torch.tensor([0.0, 1.0], dtype=torch.float64)]))
    lengths = cuts.diff()
    at = rng.categorical(lengths)
    points = torch.arange(n, dtype=torch.float64) + (cuts[at] + cuts[at + 1]) / 2
    places: list[int] = torch.searchsorted(line, points, right=True).clamp(max=len(weights) - 1).tolist()
    return places


def stratified(weights: Tensor, n: int, rng: Rng) -> list[int]:
    """n places, one from each n-th of the line of cumulated weights (Kitagawa 1996)."""
    line = torch.cumsum(weights.double() / weights.double().sum(), 0) * n
    line[-1] = n
    low = torch.cat([torch.zeros(1, dtype=torch.float64), line[:-1]])
    return [rng.categorical((line.clamp(max=k + 1) - low.clamp(min=k)).clamp(min=0)) for k in range(n)]


def residual(weights: Tensor, n: int, rng: Rng) -> list[int]:
    """Each place as often as its share surely allows; what is missing is drawn by what is left of the shares."""
    shares = weights.double() / weights.double().sum() * n
    sure = (shares + 1e-12).floor()
    places = [i for i, count in enumerate(sure.tolist()) for _ in range(int(count))]
    rest = (shares - sure).clamp(min=0)
    return sorted(places + [rng.categorical(rest) for _ in range(n - len(places))])


def without_replacement(weights: Tensor, n: int, rng: Rng) -> list[tuple[int, float]]:
    """At most n places, each at most once, with new weights whose expectations are the old ones.

    Those of c · weight ≥ 1 stay as they are, the others stay with probability c · weight and weight 1 / c, where c makes n of
    them. Fearnhead and Clifford 2003; in language models: Lew et al. 2023 (arXiv 2306.03081).

    >>> sorted(without_replacement(torch.tensor([9.0, 0.0, 1.0]), 2, Rng(0)))
    [(0, 9.0), (2, 1.0)]
    """
    w = weights.double()
    alive = [i for i, weight in enumerate(w.tolist()) if weight > 0]
    if len(alive) <= n:
        return [(i, float(w[i])) for i in alive]
    c = _scale(sorted((float(w[i]) for i in alive), reverse=True), n)
    kept = [i for i in alive if c * float(w[i]) >= 1]
    rest = [i for i in alive if c * float(w[i]) < 1]
    drawn = systematic(w[rest], n - len(kept), rng) if n > len(kept) else []
    return [(i, float(w[i])) for i in kept] + [(rest[j], 1 / c) for j in drawn]


def _scale(descending: Sequence[float], n: int) -> float:
    """c with Σ min(1, c · w) = n."""
    total = math.fsum(descending)
    for kept, weight in enumerate(descending):
        c = (n - kept) / total if total > 0 else math.inf
        if c * weight < 1 or kept == n - 1:
            return c
        total -= weight
    return math.inf


SCHEMES: dict[str, Scheme] = {
    "systematic": systematic,
    "multinomial": multinomial,
    "stratified": stratified,
    "residual": residual,
}

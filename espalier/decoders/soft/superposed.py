"""Superposed decoding: several drafts at the price of one, through a mixture of their last tokens' embeddings."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import torch
from torch import Tensor

from espalier.decoders.decoder import Weighted, at_least, check_parts, under_constraint, without_constraint
from espalier.decoders.soft.models import embedding_model
from espalier.errors import DeadEnd, Unsatisfiable, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Row, Rows
from espalier.run import Decoder
from espalier.scorer import Ask, Scorer
from espalier.soft_prefix import Soft
from espalier.stop import Stop

CHECKS = 16  # tokens that are checked before a mask is asked for
PENALTY = 200.0  # in log-weight, for a draft none of whose candidates any n-gram knows


class NGrams:
    """Next-token probabilities of a corpus: a fixed interpolation of its n-grams of several orders, as a callable.

    `texts` are token sequences. What comes after tokens is Σ weight of n · count(n − 1 tokens, v) / count(n − 1 tokens);
    an order whose context never occurred gives nothing. Weights are equal unless given, and are scaled to sum to 1.

    >>> NGrams([[1, 2, 3, 1, 2, 4]], orders=(2, 3))([1, 2])
    {3: 0.5, 4: 0.5}
    """

    def __init__(
        self, texts: Sequence[Sequence[int]], orders: Sequence[int] = (2, 3, 4, 5, 6), weights: Sequence[float] | None = None
    ) -> None:
        require(len(orders) > 0 and min(orders) >= 2, f"orders={orders!r}: n-grams of 2 tokens or more")
        given = [1.0] * len(orders) if weights is None else list(weights)
        require(len(given) == len(orders), f"{len(given)} weights for {len(orders)} orders; give one for each")
        require(min(given) >= 0 and sum(given) > 0, f"weights={weights!r}: numbers that are not negative, not all 0")
        self.weights = {n: w / sum(given) for n, w in zip(orders, given, strict=True)}
        self._counts: dict[tuple[int, ...], Counter[int]] = {}
        for text in texts:
            for n in orders:
                for at in range(n - 1, len(text)):
                    self._counts.setdefault(tuple(text[at - n + 1 : at]), Counter())[text[at]] += 1

    def __call__(self, tokens: Sequence[int]) -> dict[int, float]:
        found: dict[int, float] = {}
        for n, weight in self.weights.items():
            counts = self._counts.get(tuple(tokens[len(tokens) - n + 1 :])) if len(tokens) >= n - 1 else None
            for token, count in (counts or {}).items():
                assert counts is not None
                found[token] = found.get(token, 0.0) + weight * count / counts.total()
        return found


Lookup = Callable[[Sequence[int]], Mapping[int, float]]


@dataclass(frozen=True, slots=True)
class _Draft:
    prefix: Prefix
    score: float  # Σ log f


@dataclass(frozen=True)
class Superposed:
    """`drafts` texts by one row per token: the model reads the mean of the drafts' last tokens, weighted by the drafts.

    A draft goes on by log f = (1 − alpha) · log p + alpha · log p of `ngrams` given the draft's own tokens, over the
    `candidates` likeliest tokens of the shared row, renormalised; one that no n-gram knows is dropped where the draft has one
    that some n-gram knows. `ngrams`: token sequences, an `NGrams` table of them, or a function from tokens to {token:
    probability}; None only with alpha=0. Under a constraint each draft has its own candidates, the likeliest that it may
    write.

    Guarantee: a heuristic; `Superposed(1, alpha=0)` is greedy decoding. `log_weight` is the draft's Σ log f. Needs a model
    that takes embeddings. Shen et al. 2024 (arXiv 2405.18400).

    >>> NGrams([[1, 2, 3]], orders=(2,))([1])
    {2: 1.0}
    """

    drafts: int
    ngrams: Lookup | Sequence[Sequence[int]] | None = None
    alpha: float = 0.54
    candidates: int = 9
    many: ClassVar[bool] = True  # one run finds several texts

    def __post_init__(self) -> None:
        at_least(self, drafts=1, candidates=1)
        require(0 <= self.alpha <= 1, f"alpha={self.alpha}: a share of the n-grams, between 0 and 1")
        require(
            self.ngrams is not None or self.alpha == 0,
            "alpha > 0 weighs n-grams, but there are none; give ngrams=es.decoders.NGrams(texts), or alpha=0",
        )
        if isinstance(self.ngrams, Sequence):
            object.__setattr__(self, "ngrams", NGrams(self.ngrams))
        require(self.ngrams is None or callable(self.ngrams), f"ngrams={self.ngrams!r:.80}; give es.decoders.NGrams(texts)")

    def __call__(self, scorer: Scorer, x: Prefix, stop: Stop, rng: Rng) -> Decoder[list[Weighted]]:
        check_parts(scorer, x, stop, rng)
        model, bare = embedding_model(scorer, "Superposed"), without_constraint(scorer, "Superposed")
        [row] = yield Ask(bare, [x])
        first = self._ranked(row.logits, [_Draft(x, 0.0)], scorer, self.drafts, mixed=False)
        live, done = self._kept(first, stop)
        y = x
        while live and not self._over(live, done):
            weights = torch.softmax(torch.tensor([d.score for d in live], dtype=torch.float64), 0)
            mixed = weights.float() @ model.embed([d.prefix.last for d in live]).cpu()
            y = Soft(mixed[None], y, tokens=[live[0].prefix.last], written=True)
            rows = yield Ask(bare, [y])
            live, over = self._kept(self._ranked(rows.logits[0], live, scorer, self.candidates), stop)
            done += over
        finds = sorted([*done, *live], key=lambda d: -d.score)[: self.drafts]
        if not finds:
            raise Unsatisfiable("no draft could be finished under the constraint; use more drafts or candidates")
        return [Weighted(d.prefix, d.score) for d in finds]

    def _over(self, live: list[_Draft], done: list[_Draft]) -> bool:
        """Whether no draft can still beat the finished ones: a score only falls."""
        scores = sorted((d.score for d in done), reverse=True)
        return len(scores) >= self.drafts and scores[self.drafts - 1] >= live[0].score

    def _kept(self, ranked: list[_Draft], stop: Stop) -> tuple[list[_Draft], list[_Draft]]:
        """The best unfinished drafts, and the finished ones among twice as many."""
        live, over = list[_Draft](), list[_Draft]()
        for draft in ranked[: 2 * self.drafts]:
            (live if stop(draft.prefix) is None else over).append(draft)
        return live[: self.drafts], over

    def _ranked(self, logits: Tensor, drafts: list[_Draft], scorer: Scorer, count: int, mixed: bool = True) -> list[_Draft]:
        """What the drafts may go on with, the best first."""
        logp = torch.log_softmax(logits.double().cpu(), -1)
        prefixes = [draft.prefix for draft in drafts]
        rows = under_constraint(scorer, Rows(logp.expand(len(drafts), -1), prefixes))
        likeliest = logp.topk(min(count + CHECKS, len(logp))).indices.tolist()
        grown: list[_Draft] = []
        for draft, row in zip(drafts, rows, strict=True):
            kept = [(token, draft.prefix + token) for token in _allowed(row, likeliest, count)]
            if kept:
                shares = torch.log_softmax(logp[[token for token, _ in kept]], -1) if mixed else logp[[t for t, _ in kept]]
                known = self._known(draft.prefix) if mixed and self.alpha else None
                grown += self._grown(draft, kept, shares.tolist(), known)
        return sorted(grown, key=lambda d: -d.score)

    def _grown(
        self, draft: _Draft, kept: list[tuple[int, Prefix]], shares: list[float], known: Mapping[int, float] | None
    ) -> list[_Draft]:
        if known is None:
            return [_Draft(y, draft.score + share) for (_, y), share in zip(kept, shares, strict=True)]
        hit = any(known.get(token, 0.0) > 0 for token, _ in kept)
        found: list[_Draft] = []
        for (token, y), share in zip(kept, shares, strict=True):
            p = known.get(token, 0.0)
            if p > 0:
                found.append(_Draft(y, draft.score + (1 - self.alpha) * share + self.alpha * math.log(p)))
            elif not hit:
                found.append(_Draft(y, draft.score + (1 - self.alpha) * share - PENALTY))
        return found

    def _known(self, x: Prefix) -> Mapping[int, float]:
        assert callable(self.ngrams)
        return self.ngrams(x.ids())


def _allowed(row: Row, likeliest: Sequence[int], count: int) -> list[int]:
    """The `count` likeliest tokens that the row allows: checked one by one, and by the mask once a few were refused."""
    checked = list(islice((token for token in likeliest if row.allowed(token)), count))
    if len(checked) == count or row.limit is None:
        return checked
    if (by_checks := row.leading(count)) is not None:
        return [token for token, _ in by_checks]
    try:
        return [token for token, _ in row.top(count)]
    except DeadEnd:
        return []

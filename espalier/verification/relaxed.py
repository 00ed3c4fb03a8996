"""Lossy variants of rejection: more is accepted than the target's law allows, by an amount that is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from espalier.drafting.draft import Kind, Law
from espalier.errors import require
from espalier.rng import Rng
from espalier.verification.node_by_node import NodeByNode, accept_or_redraw, drawn_from
from espalier.verification.verifier import Guarantee


class Lenient(NodeByNode):
    """`Rejection` with q made smaller: y is accepted with probability min(1, p(y) / (l q(y))).

    Lossy: no token becomes more probable than p/l; l = 1 is exact, l near 0 accepts whatever p allows at all.
    Leviathan, Kalman, Matias 2023 (arXiv 2211.17192), appendix on lenience.

    >>> import espalier as es
    >>> small, big = (es.models.Table.random(vocab_size=3, depth=d, seed=0) for d in (1, 2))
    >>> drafter, stop = es.drafting.DraftModel(small, tokens=3), es.stop.budget(8)
    >>> [x] = es.run(es.speculate(big, es.Prefix([0]), stop, drafter, Lenient(0.5), es.Rng(0)))
    >>> len(x.written()), big.passes < 8
    (8, True)
    """

    guarantee: ClassVar[Guarantee] = "lossy"

    def __init__(self, lenience: float = 0.5) -> None:
        require(0 < lenience <= 1, f"lenience={lenience}: it is a factor above 0 and at most 1; 1 is exact")
        self.lenience = lenience

    def choose(self, p: Tensor, law: Law | None, tokens: Sequence[int], rng: Rng) -> tuple[int, bool]:
        return accept_or_redraw(p, self.lenience * drawn_from(law, tokens[0], p), tokens[0], rng)


class Relaxed(NodeByNode):
    """A drafted token is accepted if it is among the target's `top` tokens and within `gap` of the best log-probability.

    Lossy: every token written has at least e^-gap of the most probable one's probability; else the most probable token is
    written. `top=1` or `gap=0` is greedy decoding (of equals the drafted one). For a target without temperature 0, whose rows
    would leave no other token. Xia et al. 2022, "Lossless acceleration for seq2seq generation with aggressive decoding"
    (arXiv 2205.10350), the "++" of generalised aggressive decoding; its drafter is a trained one, this takes any.

    >>> import espalier as es
    >>> small, big = (es.models.Table.random(vocab_size=3, depth=d, seed=0) for d in (1, 2))
    >>> drafter = es.drafting.DraftModel(small, tree=es.drafting.Chain(3, kind="deterministic"))
    >>> [x] = es.run(es.speculate(big, es.Prefix([0]), es.stop.budget(8), drafter, Relaxed(2, gap=1.0), es.Rng(0)))
    >>> len(x.written()), big.passes < 8
    (8, True)
    """

    guarantee: ClassVar[Guarantee] = "lossy"

    def __init__(self, top: int = 5, gap: float = 3.0) -> None:
        require(top >= 1, f"top={top}: the most probable token at least is accepted")
        require(gap >= 0, f"gap={gap}: a difference of log-probabilities, 0 or more")
        self.top, self.gap = top, gap

    def choose(self, p: Tensor, law: Law | None, tokens: Sequence[int], rng: Rng) -> tuple[int, bool]:
        best = p.max()
        least = max(float(p.topk(min(self.top, len(p))).values[-1]), float(best) * math.exp(-self.gap))
        found = next((token for token in tokens if p[token] > 0 and float(p[token]) >= least), None)
        token = int(p.argmax()) if found is None else found
        return token, token in tokens


class Ensemble(NodeByNode):
    """`Rejection` whose target is the mixture (1 - w) p + w q of target and drafter, where the drafter has a law.

    Lossy: each drafted position follows the mixture, limited to what the target gives any probability (so no constraint or
    truncation is broken); w = 0 is exact. After the draft the target speaks alone. Fu et al. 2025, "Speculative ensemble"
    (arXiv 2502.01662), weighted form.

    >>> import espalier as es
    >>> small, big = (es.models.Table.random(vocab_size=3, depth=d, seed=0) for d in (1, 2))
    >>> drafter, stop = es.drafting.DraftModel(small, tokens=3), es.stop.budget(8)
    >>> [x] = es.run(es.speculate(big, es.Prefix([0]), stop, drafter, Ensemble(0.3), es.Rng(0)))
    >>> len(x.written()), big.passes < 8
    (8, True)
    """

    guarantee: ClassVar[Guarantee] = "lossy"
    accepts: ClassVar[frozenset[Kind]] = frozenset({"with replacement", "without replacement"})
    why: ClassVar[str] = "it mixes the target's law with the drafter's, and a deterministic draft has none"

    def __init__(self, weight: float = 0.3) -> None:
        require(0 <= weight < 1, f"weight={weight}: the drafter's share is at least 0 and below 1; 0 is exact")
        self.weight = weight

    def choose(self, p: Tensor, law: Law | None, tokens: Sequence[int], rng: Rng) -> tuple[int, bool]:
        q = drawn_from(law, tokens[0], p)
        share = self.weight if law is not None else 0.0
        mixed = ((1 - share) * p + share * q) * (p > 0)
        return accept_or_redraw(mixed / mixed.sum(), q, tokens[0], rng)

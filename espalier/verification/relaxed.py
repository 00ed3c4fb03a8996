"""Lossy variants of rejection: more is accepted than the target's law allows, by an amount that is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from espalier.drafting.draft import Kind, Law
from espalier.errors import require
from espalier.rng import Rng
from espalier.verification.verifier import Guarantee
from espalier.verification.walk import NodeByNode, accept_or_redraw, drawn_from


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

"""Verification by rejection: a draw from q is accepted with probability min(1, p/q), else the residual speaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from espalier.drafting.draft import Law
from espalier.rng import Rng
from espalier.verification.node_by_node import NodeByNode, accept_or_redraw, drawn_from, residual
from espalier.verification.verifier import Guarantee


class Rejection(NodeByNode):
    """The drawn chain as far as it is accepted, then one token of the residual, or of the last row if all was accepted.

    Guarantee: sampling, for chains drawn from the laws they carry: P(accept) = Σ min(p, q), the most that one draw allows.
    Of several children only the first is tried. A node without a law (a deterministic choice) counts as drawn from a one-hot
    q, which is exact as well. Leviathan, Kalman, Matias 2023, "Fast inference from transformers via speculative decoding"
    (arXiv 2211.17192); Chen et al. 2023, "Accelerating large language model decoding with speculative sampling"
    (arXiv 2302.01318).

    >>> import espalier as es
    >>> small, big = (es.models.Table.random(vocab_size=3, depth=d, seed=0) for d in (1, 2))
    >>> drafter, stop = es.drafting.DraftModel(small, tokens=3), es.stop.budget(8)
    >>> [x] = es.run(es.speculate(big, es.Prefix([0]), stop, drafter, Rejection(), es.Rng(0)))
    >>> len(x.written()), big.passes < 8
    (8, True)
    """

    guarantee: ClassVar[Guarantee] = "sampling"

    def choose(self, p: Tensor, law: Law | None, tokens: Sequence[int], rng: Rng) -> tuple[int, bool]:
        return accept_or_redraw(p, drawn_from(law, tokens[0], p), tokens[0], rng)


class Recursive(NodeByNode):
    """The first child that is accepted at each node, every refused one leaving its residual as the target of the next.

    Child i is accepted with probability min(1, p_i(y)/q_i(y)), else p_{i+1} = norm((p_i - q_i)+). With replacement q_i is q;
    without, q with the earlier children removed, and uniform over what was not tried once nothing of q is left. Children
    without a law count as one-hot draws, which makes this `MultiCandidate` for them. Guarantee: sampling, for draws with and
    without replacement. Jeon et al. 2024, "Recursive speculative decoding" (arXiv 2402.14160: RSD-C, RSD-S); Miao et al.
    2023, "SpecInfer" (arXiv 2305.09781); Chen et al. 2024, "Sequoia" (arXiv 2402.12374: the exhausted q).

    >>> import espalier as es
    >>> small, big = (es.models.Table.random(vocab_size=3, depth=d, seed=0) for d in (1, 2))
    >>> drafter, stop = es.drafting.DraftModel(small, tree=es.drafting.KConfig((2, 1))), es.stop.budget(8)
    >>> [x] = es.run(es.speculate(big, es.Prefix([0]), stop, drafter, Recursive(), es.Rng(0)))
    >>> len(x.written()), big.passes < 8
    (8, True)
    """

    guarantee: ClassVar[Guarantee] = "sampling"

    def choose(self, p: Tensor, law: Law | None, tokens: Sequence[int], rng: Rng) -> tuple[int, bool]:
        for i, y in enumerate(tokens):
            q = drawn_from(law, y, p, tokens[:i])
            if rng.flip(float(p[y] / q[y])):
                return y, True
            p = residual(p, q)
        return rng.categorical(p), False

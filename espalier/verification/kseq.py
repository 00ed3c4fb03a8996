"""k-SEQ: verification of k independent draws at once, close to the optimal transport between p and q^k."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from espalier.drafting.draft import Kind, Law
from espalier.errors import require
from espalier.rng import Rng
from espalier.verification.node_by_node import NodeByNode, one_by_one
from espalier.verification.verifier import Guarantee


class KSeq(NodeByNode):
    """The first of a node's k draws that is accepted with probability min(1, p(y) / (ρ q(y))), else one from what is left.

    With b = Σ min(q, p/ρ) a draw is accepted, P = 1 - (1 - b)^k any; ρ in [1, k] is the least for which P ≤ ρ b, and what is
    left is p - min(q, p/ρ) P/b. Guarantee: sampling, for draws with replacement from one q (for k = 1 it is `Rejection`);
    P is at least 1 - 1/e of what any coupling of p with q^k could reach. Of chains drawn independently, those that begin
    with the accepted tokens remain: a tree in which a node has as many children as chains run through it.
    Sun et al. 2023, "SpecTr: Fast speculative decoding via optimal transport" (arXiv 2310.15141).

    >>> import espalier as es
    >>> small, big = (es.models.Table.random(vocab_size=3, depth=d, seed=0) for d in (1, 2))
    >>> drafter, stop = es.drafting.DraftModel(small, tree=es.drafting.Chains(3, 2)), es.stop.budget(8)
    >>> [x] = es.run(es.speculate(big, es.Prefix([0]), stop, drafter, KSeq(), es.Rng(0)))
    >>> len(x.written()), big.passes < 8
    (8, True)
    """

    guarantee: ClassVar[Guarantee] = "sampling"
    accepts: ClassVar[frozenset[Kind]] = frozenset({"with replacement"})
    why: ClassVar[str] = "what it leaves after k refusals assumes that all k children are independent draws from one law"

    def choose(self, p: Tensor, law: Law | None, tokens: Sequence[int], rng: Rng) -> tuple[int, bool]:
        if law is None:  # chosen, not drawn: nothing to transport
            return one_by_one(p, tokens, rng)
        require(law.replacement, "k-SEQ was given siblings that were drawn without replacement; use Recursive for them")
        q = law.after(()).to(p)
        rho = least_rho(p, q, len(tokens))
        taken = torch.minimum(q, p / rho)
        for y in tokens:
            if rng.flip(float(taken[y] / q[y])):
                return y, True
        b = float(taken.sum())
        tries = (1 - (1 - b) ** len(tokens)) / b if b > 0 else len(tokens)
        rest = (p - taken * tries).clamp(min=0)
        return rng.categorical(rest if bool(rest.any()) else p), False


def least_rho(p: Tensor, q: Tensor, k: int) -> float:
    """The least ρ in [1, k] with 1 - (1 - b(ρ))^k ≤ ρ b(ρ), b(ρ) = Σ min(q, p/ρ): for it accepting never takes more than p.

    >>> least_rho(torch.tensor([0.5, 0.5]), torch.tensor([0.5, 0.5]), 1)
    1.0
    """

    def holds(rho: float) -> bool:
        b = float(torch.minimum(q, p / rho).sum())
        return 1 - (1 - b) ** k <= rho * b

    low, high = 1.0, float(k)
    if holds(low):
        return low
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high

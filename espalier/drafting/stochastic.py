"""Trees of beams that are drawn, not chosen: as wide at every level, and still exact under sampling."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence

import torch

from espalier.drafting.draft import Kind
from espalier.drafting.policy import Growth, TreePolicy
from espalier.errors import require


class StochasticBeam(TreePolicy):
    """`width` slots per level, `depth` levels; a slot goes to a parent with the probability that it has left.

    The parents' share of a level is their path probability times what q has left below them, so a level is a sample without
    replacement from its paths. As in RSD-S, likely beams get more children; there the shares come from Gumbel scores of the
    whole path, here the parent is drawn first and then the token, which shows on its face that no slot depends on its own
    token. After Jeon et al. 2024, "Recursive speculative decoding" (arXiv 2402.14160), and Kool et al. 2019 (arXiv
    1903.06059).

    >>> import espalier as es
    >>> from espalier.drafting.policy import Constant, grow
    >>> model = es.models.Table.random(vocab_size=4, depth=2, seed=0)
    >>> [draft] = es.run(grow(model, es.Prefix([1]), StochasticBeam(width=3, depth=2), Constant(9), es.Rng(0)))
    >>> [draft.depth(n) for n in range(1, 7)]
    [1, 1, 1, 2, 2, 2]
    """

    kind: Kind = "without replacement"

    def __init__(self, width: int = 4, depth: int = 4) -> None:
        require(width >= 1 and depth >= 1, f"width={width}, depth={depth}: each is at least 1")
        self.width, self.depth = width, depth

    def grow(self, growth: Growth) -> Generator[Sequence[int], None, None]:
        level = [0]
        for _ in range(self.depth):
            yield level
            parents, level = level, []
            for _ in range(self.width):
                left = [math.exp(growth.logp(n)) * float(growth.rest(n).sum()) for n in parents]
                if not any(left):
                    break
                parent = parents[growth.rng.categorical(torch.tensor(left, dtype=torch.float64))]
                node = growth.fill(parent)
                if node is not None:
                    level.append(node)
            if not level:
                return

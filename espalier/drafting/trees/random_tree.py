"""Trees drawn at random: independent chains, and stochastic beam search."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Generator, Sequence

import torch

from espalier.drafting.draft import Kind, budget
from espalier.drafting.policies import Growth, TreePolicy


class Chains(TreePolicy):
    """`chains` independent chains of `depth` draws each, equal beginnings shared: the drafts of SpecTr, for `KSeq`.

    Sun et al. 2023, "SpecTr" (arXiv 2310.15141).

    >>> import espalier as es
    >>> from espalier.drafting.policies import Constant, grow
    >>> model = es.models.Table.random(vocab_size=4, depth=2, seed=0)
    >>> [draft] = es.run(grow(model, es.Prefix([1]), Chains(4, 2), Constant(2), es.Rng(0)))
    >>> len(draft.children[0]), sum(len(draft.children[node]) for node in set(draft.children[0]))
    (4, 4)
    """

    kind: Kind = "with replacement"

    def __init__(self, chains: int = 4, depth: int = 4) -> None:
        budget(chains=chains, depth=depth)
        self.chains, self.depth = chains, depth

    def grow(self, growth: Growth) -> Generator[Sequence[int], None, None]:
        level = Counter({0: self.chains})
        for _ in range(self.depth):
            yield list(level)
            level = Counter(child for node, n in level.items() for child in growth.level([node], n))
            if not level:
                return


class StochasticBeam(TreePolicy):
    """RSD-S: at each depth a sample without replacement of `width` paths, the deeper one made of children of the upper one.

    Stochastic beam search perturbs path probabilities with Gumbel noise and keeps the largest. The order in which paths are
    kept is that of a race of exponential clocks with rates q(path), and such a race has no memory, so the same law comes
    from choices among finitely many (and can be enumerated): the next path is a new child of a node that was reached
    already, with probability proportional to the mass its drawn children leave, or else the first child of the next node.
    Whether a slot exists thus depends on tokens drawn before it only. For `Recursive`. Kool, van Hoof, Welling 2019,
    "Stochastic beams and where to find them" (arXiv 1903.06059); Jeon et al. 2024, "Recursive speculative decoding" (arXiv
    2402.14160).

    >>> import espalier as es
    >>> from espalier.drafting.policies import Constant, grow
    >>> model = es.models.Table.random(vocab_size=4, depth=2, seed=0)
    >>> [draft] = es.run(grow(model, es.Prefix([1]), StochasticBeam(3, 2), Constant(2), es.Rng(0)))
    >>> [draft.depth(node) for node in range(len(draft) + 1)]
    [0, 1, 1, 1, 2, 2, 2]
    """

    kind: Kind = "without replacement"

    def __init__(self, width: int = 4, depth: int = 4) -> None:
        budget(width=width, depth=depth)
        self.width, self.depth = width, depth

    def grow(self, growth: Growth) -> Generator[Sequence[int], None, None]:
        level = [0]
        for _ in range(self.depth):
            yield level
            level = self._next(growth, level)
            if not level:
                return

    def _next(self, growth: Growth, level: Sequence[int]) -> list[int]:
        """The paths one token longer, in the order in which their clocks ring."""
        paths: list[int] = []
        left: list[float] = []  # of each node that was reached: the mass that its drawn children leave
        outside = 1.0  # the mass of all nodes that were not
        while len(paths) < self.width:
            more, inside = len(left) < len(level), math.fsum(left)
            if inside > 0 and not (more and growth.rng.flip(outside / (inside + outside))):
                at = growth.rng.categorical(torch.tensor(left, dtype=torch.float64))
            elif more:
                at = len(left)
                left.append(0.0)
                outside = max(0.0, outside - math.exp(growth.logp(level[at])))
            else:
                break
            child = growth.fill(level[at])
            paths += [child] if child is not None else []
            left[at] = math.exp(growth.logp(level[at])) * float(growth.rest(level[at]).double().sum())
        return paths

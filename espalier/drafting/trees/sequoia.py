"""The best static tree for a measured acceptance per sibling, and the best size for a measured cost per pass."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

import numpy as np

from espalier.drafting.draft import Draft, Kind, budget
from espalier.drafting.policies import Growth, TreePolicy
from espalier.drafting.trees.fixed_tree import Path, Template
from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rows import Rows


class Acceptance:
    """Counts of how often the b-th sibling was accepted when those before it were not; shared by whoever observes into it.

    `vector` starts from a prior of `prior[b]`, worth `weight` observations each.

    >>> Acceptance(prior=(0.5, 0.25)).vector
    [0.5, 0.25]
    """

    def __init__(self, prior: Sequence[float] = (0.6, 0.2, 0.1, 0.05), weight: float = 10.0) -> None:
        require(all(0 <= a <= 1 for a in prior) and len(prior) > 0, f"prior={tuple(prior)}: probabilities, at least one")
        self.taken = [a * weight for a in prior]
        self.tried = [weight] * len(prior)

    def observe(self, x: Prefix, draft: Draft) -> None:
        """Counts the siblings that a verifier tried on the path to x. Where it stopped for another reason it saw none."""
        path = [0, *draft.accepted(x)]
        for at, node in enumerate(path):
            children = draft.children[node]
            if not children or (at + 1 == len(path) and not draft.missed(x)):
                continue
            hit = children.index(path[at + 1]) if at + 1 < len(path) else len(children)
            for b in range(min(hit + 1, len(children), len(self.tried))):
                self.tried[b] += 1
                self.taken[b] += b == hit

    @property
    def vector(self) -> list[float]:
        """a_b = P(b-th sibling is accepted | those before it were not)."""
        return [taken / tried for taken, tried in zip(self.taken, self.tried, strict=True)]


def best_tree(acceptance: Sequence[float], nodes: int, depth: int) -> tuple[float, list[Path]]:
    """The largest expected number of accepted tokens with up to `nodes` slots and `depth` levels, and a tree that has it.

    `acceptance[b]` is the probability that the b-th sibling is accepted given that those before it were not, wherever it
    stands; so a slot is worth the product, along its path, of its acceptance and of the misses of its elder siblings. Exact
    by dynamic programming over (slots, levels, siblings). Chen et al. 2024, "Sequoia" (arXiv 2402.12374).

    >>> best_tree([0.5, 0.5], nodes=2, depth=2)
    (0.75, [(0,), (0, 0)])
    >>> best_tree([0.5, 0.9], nodes=2, depth=2)
    (0.95, [(0,), (1,)])
    """
    budget(nodes=nodes, depth=depth)
    return _Programme(acceptance, nodes, depth).tree(nodes, depth)


class _Programme:
    """value[l, b, m]: expected tokens of m slots for the siblings from the b-th on and l levels; below[l, b, m]: how many of
    them go below the b-th."""

    def __init__(self, acceptance: Sequence[float], nodes: int, depth: int) -> None:
        require(len(acceptance) > 0 and all(0 <= a <= 1 for a in acceptance), f"acceptance={acceptance}: probabilities needed")
        siblings = len(acceptance)
        self.value = value = np.zeros((depth + 1, siblings + 1, nodes + 1))
        self.below = np.zeros((depth + 1, siblings + 1, nodes + 1), dtype=int)
        for levels in range(1, depth + 1):
            for b in reversed(range(siblings)):
                a = acceptance[b]
                for m in range(1, nodes + 1):
                    options = a * (1 + value[levels - 1, 0, :m]) + (1 - a) * value[levels, b + 1, m - 1 :: -1][:m]
                    below = m - 1 - int(options[::-1].argmax())  # of equals, the deepest
                    self.below[levels, b, m], value[levels, b, m] = below, options[below]

    def tree(self, nodes: int, depth: int) -> tuple[float, list[Path]]:
        tree = sorted(self._paths(nodes, depth, 0, ()), key=lambda path: (len(path), path))
        return float(self.value[depth, 0, nodes]), tree or [(0,)]

    def _paths(self, m: int, levels: int, b: int, above: Path) -> Iterator[Path]:
        if self.value[levels, b, m] > 0:
            below = int(self.below[levels, b, m])
            yield (*above, b)
            yield from self._paths(below, levels - 1, 0, (*above, b))
            yield from self._paths(m - 1 - below, levels, b + 1, above)


def best_size(
    acceptance: Sequence[float],
    draft_cost: float,
    verify_cost: Callable[[float], float],
    sizes: Iterable[int] = (1, 2, 4, 8, 16, 32, 64),
    depth: int = 8,
) -> tuple[float, list[Path]]:
    """The least time per token over all trees of these sizes and up to `depth` levels, and its tree; [] = do not draft.

    `draft_cost` is the time of one level of drafting, `verify_cost(n)` that of a pass over n nodes, in one unit: a
    `PassCurve`. A tree with m slots costs levels · draft_cost + verify_cost(m + 1) and yields 1 + its expected tokens.
    """
    options: list[tuple[float, list[Path]]] = [(verify_cost(1), [])]
    sizes = sorted(sizes)
    programme = _Programme(acceptance, sizes[-1], depth)
    for m in sizes:
        for levels in range(1, min(depth, m) + 1):
            expected, tree = programme.tree(m, levels)
            taken = max(map(len, tree)) * draft_cost + verify_cost(len(tree) + 1)
            options.append((taken / (1 + expected), tree))
    return min(options, key=lambda option: option[0])


class Sequoia(TreePolicy):
    """The best static tree for the acceptance measured so far, refitted every `refit` rounds.

    Give `nodes` for a tree of that size, or `draft_cost` and `verify_cost` (a `PassCurve`) for the size that gives the
    least time per token; then it may also find that drafting does not pay, and fills one
    slot per `refit` rounds to see whether that changes. The tree is fixed before a
    round, so drawing without replacement and recursive rejection stay exact. Chen et al. 2024 (arXiv 2402.12374).

    >>> Sequoia(nodes=3, acceptance=[0.9, 0.1]).template.paths
    [(0,), (0, 0), (0, 0, 0)]
    >>> Sequoia(draft_cost=1.0, verify_cost=lambda nodes: 10.0 + nodes, acceptance=[0.8, 0.1]).template.paths
    [(0,), (0, 0), (0, 0, 0), (0, 0, 0, 0)]
    """

    def __init__(
        self,
        nodes: int | None = None,
        depth: int = 8,
        acceptance: Acceptance | Sequence[float] | None = None,
        draft_cost: float | None = None,
        verify_cost: Callable[[float], float] | None = None,
        kind: Kind = "without replacement",
        refit: int = 64,
    ) -> None:
        costs = [draft_cost is not None, verify_cost is not None]
        require(
            all(costs) if nodes is None else not any(costs),
            "Sequoia: give either nodes=, or draft_cost= and verify_cost= (milliseconds; see es.drafting.pass_cost)",
        )
        budget(nodes=1 if nodes is None else nodes)
        given = acceptance if isinstance(acceptance, Acceptance) else Acceptance(acceptance) if acceptance else Acceptance()
        self.acceptance, self.kind, self.depth, self.refit = given, kind, depth, refit
        self._size, self._costs, self._rounds = nodes, (draft_cost, verify_cost), 0
        self._fit()

    def _fit(self) -> None:
        draft_cost, verify_cost = self._costs
        if draft_cost is not None and verify_cost is not None:
            paths = best_size(self.acceptance.vector, draft_cost, verify_cost, depth=self.depth)[1]
        else:
            paths = best_tree(self.acceptance.vector, self._size or 1, self.depth)[1]
        self.template = Template(paths, self.kind) if paths else None

    def grow(self, growth: Growth) -> Generator[Sequence[int], None, None]:
        if self.template is not None:
            yield from self.template.grow(growth)
        elif self._rounds % self.refit == 0:  # what is never tried is never measured: a probe
            yield from Template([(0,)], self.kind).grow(growth)

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        self.acceptance.observe(x, draft)
        self._rounds += 1
        if self._rounds % self.refit == 0:
            self._fit()

"""Monte-Carlo tree searches over tokens: choose a way down by what came of it, complete the text, score it."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field

from espalier.decoders.decoder import at_least
from espalier.decoders.steps.candidate import Candidate
from espalier.decoders.steps.search import Search
from espalier.decoders.steps.space import Space
from espalier.errors import require
from espalier.run import Decoder


@dataclass(eq=False, slots=True)
class Place:
    """A node of the tree: its candidate, its k next tokens with their chances, and what came of each."""

    candidate: Candidate
    priors: dict[int, float]
    logps: dict[int, float]
    visits: int = 1
    returns: dict[int, list[float]] = field(default_factory=dict)
    below: dict[int, Place] = field(default_factory=dict)

    known: bool = False  # every text below has been scored

    def close(self) -> None:
        """Notes whether everything below is known."""
        self.known = all(token in self.below and self.below[token].known for token in self.priors)


@dataclass(frozen=True)
class _Tree(Search):
    """`rollouts` times: from the root down by Q + β · prior · sqrt(log visits) / (1 + visits of the child), with
    β = log((visits + base + 1) / base) + explore; the first place without a node becomes one, its text is completed and
    scored."""

    rollouts: int = 256
    branch: int = 3
    explore: float = 4.0
    base: float = 10.0
    sample: bool = False  # completions are drawn, not greedy

    def check(self) -> None:
        at_least(self, rollouts=1, branch=1)
        require(self.base > 0, f"base={self.base}: a number above 0")

    @abstractmethod
    def worth(self, returns: list[float]) -> float:
        """What a child is worth by the scores of the texts that went through it."""

    def grow(self, space: Space) -> Decoder[None]:
        """Rollout by rollout, until the budget ends or everything is known."""
        root = yield from self._place(space, space.root)
        yield from self._finish(space, [], root)
        for _ in range(self.rollouts):
            node, path = root, list[tuple[Place, int]]()
            while True:
                token = self._choose(node)
                if token is None:
                    break
                path.append((node, token))
                if token not in node.below:
                    break
                node = node.below[token]
            if not path:
                return
            parent, token = path[-1]
            child = space.step(parent.candidate, [token], parent.logps[token])
            parent.below[token] = yield from self._place(space, child)
            yield from self._finish(space, path, parent.below[token])

    def _place(self, space: Space, c: Candidate) -> Decoder[Place]:
        top = [] if c.over else (yield from space.top(c, self.branch))
        total = math.fsum(math.exp(logp) for _, logp in top)
        return Place(c, {t: math.exp(p) / total for t, p in top}, dict(top))

    def _finish(self, space: Space, path: list[tuple[Place, int]], place: Place) -> Decoder[None]:
        """Completes the text of a place, and tells its score to all that led there."""
        whole = [place.candidate]
        if not place.candidate.over:
            whole = yield from space.expand([place.candidate], greedy=not self.sample, whole=True)
        self._book(path, space.evaluate(whole)[0] if whole else -math.inf)
        place.close()
        for node, _ in reversed(path):
            node.close()

    @staticmethod
    def _book(path: list[tuple[Place, int]], value: float) -> None:
        for node, token in path:
            node.visits += 1
            node.returns.setdefault(token, []).append(value)

    def _choose(self, node: Place) -> int | None:
        open_ = [token for token in node.priors if token not in node.below or not node.below[token].known]
        if not open_:
            return None
        beta = math.log((node.visits + self.base + 1) / self.base) + self.explore

        def urge(token: int) -> float:
            returns = node.returns.get(token, [])
            worth = self.worth(returns) if returns else 0.0
            return worth + beta * node.priors[token] * math.sqrt(math.log(node.visits + 1e-9)) / (1 + len(returns))

        return max(open_, key=urge)


@dataclass(frozen=True)
class PGTD(_Tree):
    """Planning-guided decoding: a tree over tokens in which a child is worth the best score of a text that went through it.

    For scores that are the share of public tests passed (`es.scorers.unit_tests`). Guarantee: a heuristic that can be stopped
    at any time; rows and scores are computed once, however often a place is visited. Zhang et al. 2023 (arXiv 2303.05510).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=2, seed=0)
    >>> search = PGTD(rollouts=20, score=lambda cs: [float(c.tokens == (2, 1, 3)) for c in cs], branch=4)
    >>> [found] = es.run(search(model, es.Prefix([1]), es.stop.budget(3), es.Rng(0)))
    >>> found.stats.calls == len(found.all)
    True
    """

    def worth(self, returns: list[float]) -> float:
        return max(returns)


@dataclass(frozen=True)
class MCTS(_Tree):
    """Monte-Carlo tree search over tokens, in which a child is worth the mean score of the texts that went through it.

    For scores of finished texts by slow tools (`es.scorers.staged` calls the dear ones last). Guarantee: a heuristic that can
    be stopped at any time. DeLorenzo et al. 2024, for hardware (arXiv 2402.03289).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=2, seed=0)
    >>> search = MCTS(rollouts=20, score=lambda cs: [float(c.tokens == (2, 1, 3)) for c in cs], branch=4)
    >>> [found] = es.run(search(model, es.Prefix([1]), es.stop.budget(3), es.Rng(0)))
    >>> found.stopped
    'done'
    """

    def worth(self, returns: list[float]) -> float:
        return math.fsum(returns) / len(returns)

"""ADED: a tri-gram matrix that adapts to the text, searched by Monte Carlo tree search."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from espalier.drafting.draft import Draft, Drafter, ModelFree, PerText, budget
from espalier.drafting.text_log import Reading
from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rng import Rng

Pair = tuple[int, int]


class ADED(PerText):
    """A trie of the best sequences that a tree search finds in a table of tri-gram weights.

    The table starts from the tri-gram frequencies of a `corpus` (the `top` successors of each pair) and each new token adds
    `step` to its tri-gram, up to `most`, so weights are scores rather than probabilities. Each round runs `rollouts`
    iterations of a search of depth `depth` (PUCT, as AlphaZero's, with the tri-gram weight as the prior), and the sequences
    that were visited most are merged into a trie of at most `nodes`. Rollouts draw from the drafter's own stream; a trie of
    found sequences follows no law, so the draft counts as deterministic.
    Liu et al. 2024, "Adaptive draft-verification for efficient large language model decoding" (arXiv 2407.12021).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=5, depth=1, seed=0)
    >>> verify, stop = es.verification.SampleMatch(), es.stop.budget(30)
    >>> [x] = es.run(es.speculate(model | es.temperature(0), es.Prefix([1]), stop, ADED(), verify, es.Rng(0)))
    >>> len(x.written()), model.passes < 30
    (30, True)
    """

    def __init__(
        self,
        corpus: Iterable[Sequence[int]] = (),
        nodes: int = 24,
        depth: int = 4,
        rollouts: int = 32,
        top: int = 12,
        step: float = 0.04,
        most: float = 3.0,
    ) -> None:
        budget(nodes=nodes)
        budget(depth=depth, rollouts=rollouts, top=top)
        require(0 < step <= most, f"step={step}, most={most}: need 0 < step ≤ most")
        self.nodes, self.depth, self.rollouts, self.top, self.step, self.most = nodes, depth, rollouts, top, step, most
        self.table = _frequencies(corpus, top)

    def begin(self, x: Prefix) -> Drafter:
        return _Search(self)


def _frequencies(corpus: Iterable[Sequence[int]], top: int) -> dict[Pair, dict[int, float]]:
    counts: dict[Pair, dict[int, float]] = {}
    for text in corpus:
        for a, b, c in zip(text, text[1:], text[2:], strict=False):
            after = counts.setdefault((a, b), {})
            after[c] = after.get(c, 0.0) + 1
    for pair, after in counts.items():
        total = sum(after.values())
        counts[pair] = {c: n / total for c, n in sorted(after.items(), key=lambda entry: -entry[1])[:top]}
    return counts


class _Visit:
    """A node of the search: the last pair, its expanded successors, visits and score."""

    __slots__ = ("children", "pair", "score", "visits", "weight")

    def __init__(self, pair: Pair, weight: float) -> None:
        self.pair, self.weight = pair, weight
        self.visits, self.score = 0, 0.0
        self.children: dict[int, _Visit] | None = None


class _Search(ModelFree):
    """One request's own weights, over the corpus'."""

    def __init__(self, settings: ADED) -> None:
        self.settings, self._text = settings, Reading()
        self._own: dict[Pair, dict[int, float]] = {}

    def draft(self, x: Prefix, rng: Rng) -> Draft:
        s, draft = self.settings, Draft(x)
        self._learn(x)
        ids = self._text.ids
        if len(ids) < 2:
            return draft
        root = _Visit((ids[-2], ids[-1]), 1.0)
        if not self._after(root.pair):
            return draft
        for _ in range(s.rollouts):
            self._descend(root, rng)
        visited: list[tuple[int, tuple[int, ...]]] = []
        _collect(root, (), visited)
        for _, path in sorted(visited, key=lambda entry: (-entry[0], len(entry[1]), entry[1]))[: s.nodes]:
            draft.extend(0, path)  # a beginning is visited at least as often, so it is there: one node more
        return draft

    def _learn(self, x: Prefix) -> None:
        known, ids = self._text.read(x), self._text.ids
        if known == 0:
            self._own = {}
        for a, b, c in zip(ids[max(known - 2, 0) :], ids[max(known - 1, 1) :], ids[max(known, 2) :], strict=False):
            after = self._own.setdefault((a, b), dict(self.settings.table.get((a, b), {})))
            after[c] = min(after.get(c, 0.0) + self.settings.step, self.settings.most)
            if len(after) > self.settings.top:
                del after[min(after, key=after.__getitem__)]

    def _after(self, pair: Pair) -> dict[int, float]:
        found = self._own.get(pair)
        return found if found is not None else self.settings.table.get(pair, {})

    def _descend(self, root: _Visit, rng: Rng) -> None:
        path = [root]
        while path[-1].children and len(path) <= self.settings.depth:
            here = path[-1]
            explore = (32 + math.log((here.visits + 9) / 8)) * math.sqrt(here.visits)
            path.append(max((here.children or {}).values(), key=lambda c: _puct(c, explore)))
        leaf = path[-1]
        if leaf.children is None and len(path) <= self.settings.depth:
            leaf.children = {c: _Visit((leaf.pair[1], c), w) for c, w in self._after(leaf.pair).items()}
        gained = self._roll_out(leaf.pair, self.settings.depth + 1 - len(path), rng)
        for node in reversed(path):
            node.visits += 1
            node.score += gained
            gained += node.weight

    def _roll_out(self, pair: Pair, steps: int, rng: Rng) -> float:
        total = 1.0
        for _ in range(steps):
            after = self._after(pair)
            if not after:
                break
            token = _draw(after, rng)
            total += after[token]
            pair = (pair[1], token)
        return total


def _draw(weights: dict[int, float], rng: Rng) -> int:
    """A key, drawn with probability proportional to its weight: by flips, since there are few and tensors cost more."""
    rest = sum(weights.values())
    *others, last = weights
    for token in others:
        if rng.flip(weights[token] / rest):
            return token
        rest -= weights[token]
    return last


def _puct(child: _Visit, explore: float) -> float:
    return (child.score / child.visits if child.visits else 0.0) + explore * child.weight / (1 + child.visits)


def _collect(node: _Visit, path: tuple[int, ...], into: list[tuple[int, tuple[int, ...]]]) -> None:
    for token, child in (node.children or {}).items():
        if child.visits:
            into.append((child.visits, (*path, token)))
            _collect(child, (*path, token), into)

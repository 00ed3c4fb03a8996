"""Searches over steps that look at whole texts: foresight (φ-decoding) and blocks ranked by an encoder (RankGen)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from espalier.decoders.decoder import at_least
from espalier.decoders.steps.best_of_and_rebase import distinct
from espalier.decoders.steps.candidate import Candidate
from espalier.decoders.steps.search import Search
from espalier.decoders.steps.space import Space, draw
from espalier.errors import require
from espalier.rng import Rng
from espalier.run import Decoder

Cluster = Callable[[list[Candidate], int, Rng], Sequence[int]]


def by_tokens(candidates: list[Candidate], k: int, rng: Rng) -> list[int]:
    """At most k groups of candidates with similar counts of tokens: each joins the nearest of k far-apart ones (cosine).

    >>> made = [Candidate("", t, 0.0, None, 1, None) for t in [(1, 1), (1, 1, 1), (2, 3)]]
    >>> by_tokens(made, 2, Rng(0))
    [0, 0, 1]
    """
    bags = [Counter(c.tokens) for c in candidates]

    def near(a: Counter[int], b: Counter[int]) -> float:
        size = math.sqrt(sum(v * v for v in a.values()) * sum(v * v for v in b.values()))
        return sum(a[t] * b[t] for t in a) / size if size else 1.0

    centres = [0]
    while len(centres) < min(k, len(bags)):
        far = min(range(len(bags)), key=lambda i: max(near(bags[i], bags[c]) for c in centres))
        if max(near(bags[far], bags[c]) for c in centres) > 1 - 1e-9:
            break
        centres.append(far)
    return [max(range(len(centres)), key=lambda j: near(bag, bags[centres[j]])) for bag in bags]


@dataclass(frozen=True)
class _Beam:
    candidate: Candidate
    foresight: float  # what a step must promise more than


@dataclass(frozen=True)
class Phi(Search):
    """φ-decoding: steps are kept by what a rollout from them promises more than before, and by how many rollouts agree.

    `beams` × `candidates` steps are drawn; those far below the others are dropped; the rest are rolled out to the end; `beams`
    of them are drawn from ½ softmax(advantage / temperature) + ½ softmax(share of their cluster). When one cluster holds
    `agree` of them, foresight ends and each beam is completed. A rollout promises its mean log-probability, and the result is
    drawn from the larger of two clusters (the paper); with a `score`, it promises its score, its advantage is over the
    score of the prefix, and the best rollout is the result (ours). Xu et al. 2025 (arXiv 2503.13288).

    >>> import espalier as es
    >>> model, steps = es.models.Table.random(vocab_size=4, depth=2, seed=0), es.decoders.Steps(tokens=1)
    >>> search = Phi(2, 2, steps=steps)
    >>> [found] = es.run(search(model, es.Prefix([1]), es.stop.budget(3), es.Rng(0)))
    >>> len(found.best.tokens)
    3
    """

    beams: int = 4
    candidates: int = 4
    depth: int = 8
    sigma: float = 1.0
    temperature: float = 0.1
    clusters: int = 3
    agree: float = 0.69
    least: int = 4
    cluster: Cluster = field(default=by_tokens)

    def check(self) -> None:
        at_least(self, beams=1, candidates=1, depth=1, clusters=1, least=0)
        require(self.temperature > 0, f"temperature={self.temperature}: a number above 0; small is greedy")

    def grow(self, space: Space) -> Decoder[None]:
        """Depth by depth, then the beams to their ends."""
        live = [_Beam(space.root, 0.0)] * self.beams
        for depth in range(self.depth):
            over = [b for b in live if b.candidate.over]
            parents = [b for b in live if not b.candidate.over]
            drawn = distinct((yield from space.expand([b.candidate for b in parents for _ in range(self.candidates)])))
            steps = self._within(drawn, space) + [b.candidate for b in over]
            if not steps:
                return
            rolled = yield from self._rollouts(space, steps)
            before = {id(b.candidate): b.foresight for b in live}
            promised = [self._promise(space, whole) for _, whole in rolled]
            known = [before.get(id(c.parent), before.get(id(c), 0.0)) for c, _ in rolled]
            gains = [now - then for now, then in zip(promised, known, strict=True)]
            live, largest = self._kept(rolled, gains, space)
            if all(b.candidate.over for b in live) or (depth + 1 >= self.least and largest >= self.agree):
                break
        yield from self._close(space, live)

    @staticmethod
    def _promise(space: Space, whole: Candidate) -> float:
        return whole.mean if space.score is None else space.evaluate([whole])[0]

    def _within(self, drawn: list[Candidate], space: Space) -> list[Candidate]:
        """Those whose own log-probability is not far below the others', refilled by drawing if too few are left."""
        values = [c.last_logp for c in drawn]
        if not values:
            return []
        mean = math.fsum(values) / len(values)
        spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / len(values))
        kept = [c for c, v in zip(drawn, values, strict=True) if v > mean - self.sigma * spread - 1e-12]
        while len(kept) < min(self.beams, len(drawn)):
            left = [v / self.temperature if c not in kept else -math.inf for c, v in zip(drawn, values, strict=True)]
            kept.append(drawn[draw(left, space.rng)])
        return kept

    def _rollouts(self, space: Space, steps: list[Candidate]) -> Decoder[list[tuple[Candidate, Candidate]]]:
        open_ = [c for c in steps if not c.over]
        wholes = (yield from space.expand(open_, whole=True)) if open_ else []
        pairs = [(whole.parent, whole) for whole in wholes if whole.parent is not None] + [(c, c) for c in steps if c.over]
        space.evaluate([whole for _, whole in pairs])
        return pairs

    def _kept(self, rolled: list[tuple[Candidate, Candidate]], gains: list[float], space: Space) -> tuple[list[_Beam], float]:
        better = [i for i, gain in enumerate(gains) if gain > 0]
        pool = better if len(better) >= self.beams else list(range(len(rolled)))
        groups = list(self.cluster([rolled[i][1] for i in pool], self.clusters, space.rng))
        sizes = Counter(groups)
        shares = [sizes[g] / len(pool) for g in groups]
        weights = [
            0.5 * a + 0.5 * b
            for a, b in zip(_softmax([gains[i] / self.temperature for i in pool]), _softmax(shares), strict=True)
        ]
        chosen: list[int] = []
        while len(chosen) < min(self.beams, len(pool)):
            at = draw([math.log(w) if j not in chosen and w > 0 else -math.inf for j, w in enumerate(weights)], space.rng)
            if at in chosen:
                break
            chosen.append(at)
        kept = [rolled[pool[j]] for j in chosen]
        own = space.score is not None  # a score knows the prefix itself; a log-probability needs the rollout
        return [_Beam(c, self._promise(space, c if own else whole)) for c, whole in kept], max(shares)

    def _close(self, space: Space, live: list[_Beam]) -> Decoder[None]:
        """Completes each beam; without a score, what is drawn from the larger of two clusters comes first."""
        pairs = yield from self._rollouts(space, [b.candidate for b in live])
        if space.score is not None or not pairs:
            return
        wholes = [whole for _, whole in pairs]
        groups = list(self.cluster(wholes, 2, space.rng))
        largest = Counter(groups).most_common(1)[0][0]
        pool = [c for c, g in zip(wholes, groups, strict=True) if g == largest]
        space.best_first(pool[draw([c.mean / self.temperature for c in pool], space.rng)])


@dataclass(frozen=True)
class Rankgen(Search):
    """A beam over blocks ranked by an encoder: `samples` blocks are drawn after each beam, and the `beams` best texts are kept.

    `steps` is the block (Steps(tokens=20)); `score` sees the whole text so far; a beam that has ended stays. With one beam
    and one block it is over-generate and rerank. Krishna et al. 2022 (arXiv 2205.09726).

    >>> import espalier as es
    >>> model, steps = es.models.Table.random(vocab_size=4, depth=2, seed=0), es.decoders.Steps(tokens=2)
    >>> search = Rankgen(2, 4, score=lambda cs: [float(sum(c.tokens)) for c in cs], steps=steps)
    >>> [found] = es.run(search(model, es.Prefix([1]), es.stop.budget(4), es.Rng(0)))
    >>> len(found) <= 2
    True
    """

    beams: int = 2
    samples: int = 10

    def check(self) -> None:
        at_least(self, beams=1, samples=1)

    def grow(self, space: Space) -> Decoder[None]:
        """Block by block; only the texts of the last beams are results."""
        live = [space.root]
        while not all(c.over for c in live):
            ended = [c for c in live if c.over]
            blocks = yield from space.expand([c for c in live if not c.over for _ in range(self.samples)])
            pool = [*ended, *blocks]
            if not pool:
                return
            ranked = sorted(zip(space.evaluate(pool), range(len(pool)), strict=True), key=lambda pair: (-pair[0], pair[1]))
            live = [pool[i] for _, i in ranked[: self.beams]]
        space.only(live)


def _softmax(values: Sequence[float]) -> list[float]:
    top = max(values)
    weights = [math.exp(v - top) for v in values]
    total = math.fsum(weights)
    return [w / total for w in weights]

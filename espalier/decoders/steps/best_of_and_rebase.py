"""Searches that draw: best of n, how many to draw, and REBASE."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from espalier.decoders.beams.hypothesis import checked
from espalier.decoders.decoder import at_least
from espalier.decoders.steps.candidate import Candidate
from espalier.decoders.steps.search import Search
from espalier.decoders.steps.space import Space
from espalier.errors import require
from espalier.run import Decoder


@dataclass(frozen=True)
class BestOf(Search):
    """n whole texts, drawn side by side, and the one with the best score.

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=2, seed=0)
    >>> best = BestOf(8, score=lambda cs: [c.logp for c in cs])
    >>> [found] = es.run(best(model, es.Prefix([1]), es.stop.budget(3), es.Rng(0)))
    >>> found.best.logp == max(c.logp for c in found.all), found.stopped
    (True, 'done')
    """

    n: int

    def check(self) -> None:
        at_least(self, n=1)

    def grow(self, space: Space) -> Decoder[None]:
        """Draws as many at a time as the budget is likely to see finished."""
        drawn, length = 0, getattr(space.stop, "most", None) or 64
        while drawn < self.n:
            if space.finished:
                length = max(len(tokens) for tokens in space.finished)
            together = max(1, int(min(self.n - drawn, 64, space.spent.left() / max(length, 1))))
            space.evaluate((yield from space.expand([space.root] * together, whole=True)))
            drawn += together


@dataclass(frozen=True)
class Adaptive:
    """How hard to think: `total` samples shared out over prompts where the next one is expected to gain most.

    `predictor(prompts)` gives for each the chance that one sample is right (the b-th sample then gains λ (1 − λ)^(b − 1)), or
    the falling gains of the 1st, 2nd, … sample. Guarantee: the sum of predicted gains is the largest that `total` samples can
    have. Damani et al. 2024 (arXiv 2410.04707).

    >>> Adaptive(lambda prompts: [0.9, 0.3], total=4).allocate(["easy", "hard"])
    [1, 3]
    """

    predictor: Callable[[list[Any]], Sequence[float] | Sequence[Sequence[float]]]
    total: int

    def __post_init__(self) -> None:
        at_least(self, total=1)

    def allocate(self, prompts: Sequence[Any]) -> list[int]:
        """How many samples each prompt gets; their sum is `total`, or less where no gain is left."""
        gains = [self._gains(each) for each in self._predicted(prompts)]
        given = [0] * len(prompts)
        for _ in range(self.total):
            value, best = max(((gain(given[i]), -i) for i, gain in enumerate(gains)), default=(0.0, 0))
            if value <= 0:
                break
            given[-best] += 1
        return given

    def route(self, prompts: Sequence[Any], share: float = 0.5) -> list[bool]:
        """Which prompts go to the strong model: that share of them for which the predictor promises most."""
        require(0 <= share <= 1, f"share={share}: a part of the prompts, between 0 and 1")
        chances = checked([self._gains(each)(0) for each in self._predicted(prompts)], len(prompts), "predictor")
        order = sorted(range(len(prompts)), key=lambda i: (-chances[i], i))
        strong = set(order[: round(share * len(prompts))])
        return [i in strong for i in range(len(prompts))]

    def _predicted(self, prompts: Sequence[Any]) -> list[float | Sequence[float]]:
        predicted: list[float | Sequence[float]] = list(self.predictor(list(prompts)))
        require(len(predicted) == len(prompts), f"predictor gave {len(predicted)} answers for {len(prompts)} prompts")
        return predicted

    @staticmethod
    def _gains(predicted: float | Sequence[float]) -> Callable[[int], float]:
        if isinstance(predicted, Sequence):
            falling = list(predicted)
            ordered = all(a >= b for a, b in itertools.pairwise(falling))
            require(ordered, "predicted gains must fall: each sample gains at most what the one before it did")
            return lambda given: falling[given] if given < len(falling) else 0.0
        require(0 <= predicted <= 1, f"predictor gave {predicted}: a chance is between 0 and 1")
        return lambda given: predicted * (1 - predicted) ** given


@dataclass(frozen=True)
class Rebase(Search):
    """Reward-balanced search: at each depth, `width` continuations are shared out by the scores of the steps so far.

    The root gets `width` steps; a finished text lowers the width; the others get, best first, the ceiling of what is left times
    their share of exp(score / temperature). Guarantee: a heuristic; the shares sum to the width. `depth` steps and
    `tokens` of a whole path bound it: a path that reaches one of them is not gone on with. Wu et al. 2024 (arXiv 2408.00724).

    >>> import espalier as es
    >>> model, steps = es.models.Table.random(vocab_size=4, depth=2, seed=0), es.decoders.Steps(tokens=1)
    >>> search = Rebase(6, score=lambda cs: [c.mean for c in cs], steps=steps)
    >>> [found] = es.run(search(model, es.Prefix([1]), es.stop.budget(3), es.Rng(0)))
    >>> len(found.all) <= 6
    True
    """

    width: int
    temperature: float = 0.2
    depth: int = 25
    tokens: int = 1024

    def check(self) -> None:
        at_least(self, width=1, depth=1, tokens=1)
        require(self.temperature > 0, f"temperature={self.temperature}: a number above 0; small is greedy")

    def grow(self, space: Space) -> Decoder[None]:
        """Depth by depth."""
        shares = [(space.root, self.width)]
        left = self.width
        for _ in range(self.depth):
            parents = [parent for parent, count in shares for _ in range(count)]
            children = yield from space.expand(parents, within=self.tokens)
            scores = space.evaluate(children)
            left -= sum(c.over for c in children)
            open_ = [(c, s) for c, s in zip(children, scores, strict=True) if not c.over and len(c.tokens) < self.tokens]
            if left <= 0 or not open_:
                return
            shares = list(zip([c for c, _ in open_], self.allocate([s for _, s in open_], left), strict=True))

    def allocate(self, scores: Sequence[float], width: int) -> list[int]:
        """How many continuations each gets: the ceiling of its share of what is left, in falling order of score."""
        order = sorted(range(len(scores)), key=lambda i: -scores[i])
        top = scores[order[0]]
        weights = [math.exp((score - top) / self.temperature) for score in scores]
        given, rest = [0] * len(scores), math.fsum(weights)
        for i in order:
            if width <= 0 or rest <= 0:
                break
            given[i] = min(width, math.ceil(width * weights[i] / rest - 1e-9))
            width, rest = width - given[i], rest - weights[i]
        return given


def distinct(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates without repeats of a text."""
    return list({c.tokens: c for c in candidates}.values())

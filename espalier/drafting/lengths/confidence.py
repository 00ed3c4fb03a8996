"""Length policies that stop when the drafter is not sure: of its law, of its token, of its whole beam."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from espalier.drafting.draft import Draft, budget
from espalier.drafting.policies import LengthPolicy, Signals
from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows


class SVIP(LengthPolicy):
    """Goes on while sqrt(c · H(q)) ≤ threshold, H the entropy in nats of the law of the last token; at most `most` passes.

    sqrt(c · H) stands for the bound on the rejection that Pinsker's inequality gives. Zhang et al. 2024, "Draft model knows
    when to stop" (arXiv 2411.18462).

    >>> import espalier as es
    >>> from espalier.drafting.policies import Chain, grow
    >>> model = es.models.Table.random(vocab_size=5, depth=2, seed=0)
    >>> [draft] = es.run(grow(model, es.Prefix([1]), Chain(kind="deterministic"), SVIP(threshold=0.4), es.Rng(0)))
    >>> len(draft)
    2
    """

    def __init__(self, threshold: float = 0.3, c: float = 0.15, most: int = 40) -> None:
        require(threshold >= 0 and c > 0, f"threshold={threshold}, c={c}: need threshold ≥ 0 and c > 0")
        budget(most=most)
        self.threshold, self.c, self.most = threshold, c, most

    def go_on(self, signals: Signals, rng: Rng) -> bool:
        return math.sqrt(self.c * entropy(signals.q)) <= self.threshold


class Confidence(LengthPolicy):
    """Goes on while the most probable token had at least `threshold` under q; at most `most` passes.

    Liu et al. 2024, "Kangaroo" (arXiv 2404.18911).

    >>> import espalier as es
    >>> from espalier.drafting.policies import Chain, grow
    >>> model = es.models.Table.random(vocab_size=5, depth=2, seed=0)
    >>> [draft] = es.run(grow(model, es.Prefix([1]), Chain(kind="deterministic"), Confidence(0.5), es.Rng(0)))
    >>> len(draft)
    5
    """

    def __init__(self, threshold: float = 0.6, most: int = 6) -> None:
        require(0 <= threshold <= 1, f"threshold={threshold}: a probability")
        budget(most=most)
        self.threshold, self.most = threshold, most

    def go_on(self, signals: Signals, rng: Rng) -> bool:
        return float(signals.q.max()) >= self.threshold


class AdaptiveConfidence(LengthPolicy):
    """`Confidence` whose threshold follows the acceptance: up while less than `target` of the draft is accepted, else down.

    Per round: m ← (m + matched / drafted) / 2; the threshold moves by a tenth of +step if m < target, of nothing if the
    draft was as long as it may be, of -step otherwise. Zhang et al. 2023, "Draft & Verify" (arXiv 2309.08168).

    >>> import espalier as es
    >>> from espalier.drafting.policies import Chain, grow
    >>> model = es.models.Table.random(vocab_size=5, depth=2, seed=0)
    >>> [draft] = es.run(grow(model, es.Prefix([1]), Chain(kind="deterministic"), AdaptiveConfidence(0.5), es.Rng(0)))
    >>> len(draft)
    5
    """

    def __init__(self, start: float = 0.6, target: float = 0.9, step: float = 0.01, most: int = 12) -> None:
        require(0 <= start <= 1 and 0 <= target <= 1, f"start={start}, target={target}: probabilities")
        budget(most=most)
        self.start, self.target, self.step, self.most = start, target, step, most
        self.threshold, self.matching = start, target

    def begin(self, x: Prefix) -> LengthPolicy:
        return AdaptiveConfidence(self.start, self.target, self.step, self.most)

    def go_on(self, signals: Signals, rng: Rng) -> bool:
        return float(signals.q.max()) >= self.threshold

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        drafted = draft.height()
        if drafted == 0:
            return
        self.matching = 0.5 * self.matching + 0.5 * len(draft.accepted(x)) / drafted
        change = self.step if self.matching < self.target else 0.0 if drafted >= self.most else -self.step
        self.threshold = min(1.0, max(0.0, 0.9 * self.threshold + 0.1 * (self.threshold + change)))


class FittedConfidence(LengthPolicy):
    """Goes on while the drafted token had at least `threshold` under q, a threshold fitted to what was accepted so far.

    After every round the threshold is the one with the least (share of misses that it lets through) + `weight` · (share of
    hits that it would have stopped), over the last `window` tokens, once there are `least` of both kinds. The state is
    shared by all requests. Mamou et al. 2024, "Dynamic speculation length" (arXiv 2405.04304), as in Hugging Face's
    assisted generation.

    >>> policy = FittedConfidence(least=1)
    >>> policy.learn([(0.9, True), (0.6, True), (0.3, False)])
    >>> policy.threshold
    0.6
    """

    def __init__(self, start: float = 0.4, weight: float = 3.0, most: int = 20, window: int = 1000, least: int = 5) -> None:
        require(0 <= start <= 1 and weight > 0, f"start={start}, weight={weight}: a probability and a positive weight")
        budget(most=most, window=window, least=least)
        self.threshold, self.weight, self.most, self.least = start, weight, most, least
        self.seen: deque[tuple[float, bool]] = deque(maxlen=window)

    def begin(self, x: Prefix) -> LengthPolicy:
        return _FittedConfidence(self)

    def go_on(self, signals: Signals, rng: Rng) -> bool:
        return signals.chosen >= self.threshold

    def learn(self, pairs: Iterable[tuple[float, bool]]) -> None:
        """Adds (probability under q, accepted) of tokens that were verified, and fits the threshold again."""
        self.seen.extend(pairs)
        hits = sorted(p for p, hit in self.seen if hit)
        misses = sorted(p for p, hit in self.seen if not hit)
        if min(len(hits), len(misses)) >= self.least:
            self.threshold = min(sorted({*hits, *misses}), key=lambda t: self.cost(t, hits, misses))

    def cost(self, threshold: float, hits: Sequence[float], misses: Sequence[float]) -> float:
        """Share of misses at or above the threshold + weight · share of hits below it."""
        through = sum(p >= threshold for p in misses) / len(misses)
        return through + self.weight * sum(p < threshold for p in hits) / len(hits)


class _FittedConfidence(LengthPolicy):
    """One request's view: the probabilities of the tokens of this round."""

    def __init__(self, shared: FittedConfidence) -> None:
        self.shared = shared
        self._chosen: dict[Prefix, float] = {}

    def plan(self, x: Prefix, rng: Rng) -> int | None:
        self._chosen = {}
        return self.shared.plan(x, rng)

    def go_on(self, signals: Signals, rng: Rng) -> bool:
        self._chosen[signals.prefix] = signals.chosen
        return self.shared.go_on(signals, rng)

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        path = {draft.prefixes[node] for node in draft.accepted(x)}
        met = [prefix for prefix in self._chosen if prefix.parent in path or prefix.parent is draft.prefixes[0]]
        self.shared.learn([(self._chosen[prefix], prefix in path) for prefix in met])


class DDD(LengthPolicy):
    """Stops a beam at one of `depths` if the log of its total probability is below `threshold`; at most `most` passes.

    The total is over the `width` most probable paths of the newest level. Brown et al. 2024, "Dynamic depth decoding" (arXiv
    2409.00142); the depths and the threshold depend on the model.

    >>> import espalier as es
    >>> from espalier.drafting.policies import grow
    >>> model = es.models.Table.random(vocab_size=5, depth=2, seed=0)
    >>> tree = es.drafting.Beam(width=2, depth=9, nodes=20)
    >>> [draft] = es.run(grow(model, es.Prefix([1]), tree, DDD(threshold=-1.0, depths=(2, 4)), es.Rng(0)))
    >>> draft.height()
    4
    """

    def __init__(self, threshold: float = -1.0, depths: Sequence[int] = (5, 7, 9), width: int = 10, most: int = 11) -> None:
        require(threshold <= 0, f"threshold={threshold}: a log-probability, at most 0")
        budget(width=width, most=most)
        self.threshold, self.depths, self.width, self.most = threshold, frozenset(depths), width, most

    def go_on(self, signals: Signals, rng: Rng) -> bool:
        if signals.passes not in self.depths:
            return True
        best = torch.tensor(sorted(signals.paths, reverse=True)[: self.width], dtype=torch.float64)
        return float(best.logsumexp(0)) >= self.threshold


def entropy(q: Tensor) -> float:
    """The entropy of probabilities [V], in nats."""
    return float(torch.special.entr(q).sum())

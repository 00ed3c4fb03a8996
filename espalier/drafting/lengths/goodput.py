"""One draft length for all requests that run together: the one with the most tokens per second."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence

from espalier.drafting.draft import Draft, budget
from espalier.drafting.growth import LengthPolicy
from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows


class Goodput(LengthPolicy):
    """The length k with the largest Σ (1 - a^(k+1)) / (1 - a) over k · draft_cost(B) + verify_cost(B · (k + 1)).

    B requests are live, each with a moving average a of its acceptance (`start` at first, `keep` of the old one per round).
    k = 0 turns drafting off; a request then drafts one token every `every` of its rounds, so that a change is noticed. The
    costs are times in one unit: `verify_cost(nodes)` of a pass of the target (a `PassCurve`), `draft_cost(requests)` of a
    pass of the drafter. Give the same object to all requests. The length depends on past rounds only. Liu et al. 2024,
    "Optimizing speculative decoding for serving large language models using goodput" (arXiv 2406.14066), SmartSpec.

    >>> policy = Goodput(verify_cost=lambda nodes: 10 + nodes)
    >>> policy.best([0.9]), policy.best([0.1])
    (8, 1)
    """

    def __init__(
        self,
        verify_cost: Callable[[float], float],
        draft_cost: Callable[[int], float] = lambda requests: 0.0,
        most: int = 8,
        start: float = 0.7,
        keep: float = 0.85,
        every: int = 20,
    ) -> None:
        budget(most=most, every=every)
        require(0 <= start < 1 and 0 <= keep < 1, f"start={start}, keep={keep}: shares below 1")
        self.verify_cost, self.draft_cost = verify_cost, draft_cost
        self.most, self.start, self.keep, self.every = most, start, keep, every
        self._live: weakref.WeakSet[_Goodput] = weakref.WeakSet()

    def begin(self, x: Prefix) -> LengthPolicy:
        view = _Goodput(self)
        self._live.add(view)
        return view

    def best(self, acceptances: Sequence[float]) -> int:
        """The length with the largest goodput for requests with these acceptances; searched up to the first decrease."""
        best, largest = 0, self.goodput(acceptances, 0)
        for k in range(1, self.most + 1):
            goodput = self.goodput(acceptances, k)
            if goodput <= largest:
                break
            best, largest = k, goodput
        return best

    def goodput(self, acceptances: Sequence[float], k: int) -> float:
        """Expected tokens per unit of time if every one of these requests drafts k tokens."""
        b = len(acceptances)
        tokens = sum(k + 1.0 if a == 1 else (1 - a ** (k + 1)) / (1 - a) for a in acceptances)
        return tokens / (k * self.draft_cost(b) + self.verify_cost(b * (k + 1)))

    def plan(self, x: Prefix, rng: Rng) -> int | None:
        return self.best([view.acceptance for view in self._live] or [self.start])


class _Goodput(LengthPolicy):
    """One request's acceptance, seen by all; gone when its drafter is."""

    def __init__(self, shared: Goodput) -> None:
        self.shared, self.acceptance, self._idle = shared, shared.start, 0

    def plan(self, x: Prefix, rng: Rng) -> int | None:
        k = self.shared.plan(x, rng)
        self._idle = 0 if k else self._idle + 1
        return 1 if self._idle and self._idle % self.shared.every == 0 else k

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        taken = len(draft.accepted(x))
        tried = taken + draft.missed(x)
        if tried:
            keep = self.shared.keep
            self.acceptance = keep * self.acceptance + (1 - keep) * taken / tried

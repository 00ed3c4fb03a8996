"""A draft length for each of the requests that run together: those with the most tokens per second."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence

from espalier.drafting.draft import Draft, budget
from espalier.drafting.lengths.barrier import Meeting
from espalier.drafting.policies import LengthPolicy
from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows


class Goodput(LengthPolicy):
    """For each request its own length k: together those with the most expected tokens per unit of time.

    Request i with acceptance a expects 1 + a + … + a^k tokens; a round takes verify_cost(B + Σ k) and, for its j-th pass of
    the drafter, draft_cost(requests that draft j tokens). Drafted tokens are taken in the order of what they are worth, a^j,
    for every greatest length, and the best of these choices is the plan: one plan a round, from complete past rounds.

    B requests are live, each with a moving average a of its acceptance (`start` at first, `keep` of the old one per round).
    k = 0 turns drafting off; a request then drafts one token every `every` of its rounds, so that a change is noticed. The
    costs are times in one unit: `verify_cost(nodes)` of a pass of the target (a `PassCurve`), `draft_cost(requests)` of a
    pass of the drafter. Give the same object to all requests. Liu et al. 2024, "Optimizing speculative decoding for serving
    large language models using goodput" (arXiv 2406.14066), SmartSpec. Its defining behaviour, a length per request, is
    tested by `test_goodput_gives_each_request_its_own_length`, its rounds on a clock by
    `test_a_round_of_goodput_takes_what_its_costs_say`.

    >>> policy = Goodput(verify_cost=lambda nodes: 10 + nodes)
    >>> policy.lengths([0.9, 0.1]), policy.best([0.9]), policy.best([0.1])
    ([8, 0], 8, 1)
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
        self.meeting = Meeting()
        self._live: weakref.WeakSet[_Goodput] = weakref.WeakSet()
        self._plan: weakref.WeakKeyDictionary[_Goodput, int] | None = None  # of this round

    def begin(self, x: Prefix) -> LengthPolicy:
        view = _Goodput(self)
        self._live.add(view)
        self._plan = None
        return view

    def planned(self, view: _Goodput) -> int:
        """The length of one request in the round that begins."""
        if self._plan is None or view not in self._plan:
            live = list(self._live)
            lengths = self.lengths([each.acceptance for each in live])
            self._plan = weakref.WeakKeyDictionary(zip(live, lengths, strict=True))
        return self._plan[view]

    def lengths(self, acceptances: Sequence[float]) -> list[int]:
        """A length for each of the requests with these acceptances, those with the largest goodput together."""
        b = len(acceptances)
        best, largest = [0] * b, b / self.verify_cost(b)
        for most in range(1, self.most + 1):
            order = sorted(((-(a**j), j, i) for i, a in enumerate(acceptances) for j in range(1, most + 1)))
            drafting, lengths, tokens, drafts = [0] * (most + 1), [0] * b, float(b), 0.0
            for nodes, (worth, j, i) in enumerate(order, 1):
                drafts -= self.draft_cost(drafting[j]) if drafting[j] else 0.0
                drafting[j], lengths[i], tokens = drafting[j] + 1, j, tokens - worth
                drafts += self.draft_cost(drafting[j])
                if (goodput := tokens / (drafts + self.verify_cost(b + nodes))) > largest:
                    best, largest = list(lengths), goodput
        return best

    def best(self, acceptances: Sequence[float]) -> int:
        """The one length for all of them with the largest goodput; searched up to the first decrease."""
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
        self.meeting = shared.meeting

    def plan(self, x: Prefix, rng: Rng) -> int | None:
        k = self.shared.planned(self)
        self._idle = 0 if k else self._idle + 1
        return 1 if self._idle and self._idle % self.shared.every == 0 else k

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        self.shared._plan = None
        taken = len(draft.accepted(x))
        tried = taken + draft.missed(x)
        if tried:
            keep = self.shared.keep
            self.acceptance = keep * self.acceptance + (1 - keep) * taken / tried

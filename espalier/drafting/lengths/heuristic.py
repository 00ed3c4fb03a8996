"""Length policies that follow the last round, and two policies as one."""

from __future__ import annotations

from espalier.drafting.draft import Draft
from espalier.drafting.policies import LengthPolicy, Signals
from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows


class Heuristic(LengthPolicy):
    """Two passes more after a round whose draft was accepted to its end, one less after any other.

    Starts at `start`, stays within `least` and `most`. The rule of Hugging Face's assisted generation (Gante 2023), called
    "heuristic" by Zhang et al. 2024 (arXiv 2411.18462).

    >>> import espalier as es
    >>> Heuristic(start=5).plan(es.Prefix([1]), es.Rng(0))
    5
    """

    def __init__(self, start: int = 5, least: int = 1, most: int = 32) -> None:
        require(1 <= least <= start <= most, f"start={start}, least={least}, most={most}: need 1 ≤ least ≤ start ≤ most")
        self.start, self.least, self.most = start, least, most
        self._tokens = start

    def begin(self, x: Prefix) -> LengthPolicy:
        return Heuristic(self.start, self.least, self.most)

    def plan(self, x: Prefix, rng: Rng) -> int | None:
        return self._tokens

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        if len(draft):
            path = draft.accepted(x)
            to_the_end = bool(path) and not draft.children[path[-1]]
            self._tokens = min(self._tokens + 2, self.most) if to_the_end else max(self._tokens - 1, self.least)


class Both(LengthPolicy):
    """Goes on while all of several policies do, for no more passes than any plans.

    >>> import espalier as es
    >>> Both(Heuristic(start=5), es.drafting.Constant(3)).plan(es.Prefix([1]), es.Rng(0))
    3
    """

    def __init__(self, *policies: LengthPolicy) -> None:
        require(len(policies) >= 1, "Both() was given no policy; it needs at least one")
        self.policies = policies
        self.meeting = next((policy.meeting for policy in policies if policy.meeting is not None), None)
        self.want = frozenset[str]().union(*(policy.want for policy in policies))
        self.reads = frozenset[str]().union(*(policy.reads for policy in policies))

    @property
    def blind(self) -> bool:
        return all(policy.blind for policy in self.policies)

    def begin(self, x: Prefix) -> LengthPolicy:
        return Both(*(policy.begin(x) for policy in self.policies))

    def plan(self, x: Prefix, rng: Rng) -> int | None:
        plans = [policy.plan(x, rng) for policy in self.policies]
        return min((plan for plan in plans if plan is not None), default=None)

    def go_on(self, signals: Signals, rng: Rng) -> bool:
        said = [policy.go_on(signals, rng) for policy in self.policies]  # all of them hear the signals
        return all(said)

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        for policy in self.policies:
            policy.observe(x, draft, rows)

"""Budgets of searches and samplers: passes, tokens or seconds; what would exceed one is not asked."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from numbers import Integral, Real

from espalier.errors import expect, require


@dataclass(frozen=True)
class Budget:
    """How much a search may cost: `passes` of the scorer, `tokens` (rows computed), `seconds`; None is no bound.

    Obeyed exactly: a pass that would exceed the budget is not made. `Budget.of` reads a number as tokens.

    >>> Budget.of(500) == Budget(tokens=500)
    True
    """

    passes: int | None = None
    tokens: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("passes", "tokens"):
            bound = getattr(self, name)
            if bound is not None:
                expect(bound, Integral, name, "a whole number")
                require(bound >= 1, f"{name}={bound}: too small for one pass; allow at least 1, or None for no bound")
        if self.seconds is not None:
            expect(self.seconds, Real, "seconds", "a number")
            require(0 < self.seconds < math.inf, f"seconds={self.seconds}: too small for one pass; give a time above 0")

    @classmethod
    def of(cls, budget: Budget | int | None) -> Budget:
        """A budget as it is, a whole number as tokens, None as no bound."""
        if budget is None or isinstance(budget, Budget):
            return budget or cls()
        expect(budget, Integral, "budget", "a number of tokens, or es.decoders.Budget(passes=…, tokens=…, seconds=…)")
        return cls(tokens=int(budget))


@dataclass
class Spent:
    """What has been spent of a budget: `passes`, `tokens`, `calls` of a score; `pay` books a pass if it may be made.

    >>> spent = Spent(Budget(tokens=3))
    >>> spent.pay(2), spent.pay(2), spent.tokens
    (True, False, 2)
    """

    budget: Budget = field(default_factory=Budget)
    passes: int = 0
    tokens: int = 0
    calls: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """The time since the start."""
        return time.monotonic() - self.started

    def left(self) -> float:
        """How many rows the next pass may have; 0 if no pass may be made."""
        b = self.budget
        if b.passes is not None and self.passes >= b.passes:
            return 0
        if b.seconds is not None and self.seconds >= b.seconds:
            return 0
        return math.inf if b.tokens is None else b.tokens - self.tokens

    def pay(self, rows: int) -> bool:
        """Books one pass of this many rows and is True, if the budget allows it; else books nothing."""
        if rows > self.left():
            return False
        self.passes += 1
        self.tokens += rows
        return True

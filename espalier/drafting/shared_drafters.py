"""Drafters that several requests share take turns, and what they hand over is checked."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from espalier.drafting.draft import Draft, Drafter
from espalier.errors import InvalidInput
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.scorer import Ask, Scorer

if TYPE_CHECKING:
    from threading import RLock

_turns: WeakKeyDictionary[Drafter, RLock] = WeakKeyDictionary()


class InTurn(Drafter):
    """A drafter for one request, beside those of other requests in other threads.

    Guarantee: between two questions to a model no other thread is inside a drafter of the same `owner`, as within one loop;
    while a model answers, all others may be. Raises `InvalidInput` for a drafter that hands over something else than a draft
    of the prefix that it was asked about.
    """

    def __init__(self, drafter: Drafter, scorer: Scorer, x: Prefix) -> None:
        self.name, self._turn = type(drafter.owner).__name__, _turns.setdefault(drafter.owner, threading.RLock())
        with self._turn:
            drafter.check(scorer)
            self.inner = drafter.begin(x)
        if not isinstance(self.inner, Drafter):
            raise InvalidInput(f"{self.name}.begin returned {self.inner!r}; return a drafter for this request (or self)")

    def propose(self, x: Prefix, rng: Rng) -> Generator[Ask, Any, Draft]:
        asking, answer, error = self.inner.propose(x, rng), None, None
        if not isinstance(asking, Generator):
            raise InvalidInput(f"{self.name}.propose returned {asking!r}; write it as a generator that returns a Draft")
        try:
            while True:
                with self._turn:
                    ask = asking.send(answer) if error is None else asking.throw(error)
                try:
                    answer, error = (yield ask), None
                except Exception as raised:
                    error = raised
        except StopIteration as end:
            draft = end.value
        finally:
            asking.close()
        if not isinstance(draft, Draft) or draft.prefixes[0] is not x:
            found = f"a draft of {draft.prefixes[0]!r}" if isinstance(draft, Draft) else repr(draft)
            raise InvalidInput(
                f"{self.name} proposed {found} when it was asked about {x!r}; return Draft(x) and what was added"
            )
        return draft

    def join(self, draft: Draft) -> None:
        with self._turn:
            self.inner.join(draft)

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        with self._turn:
            self.inner.observe(x, draft, rows)

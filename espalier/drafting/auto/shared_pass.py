"""Passes that texts of one session share: what one more drafted row costs all of them, and who is booked for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from espalier.drafting.pass_cost import PassCost, size_of

_AGAIN = 256  # passes after which more rows are tried than once had room


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """What a text finds that drafts now: how many `texts` the pass serves, and what the others have drafted for it.

    `rows`: drafted rows of the others; `tokens`: what the others are expected to write; `room`: rows that a pass is known to
    hold, the roots of the texts among them. Costs are those of the whole pass, in passes of the same texts without drafts.

    >>> offer = Offer(PassCost(lambda n: 7 + n), texts=8, rows=0, tokens=7.0)
    >>> offer.best([0.9, 0.8], most=2), offer.risk(2)  # an eighth of a pass, for eight texts: as dear as a pass of one
    (0, 1.0)
    """

    cost: PassCost
    texts: int
    rows: int
    tokens: float
    room: int = 1 << 30

    @property
    def slack(self) -> float:
        """Which part of its slack a text may use up: in a batch less, since the late ones are not always those that gain."""
        return 1.0 if self.texts == 1 else 0.5

    def ratio(self, nodes: int) -> float:
        """The cost of the pass if this text has so many nodes, its root among them."""
        return self.cost.ratio(nodes) if self.texts == 1 else self.cost.between(self.rows + nodes)

    def best(self, gains: Sequence[float], most: int) -> int:
        """How many nodes of these probabilities to draft: those with the most expected tokens of all texts per time."""
        most = max(min(most, self.cost.reach - self.rows, self.room - self.texts - self.rows), 0)
        if self.texts == 1:
            return self.cost.best(gains, most)[0]
        chosen, tokens = 0, self.tokens + 1.0
        rate = tokens / self.ratio(1)
        for n, gain in enumerate(gains[:most], start=1):
            tokens += gain
            if (now := tokens / self.ratio(n + 1)) > rate:
                chosen, rate = n, now
        return chosen

    def may_gain(self, n: int, tokens: float, gain: float, rate: float, most: int) -> bool:
        """Whether more than n nodes could be faster than `rate`, as in `PassCost.may_gain`; tokens are those of all texts."""
        if self.texts == 1:
            return self.cost.may_gain(n, tokens, gain, rate, most)
        return any((tokens + (m - n) * gain) / self.ratio(m + 1) > rate for m in range(n + 1, most + 1))

    def risk(self, nodes: int) -> float:
        """What this text's nodes may cost: by how many plain passes the texts together may be later for them."""
        return self.texts * (self.cost.risk(self.rows + nodes) - self.cost.risk(self.rows + 1))


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A pass that was made: its texts, their drafted rows, what it took: seconds, and passes without drafts."""

    cost: PassCost
    texts: int
    rows: int
    took: float
    passes: float
    number: int

    def share(self, rows: int) -> float:
        """What a text is booked that drafted so many of the rows: a plain pass, and its part of what all texts were late."""
        return 1.0 + (self.texts * (self.passes - 1.0) * rows / max(self.rows, rows) if rows else 0.0)


class Costs:
    """What passes cost, by how many texts they serve: `ratio(n)` with n - 1 drafted rows, in passes with none."""

    def __init__(self, curve: Callable[[int], float] | None) -> None:
        self._curve = curve
        self._known: dict[int, PassCost] = {}

    def of(self, texts: int) -> PassCost:
        """The cost of passes for so many texts; sizes of batches that differ little have one."""
        texts, curve = size_of(texts), self._curve
        shifted = None if curve is None else lambda nodes: curve(nodes + texts - 1)
        return self._known.setdefault(texts, PassCost(shifted, texts))


class Passes:
    """The passes that one loop makes for a session: which texts wait for the next one, and with how many rows.

    A pass is over when the first of its texts observes; the others do so before the next one is made. A text that observes
    most of a pass after the last proposal had no room in it, and so many rows are not drafted again for a while. Passes in
    which a prompt was read teach no times.
    """

    def __init__(self, costs: Costs) -> None:
        self.open: WeakKeyDictionary[Any, int] = WeakKeyDictionary()  # who has asked and not observed; drafted rows
        self._costs = costs
        self._reading = WeakSet[Any]()  # whose prompt is being read
        self._over = WeakSet[Any]()  # texts of the last pass that have not observed
        self._last: Scored | None = None
        self._rows, self._tokens = 0, 0.0  # drafted for the next pass, and expected of it beyond a token a text
        self._asked: float | None = None  # when the last draft for it was done; None if all its texts sleep
        self.made = 0  # passes until now
        self._room, self._since = 1 << 30, 0  # rows that a pass holds, as far as known; passes since that was seen

    def offer(self, text: Any) -> Offer:
        """What this text finds."""
        texts = len(self.open) + (text not in self.open)
        return Offer(self._costs.of(texts), texts, self._rows, texts - 1 + self._tokens, self._room)

    def ask(self, text: Any, rows: int = 0, gain: float = 0.0, now: float | None = None, reading: bool = False) -> None:
        """A text will be in the next pass, with rows of which `gain` are expected to be right; `now` unless it sleeps."""
        self.open[text] = rows
        self._rows, self._tokens = self._rows + rows, self._tokens + gain
        self._asked = now if now is not None else self._asked
        if reading:
            self._reading.add(text)

    @property
    def timed(self) -> bool:
        """Whether the next pass is to be timed: not all of its texts sleep."""
        return self._asked is not None

    def scored(self, text: Any, now: float | None) -> Scored:
        """The pass that scored a text's draft; `now` is read where a pass is timed."""
        last, took = self._last, None if now is None or self._asked is None else now - self._asked
        if last is None or text not in self._over or (took is not None and 0 < 0.75 * last.took < took):
            last = self._last = self._close(took)
        self._over.discard(text)
        self._reading.discard(text)
        self.open.pop(text, None)
        return last

    def _close(self, took: float | None) -> Scored:
        texts, rows = len(self.open), sum(self.open.values())
        cost = self._costs.of(texts)
        late = [1 + self.open.get(each, 0) for each in self._over if each not in self._reading]
        self._since, self.made = self._since + 1, self.made + 1
        if late and self._last is not None:
            self._room, self._since = min(self._room, self._last.texts + self._last.rows - sum(late)), 0
        elif self._since > _AGAIN:
            self._room = 1 << 30
        if took is None or self._reading:
            passes = cost.between(1 + rows)
        else:
            cost.learn(1 + rows, took)
            passes = cost.fair(1 + rows, took)
        self._over = WeakSet(self.open)
        self._rows, self._tokens, self._asked = 0, 0.0, None
        return Scored(cost, texts, rows, took or 0.0, passes, self.made)

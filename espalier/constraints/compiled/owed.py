"""How many tokens the states of a guide still owe before a text can end."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import numpy as np

from espalier import _grammar
from espalier.constraints.compiled.engines import NativeMachine
from espalier.constraints.compiled.maskers import masker
from espalier.constraints.guide import Guide, teaching
from espalier.constraints.special_bytes import bytes_of
from espalier.errors import LimitExceeded
from espalier.text.vocab import Vocab

_NEVER = 1 << 30
_SMALL = 64  # tokens of a vocabulary in which all ways are tried where bounds do not decide
_TRIES = 300
_STATES, _WORK = 300, 1_000_000  # that are gone through, and times the tokens of the vocabulary
_MET = 256  # states that one look at all tokens of a large vocabulary may meet
_LOOKS = 48  # of them are looked at for what they owe, if that is not known
_REMEMBERED = 50_000  # states of which it is known
_FAR = 64  # tokens more than are owed
_ALIKE = 256  # bytes of rests of texts that are remembered: longer ones cost the square of their length
_KEPT = 64  # states whose successors are remembered


class Owed:
    """How many tokens the states of a guide still owe, over one vocabulary."""

    def __init__(self, guide: Guide, vocab: Vocab) -> None:
        self.vocab, self._large = vocab, vocab.size > _SMALL
        assert isinstance(guide.engine, NativeMachine)
        self._ids = {data: id for id, data in reversed(list(enumerate(bytes_of(vocab)))) if data}  # special ones as spelled
        self._longest = max(map(len, self._ids), default=1)
        self._law = masker(guide.engine, vocab)  # not the guide, which holds this: a cycle is freed late
        self._masker: Any = self._law.native  # type: ignore[attr-defined]
        self._guide = guide.engine.native()
        self._closed: dict[Any, int] | None = None  # the tokens that each state owes, if they are all known; {}: too many
        self._last = 1 if vocab.end else 0  # the end token
        self._bounds: dict[Any, tuple[int, int]] = {}
        self._exact: dict[tuple[Any, int], bool] = {}
        self._shortest: dict[Any, tuple[int, bool, bytes]] = {}
        self._ahead: dict[Any, int] = {}
        self._sizes = _sizes(self._ids)
        self._rests: dict[bytes, tuple[int, int]] = {}  # of rests of texts: the fewest tokens, the bytes of the first
        self._after: OrderedDict[Any, tuple[list[Any], np.ndarray[Any, Any]] | None] = OrderedDict()

    def sort(self, state: Any) -> Any:
        """What stands for the state in a large vocabulary: states that differ in a captured text only, such as a name that no
        schema lists, have one."""
        if not self._large or state == _grammar.ENDED:
            return state
        with teaching():
            return self._masker.sorted(state)

    def fits(self, state: Any, left: int) -> bool:
        """Whether a text is finished from here within `left` tokens."""
        if state == _grammar.ENDED:
            return left >= 0
        state = self.sort(state)
        least, most = self.bounds(state)
        if most <= left:
            return True
        if least > left:
            return False
        if self._closed is None:
            self._closed = self._all_ways()
        if self._closed and state in self._closed:
            return self._closed[state] <= left
        if self._large:
            return most >= _NEVER or self._soon(state) <= left  # where the search gave up nothing is refused
        if (state, left) not in self._exact:
            self._exact[state, left] = self._tried(state, left, [_TRIES])
        return self._exact[state, left]

    def far(self, state: Any, left: int) -> bool:
        """Whether so much is left that tokens are looked at only when they are chosen: in a large vocabulary each may lead to a
        state of its own."""
        return self._large and left > self.bounds(self.sort(state))[1] + _FAR

    def fit(self, state: Any, left: int) -> np.ndarray[Any, Any] | None:
        """Of each token whether what follows it `fits`; None where that is too much to look at."""
        found = self.successors(state)
        if found is None:
            return None
        states, which = found
        if self._large and sum(s != _grammar.ENDED and s not in self._bounds for s in states[1:]) > _LOOKS:
            return None
        fits: np.ndarray[Any, Any] = np.array([s is not None and self.fits(s, left) for s in states], dtype=bool)[which]
        return fits

    def on_the_way(self, state: Any, left: int) -> list[int]:
        """The tokens that begin the shortest text and leave enough for its rest, where there is nothing to spare; else none."""
        key = self.sort(state)
        if self.bounds(key)[1] <= left:
            return []
        text = self.shortest(key)[2]
        ids = [self._ids[text[:n]] for n in range(1, min(len(text), self._longest) + 1) if text[:n] in self._ids]
        after = ((token, self._masker.advance(state, token)) for token in ids)
        return [token for token, to in after if to is not None and self.fits(to, left)]

    def shortest(self, state: Any) -> tuple[int, bool, bytes]:
        """The bytes that are owed at least, whether an end is known, and its text: a shortest one, or the first that was met
        where the search for that gave up."""
        if (known := self._shortest.get(state)) is not None:
            return known
        if len(self._shortest) > _REMEMBERED:
            self._shortest.clear()
        try:
            with teaching():
                known = self._guide.shortest(state)
        except LimitExceeded:  # looking ahead is no reason to refuse: what is not known is not hurried
            known = 0, False, b""
        self._shortest[state] = known
        return known

    def bounds(self, state: Any) -> tuple[int, int]:
        """At least and at most so many tokens finish a text from here."""
        if state not in self._bounds:
            if len(self._bounds) > _REMEMBERED:
                self._bounds.clear()
                self._exact.clear()
            owed_bytes, found, text = self.shortest(state)
            if not found:
                least = _NEVER if owed_bytes >= _NEVER else -(-owed_bytes // self._longest) + self._last
                self._bounds[state] = least, _NEVER
            else:
                self._cut(state, owed_bytes, text)
        return self._bounds[state]

    def _cut(self, state: Any, owed_bytes: int, text: bytes) -> None:
        """The fewest tokens that write the text; the states on their way owe no more than what is left of them."""
        ids, longest, n = self._ids, self._longest, len(text)
        fewest, step = self._ways(text)
        at, here = 0, state
        while True:
            least = -(-max(0, owed_bytes - at) // longest) + self._last
            most = min(_NEVER, fewest[at] + self._last)
            key = self.sort(here)
            known = self._bounds.get(key)
            self._bounds[key] = (least, most) if known is None else (max(least, known[0]), min(most, known[1]))
            if at >= n or fewest[at] >= _NEVER:
                return
            token = ids[text[at : at + step[at]]]
            try:
                with teaching():
                    here = self._masker.advance(here, token)
            except LimitExceeded:  # looking ahead is no reason to refuse
                return
            if here is None:
                return
            at += step[at]

    def _ways(self, text: bytes) -> tuple[list[int], list[int]]:
        """From each place of a text on: the fewest tokens that write the rest, and how long the first of them is."""
        ids, rests, n = self._ids, self._rests, len(text)
        fewest, step = [0] * (n + 1), [0] * n
        if len(rests) > _REMEMBERED:
            rests.clear()
        for at in range(n - 1, -1, -1):
            known = rests.get(text[at:]) if n - at <= _ALIKE else None  # many texts end alike
            if known is None:
                best, first = _NEVER, 0
                for size in self._sizes.get(text[at], ()):
                    if at + size <= n and fewest[at + size] + 1 < best and text[at : at + size] in ids:
                        best, first = fewest[at + size] + 1, size
                known = best, first
                if n - at <= _ALIKE:
                    rests[text[at:]] = known
            fewest[at], step[at] = known
        return fewest, step

    def _all_ways(self) -> dict[Any, int]:
        """How many tokens each state owes, by going through all of them; {} where they are too many."""
        most = min(_STATES, _WORK // max(1, self.vocab.size))
        with teaching():
            start = self.sort(self._law.start())
        into: dict[Any, list[Any]] = {start: []}  # state -> the states one token before it
        todo, near = [start], list[Any]()
        while todo:
            state = todo.pop()
            if not self._last and self._law.accepts(state):
                near.append(state)
            found = self.successors(state)
            if found is None:
                return {}
            for after in found[0][1:]:
                if after not in into:
                    into[after] = []
                    todo += [after] if after != _grammar.ENDED else []
                into[after].append(state)
            if len(into) > most:
                return {}
        near += [_grammar.ENDED] if _grammar.ENDED in into else []
        owed = dict.fromkeys(near, 0)
        for state in near:  # grows: breadth first, against the tokens
            for before in into[state]:
                if before not in owed:
                    owed[before] = owed[state] + 1
                    near.append(before)
        return {state: owed.get(state, _NEVER) for state in into}

    def _soon(self, state: Any) -> int:
        """The fewest tokens that are known to finish a text, looking one token ahead."""
        if state not in self._ahead:
            if len(self._ahead) > _REMEMBERED:
                self._ahead.clear()
            states, _ = self.successors(state) or ([], None)
            after = (0 if s == _grammar.ENDED else self.bounds(s)[1] for s in states[1 : 1 + _LOOKS])
            self._ahead[state] = min((n + 1 for n in after), default=_NEVER)
        return self._ahead[state]

    def _tried(self, state: Any, left: int, budget: list[int]) -> bool:
        """All ways of a small vocabulary, where the bounds leave it open."""
        key = state, left
        if key in self._exact:
            return self._exact[key]
        budget[0] -= 1
        if budget[0] < 0 or left <= 0:
            return False
        open_: list[Any] = []
        for after in (self.successors(state) or ([], None))[0][1:]:
            least, most = (0, 0) if after == _grammar.ENDED else self.bounds(after)
            if most <= left - 1:
                self._exact[key] = True
                return True
            if least <= left - 1:
                open_.append(after)
        found = any(self._tried(after, left - 1, budget) for after in open_)
        if budget[0] >= 0:
            self._exact[key] = found
        return found

    def successors(self, state: Any) -> tuple[list[Any], np.ndarray[Any, Any]] | None:
        """The states that tokens lead to, each once behind a None, and which of them each token leads to (0 = refused); None
        where more are met than may be looked at. Those of a large vocabulary stand for all of their `sort`."""
        if state in self._after:
            self._after.move_to_end(state)
            return self._after[state]
        which = np.zeros(self.vocab.size, dtype=np.uint32)
        try:
            with teaching():
                states = self._masker.successors(
                    state, self._large, _MET if self._large else _NEVER, which.ctypes.data, which.size
                )
        except LimitExceeded:  # looking ahead is no reason to refuse
            states = []
        self._after[state] = (states, which) if states else None
        if len(self._after) > _KEPT:
            self._after.popitem(last=False)
        return self._after[state]


def _sizes(tokens: Iterable[bytes]) -> dict[int, list[int]]:
    """How long tokens are that begin with a byte, the shortest first."""
    found: dict[int, set[int]] = {}
    for data in tokens:
        found.setdefault(data[0], set()).add(len(data))
    return {byte: sorted(sizes) for byte, sizes in found.items()}


def owed(guide: Guide, vocab: Vocab) -> Owed:
    """What a guide's states owe over a vocabulary, worked out once per guide."""
    kept: dict[str, Owed] = guide.engine.__dict__.setdefault("_owed", {})
    if vocab.fingerprint not in kept:
        kept[vocab.fingerprint] = Owed(guide, vocab)
    return kept[vocab.fingerprint]

"""How far a text has got with the phrases that it owes: what beams that keep banks of hypotheses ask for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from espalier.constraints.words.owed import Owed, missing


class absent(str):
    """A phrase that must not appear, as one way to satisfy a clause: `lexical(["tea", absent("cup")])`.

    >>> absent("cup"), absent("cup") == "cup"
    (absent('cup'), True)
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"absent({super().__repr__()})"


class Progress(NamedTuple):
    """What a text has met: the places of the clauses that are satisfied, of how many, and the bytes of the phrase begun.

    >>> Progress(frozenset({0}), 2, 1).met
    1
    """

    clauses: frozenset[int]
    of: int
    begun: int

    @property
    def met(self) -> int:
        """How many clauses are satisfied: the bank of a hypothesis."""
        return len(self.clauses)


class Tracked(NamedTuple):
    """The state of a `Tracker`: the end of the text, what precedes it, and the phrases found before it (clause, way)."""

    tail: bytes
    found: frozenset[tuple[int, int]]
    begins: bool  # the tail begins where the text does; else its first byte only stands before what counts


class Tracker:
    """Follows any text and knows which clauses (disjunctions) it satisfies; `in_order`: each after the one before."""

    def __init__(self, clauses: Sequence[Sequence[str]], in_order: bool, whole_words: bool) -> None:
        self.clauses, self.in_order = clauses, in_order
        edges = (rb"(?<![\w\x80-\xff])", rb"(?![\w\x80-\xff])") if whole_words else (b"", b"")
        self._ways = [
            (clause, way, re.compile(edges[0] + re.escape(phrase.encode()) + edges[1]))
            for clause, phrases in enumerate(clauses)
            for way, phrase in enumerate(phrases)
        ]
        plain = [[way.encode() for way in phrases if not isinstance(way, absent)] for phrases in clauses]
        self._words, self.owing = whole_words, Owed(plain, whole_words)
        self.longest = max((len(phrase.encode()) for phrases in clauses for phrase in phrases), default=0) + 1

    def start(self) -> Tracked:
        return Tracked(b"", frozenset(), True)

    def advance(self, state: Tracked, data: bytes) -> Tracked:
        """The state after these bytes: a step byte by byte, so that it does not matter how the text is cut."""
        for at in range(len(data)):
            state = self._step(state, data[at : at + 1])
        return state

    def _step(self, state: Tracked, byte: bytes) -> Tracked:
        text, found = state.tail + byte, state.found
        for clause, way, pattern in self._open(found):
            match = pattern.search(text, 0 if state.begins else 1)
            # what ends at the very end of the text may yet go on as a longer word: it is found with the next byte
            if match is not None and match.end() < len(text):
                found |= {(clause, way)}
                if self.in_order:
                    return Tracked(text[match.end() - 1 :], found, False)
        cut = len(text) - self.longest - 1
        return Tracked(text[max(cut, 0) :], found, state.begins and cut <= 0)

    def _open(self, found: frozenset[tuple[int, int]]) -> list[tuple[int, int, re.Pattern[bytes]]]:
        if not self.in_order:
            return [entry for entry in self._ways if (entry[0], entry[1]) not in found]
        following = max((clause for clause, _ in found), default=-1) + 1
        return [entry for entry in self._ways if entry[0] == following]

    def progress(self, state: Tracked) -> Progress:
        """The clauses that the text satisfies if it ends here, and how many bytes of an unmet phrase it ends with."""
        found = set(state.found)
        for clause, way, pattern in self._open(state.found):
            if pattern.search(state.tail, 0 if state.begins else 1) is not None:
                found.add((clause, way))
        met = frozenset(c for c in range(len(self.clauses)) if self._satisfied(c, found))
        owed = [p for c, phrases in enumerate(self.clauses) if c not in met for p in phrases if not isinstance(p, absent)]
        return Progress(met, len(self.clauses), max((_begun(_counts(state), p.encode()) for p in owed), default=0))

    def owed(self, state: Tracked) -> int:
        """The fewest bytes after which every clause is met, as `Owed` counts them."""
        met = self.progress(state).clauses
        firm = {c for c in met if self._satisfied(c, set(state.found))} if self._words else met
        unmet = (clause for clause in range(len(self.clauses)) if clause not in met)
        return self.owing.fewest(unmet, state.tail, met - firm)

    def fresh(self, state: Tracked, tail: bytes | None) -> int | None:
        """The fewest bytes owed behind bytes that say nothing of it and end with `tail`; None if that is not known."""
        if any(isinstance(way, absent) for phrases in self.clauses for way in phrases) or (self._words and tail is not None):
            return None
        met = self.progress(state).clauses
        if self._words:  # a letter may take back the word at the end, and ask for a blank
            met, tail = frozenset(c for c in met if self._satisfied(c, set(state.found))), b"x"
        return self.owing.fewest((c for c in range(len(self.clauses)) if c not in met), tail or b"")

    def tail(self, data: bytes) -> bytes:
        """The longest end of some bytes with which a phrase begins; else that with which a character does."""
        longest = range(min(len(data), self.longest), 0, -1)
        return next((data[-n:] for n in longest if data[-n:] in self._beginnings or (n < 4 and _open(data[-n:]))), b"")

    @cached_property
    def _beginnings(self) -> frozenset[bytes]:
        whole = [way.encode() for phrases in self.clauses for way in phrases]
        return frozenset(way[:n] for way in whole for n in range(1, len(way)))

    def plain(self, state: Tracked, data: bytes) -> bool:
        """Whether some bytes hold no phrase and go on with none that the text ends with."""
        if self._words or missing(state.tail) or any(way.encode() in data for phrases in self.clauses for way in phrases):
            return False
        begun = [state.tail[-n:] for n in range(1, len(state.tail) + 1) if state.tail[-n:] in self._beginnings]
        rests = (
            way.encode()[len(b) :] for b in begun for phrases in self.clauses for way in phrases if way.encode().startswith(b)
        )
        return not any(data.startswith(rest) or rest.startswith(data) for rest in rests)

    def _satisfied(self, clause: int, found: set[tuple[int, int]]) -> bool:
        return any(((clause, way) in found) != isinstance(p, absent) for way, p in enumerate(self.clauses[clause]))


def _counts(state: Tracked) -> bytes:
    return state.tail if state.begins else state.tail[1:]


def _open(data: bytes) -> bool:
    return data[0] >= 0xC0 and missing(data) > 0


def _begun(tail: bytes, phrase: bytes) -> int:
    return next((n for n in range(len(phrase) - 1, 0, -1) if tail.endswith(phrase[:n])), 0)

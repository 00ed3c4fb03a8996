"""The fewest bytes that some phrases still need behind a text, overlaps counted: a shortest common superstring."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

_WORK = 1 << 25  # steps for the table of phrases that overlap: 16 of them, say
NEVER = 1 << 29


class Way(NamedTuple):
    """A phrase of a clause; `met`: the overlapping clauses that it meets, as bits; `at`: its column in the table, or -1."""

    clause: int
    text: bytes
    met: int
    at: int


class Owed:
    """What clauses owe; each has ways (byte strings), of which one must be written. With `words` no letter may stand beside it.

    Exact: the table holds, for every set of clauses that are unmet and every way written last, the fewest bytes to come (Held
    and Karp 1962, over the overlaps). Where it would be too large (`exact` is False) phrases are counted one after the other:
    never too few.

    >>> owed = Owed([[b"tea"], [b"eat"]], words=False)
    >>> owed.fewest({0, 1}, b""), owed.fewest({0, 1}, b"t"), owed.fewest({1}, b"tea")
    (4, 3, 1)
    """

    def __init__(self, clauses: Sequence[Sequence[bytes]], words: bool) -> None:
        self.clauses, self.words = clauses, words
        self._memo: dict[tuple[bytes, frozenset[int], frozenset[int]], int] = {}

    @cached_property
    def _sharing(self) -> list[int]:
        """The clauses that may share bytes with others, in order: a set of them is written as bits."""
        ways = [(clause, way) for clause, each in enumerate(self.clauses) for way in each]
        pairs = ((a, b) for a, x in ways for b, y in ways if a != b and (x in y or self._shared(x, y) > 0))
        return sorted({clause for pair in pairs for clause in pair})

    @cached_property
    def exact(self) -> bool:
        """Whether overlaps are counted."""
        ways = sum(len(self.clauses[clause]) for clause in self._sharing)
        return ways * ways << len(self._sharing) <= _WORK

    @cached_property
    def _bits(self) -> dict[int, int]:
        return {clause: 1 << at for at, clause in enumerate(self._sharing)} if self.exact else {}

    @cached_property
    def _ways(self) -> list[list[Way]]:
        made, at = list[list[Way]](), 0
        for clause, ways in enumerate(self.clauses):
            made.append([])
            for text in ways:
                inside = clause in self._bits
                made[-1].append(Way(clause, text, self._met_by(text), at if inside else -1))
                at += inside
        return made

    def _met_by(self, text: bytes) -> int:
        return sum(bit for clause, bit in self._bits.items() if any(self._holds(text, each) for each in self.clauses[clause]))

    def _holds(self, text: bytes, phrase: bytes) -> bool:
        at = text.find(phrase)
        while at >= 0:
            around = text[max(at - 1, 0) : at], text[at + len(phrase) : at + len(phrase) + 1]
            if not self.words or not any(map(letter, around)):
                return True
            at = text.find(phrase, at + 1)
        return False

    def _shared(self, before: bytes, after: bytes) -> int:
        """How many bytes the second phrase saves behind the first; -1 where a blank must stand between them."""
        for n in range(min(len(before), len(after) - 1), 0, -1):
            parted = not letter(before[: len(before) - n][-1:]) and not letter(after[n : n + 1])
            if before.endswith(after[:n]) and (parted or not self.words):
                return n
        return -1 if self.words and (letter(before[-1:]) or letter(after[:1])) else 0

    @cached_property
    def _table(self) -> Any:
        """[sets of unmet clauses, ways]: the fewest bytes behind a way that was just written."""
        import numpy as np

        ways = [way for each in self._ways for way in each if way.at >= 0]
        sets = np.arange(1 << len(self._bits))
        sizes = np.array([bin(s).count("1") for s in sets])
        table = np.full((len(sets), len(ways)), NEVER, dtype=np.int32)
        table[0] = 0
        for size in range(1, len(self._bits) + 1):
            of_size = sets[sizes == size]
            for way in ways:
                chosen = of_size[of_size & self._bits[way.clause] > 0]
                cost = np.array([len(way.text) - self._shared(other.text, way.text) for other in ways])
                behind = table[chosen & ~way.met, way.at]
                table[chosen] = np.minimum(table[chosen], behind[:, None] + cost[None, :])
        return table

    def fewest(self, unmet: Iterable[int], tail: bytes, ended: Iterable[int] = ()) -> int:
        """The fewest bytes behind a text that ends with `tail` after which these clauses are met; `NEVER` if they cannot be.

        `ended` are the clauses that are met by nothing but a word at the very end, which a letter would take back.
        """
        left, held = frozenset(unmet), frozenset(ended)
        key = tail, left, held
        if key not in self._memo:
            if len(self._memo) > 1 << 16:
                self._memo.clear()
            self._memo[key] = self._fewest(left, tail, held)
        return self._memo[key]

    def _fewest(self, left: frozenset[int], tail: bytes, ended: frozenset[int]) -> int:
        if not left or any(not self.clauses[clause] for clause in left):
            return NEVER if left else 0
        found = self._least(left, tail, bool(ended))
        return min(found, self._least(left | ended, tail, False)) if ended else found

    def _least(self, left: frozenset[int], tail: bytes, ended: bool) -> int:
        bits = sum(self._bits.get(clause, 0) for clause in left)
        apart = {clause: min(map(len, self.clauses[clause])) + self.words for clause in left if clause not in self._bits}
        found = []
        for way in (way for clause in left for way in self._ways[clause]):
            rest = sum(apart.values()) - apart.get(way.clause, 0)
            first = len(way.text) - self._behind(tail, way.text, ended)
            found.append(
                first + rest + (self._from(bits, way.text) if way.at < 0 else int(self._table[bits & ~way.met, way.at]))
            )
        return min(found)

    def _from(self, bits: int, before: bytes) -> int:
        """The fewest bytes of the clauses that overlap, behind a way that overlaps none of them."""
        ways = [way for clause, bit in self._bits.items() if bits & bit for way in self._ways[clause]]
        costs = (len(w.text) - self._shared(before, w.text) + int(self._table[bits & ~w.met, w.at]) for w in ways)
        return min(costs, default=0)

    def _behind(self, tail: bytes, way: bytes, ended: bool) -> int:
        """The bytes of a way that the text ends with; negative: those that must come first, a blank or a character's end.

        `ended`: no letter may come next.
        """
        for n in range(min(len(tail), len(way) - 1), 0, -1):
            parted = not letter(tail[: len(tail) - n][-1:]) and not (ended and letter(way[n : n + 1]))
            if tail.endswith(way[:n]) and (parted or not self.words):
                return n
        return -missing(tail) - int(self.words and (letter(tail[-1:]) or (ended and letter(way[:1]))))


def missing(data: bytes) -> int:
    """How many bytes the character still needs in which some text ends.

    >>> missing("é".encode()), missing(b"a\\xc3"), missing(b"\\xe2"), missing(b"")
    (0, 1, 2, 0)
    """
    for n in range(1, min(3, len(data)) + 1):
        if data[-n] >= 0xC0:
            return max(2 + (data[-n] >= 0xE0) + (data[-n] >= 0xF0) - n, 0)
        if data[-n] < 0x80:
            return 0
    return 0


def letter(byte: bytes) -> bool:
    """Whether a byte is a letter, a digit, an underscore or a part of a character beyond ASCII.

    >>> letter(b"a"), letter(b" "), letter(b"")
    (True, False, False)
    """
    return bool(byte) and (byte[0] >= 128 or byte.isalnum() or byte == b"_")

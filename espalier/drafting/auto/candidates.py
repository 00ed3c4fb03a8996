"""What may come next, by everything that was seen: the text itself, earlier texts, and rows of the target."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias, TypeVar

from espalier.drafting.model_free.successors import CLASSES, NONE, Entry, Successors, class_of
from espalier.models.executors import native
from espalier.rows import Rows

Cursor: TypeAlias = "tuple[list[int], int, int, int]"  # a text, a place in it, how many tokens match before, whose it is
Key = TypeVar("Key")
Value = TypeVar("Value")

_TOP = 8
_LENGTHS = (0, 0, 1, 2, 3, 3, 4, 4, 4, 4, 5)  # classes of matching lengths 1, 2, 3, 4–5, 6–9, 10 and more
_REACH = 10
OWN, OTHER, FORCED = 0, 1, 2  # whose text a cursor copies from: the request's, an earlier one's, what a guide demands
COPY = 19  # no copy; own text by length class; other texts by length class; forced tokens by how many are left
_TABLES = 4  # what follows the last two tokens in rows and in the table made beforehand; the last one in that, in rows
TABLE = 1 + _TABLES * NONE + 2  # nothing known; in one of these rows; absent from the row of a pair, of a token
_KEEP = 400_000


class Memory:
    """Rows of the target by their last two tokens and by their last one, and the n-grams of everything written.

    Shared by all requests. `limit` bounds each of its tables; the older half of a full one is forgotten.
    """

    def __init__(self, before: Successors | None = None, limit: int = _KEEP) -> None:
        self.before, self.limit = before, limit
        self.pairs: dict[tuple[int, int], Entry] = {}
        self.singles: dict[int, Entry] = {}
        self.grams: dict[tuple[int, ...], tuple[list[int], int]] = {}

    def entry(self, tail: Sequence[int]) -> tuple[Entry, int] | None:
        """What is known to follow the last tokens, from the best of the tables, and which of them that is.

        After two tokens the latest row is better than the mean of many, after one token it is not.
        """
        last, before = tail[-1], self.before
        found: Entry | None
        if len(tail) > 1:
            if found := self.pairs.get((tail[-2], last)):
                return found, 0
            if before is not None and (found := before.after(tail[-2], last)):
                return found, 1
        if before is not None and (found := before.after(last)):
            return found, 2
        return (found, 3) if (found := self.singles.get(last)) else None

    def learn(self, rows: Rows, most: int) -> None:
        """Notes what the target said after the last one and two tokens of each of the first `most` rows' prefixes."""
        values, tokens = native.top(rows.logits[:most], _TOP)
        for prefix, ids, logits in zip(rows.prefixes, tokens.tolist(), values.tolist(), strict=False):
            tail = prefix.tail(2)
            if not tail:
                continue
            weights = [math.exp(logit - logits[0]) for logit in logits]  # they descend, and what is beyond them is little
            total = sum(weights)
            entry = tuple(zip(ids, [class_of(w / total) for w in weights if w >= CLASSES[-1] * total], strict=False))
            self.singles[tail[-1]] = entry
            if len(tail) == 2:
                self.pairs[tail[0], tail[1]] = entry
        _halve(self.pairs, self.limit)

    def note(self, ids: list[int], start: int) -> None:
        """Indexes the tokens of a growing text from position `start` on, by the three before each."""
        for at in range(max(start, 3), len(ids)):
            self.grams[ids[at - 3], ids[at - 2], ids[at - 1]] = (ids, at)
        _halve(self.grams, self.limit)


def _halve(table: dict[Key, Value], limit: int) -> None:
    if len(table) > limit:
        for key in list(table)[: limit // 2]:
            del table[key]


class Evidence:
    """One text's view: its own n-grams beside the shared memory. `candidates` names tokens with the bucket of what speaks
    for each: how long a match it continues, and where the target's own row for that context had it."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.ids: list[int] = []
        self._own: dict[tuple[int, ...], tuple[int, int]] = {}

    def read(self, ids: list[int], known: int, given: int) -> None:
        """Indexes a text from position `known` on; what is behind `given` was written and goes to the shared memory too."""
        if ids is not self.ids or known == 0:
            self.ids, self._own, known = ids, {}, 0
        own = self._own
        for at in range(max(known, 1), len(ids)):
            for n in (1, 2, 3):
                if n <= at:
                    gram = tuple(ids[at - n : at])
                    own[gram] = (at, own[gram][0] if gram in own else -1)
        self.memory.note(ids, max(known, given))

    def start(self) -> list[Cursor]:
        """Where the end of the text occurred before."""
        return self._find(self.ids[-_REACH:])

    def _find(self, tail: Sequence[int]) -> list[Cursor]:
        found: list[Cursor] = []
        for n in (3, 2, 1):
            if n <= len(tail) and (places := self._own.get(tuple(tail[-n:]))):
                found += [(self.ids, at, _match(self.ids, at, tail), OWN) for at in places if at > 0]
                break
        if len(tail) >= 3 and (other := self.memory.grams.get(tuple(tail[-3:]))) and other[0] is not self.ids:
            found.append((other[0], other[1], _match(other[0], other[1], tail), OTHER))
        return found

    def candidates(self, tail: Sequence[int], cursors: list[Cursor]) -> list[tuple[int, int]]:
        """Tokens that may follow the last tokens of a path, each with its bucket."""
        copies: dict[int, int] = {}
        for ids, at, length, source in cursors:
            if at < len(ids):
                kind = 1 + 6 * source + _LENGTHS[min(length if source != FORCED else len(ids) - at, _REACH)]
                copies[ids[at]] = max(copies.get(ids[at], 0), kind)
        known = self.memory.entry(tail)
        if known is None:
            return [(token, copy * TABLE) for token, copy in copies.items()]
        entry, table = known
        found = [(token, copies.pop(token, 0) * TABLE + 1 + table * NONE + kind) for token, kind in entry]
        absent = TABLE - 2 if table < 2 else TABLE - 1
        return found + [(token, copy * TABLE + absent) for token, copy in copies.items()]

    def below(self, tail: Sequence[int], cursors: list[Cursor], token: int) -> list[Cursor]:
        """The cursors after one more token: those that it continues, or where its context occurred before."""
        alive = [(ids, at + 1, n + 1, source) for ids, at, n, source in cursors if at + 1 < len(ids) and ids[at] == token]
        return alive or self._find([*tail, token][-_REACH:])


def _match(ids: Sequence[int], at: int, tail: Sequence[int]) -> int:
    """How many tokens before `at` equal the end of `tail`."""
    n = 0
    while n < len(tail) and n < at and ids[at - 1 - n] == tail[-1 - n]:
        n += 1
    return n


class Calibration:
    """How often a candidate of each bucket turned out right: a Beta mean that starts from a prior and forgets slowly."""

    def __init__(self, strength: float = 32.0, memory: float = 400.0) -> None:
        self._memory = memory
        self.trials = [strength] * (COPY * TABLE)
        self.hits = [strength * prior(bucket) for bucket in range(COPY * TABLE)]
        self.p = [hits / strength for hits in self.hits]

    def learn(self, bucket: int, right: bool) -> None:
        """One candidate of a bucket was right or wrong."""
        if self.trials[bucket] > self._memory:
            self.trials[bucket] /= 2
            self.hits[bucket] /= 2
        self.trials[bucket] += 1
        self.hits[bucket] += right
        self.p[bucket] = self.hits[bucket] / self.trials[bucket]


# How often a copied token is right by the length of the match (own text, other texts), and a token of a row, alone, by its
# probability there; what such a row adds to the log-odds of a copied token, and what it takes if the token is not in it.
# Rounded means over greedy texts of a small model: where counting starts, not where it ends.
_COPIED = (0.0, 0.3, 0.45, 0.6, 0.7, 0.85, 0.9, 0.0, 0.2, 0.35, 0.45, 0.6, 0.8, 0.8, 0.9, 0.95, 0.95, 0.95, 0.95)
_PAIR, _SINGLE = (0.35, 0.3, 0.2, 0.12, 0.08, 0.04, 0.03), (0.12, 0.09, 0.08, 0.07, 0.05, 0.04, 0.03)
_ALONE = (*_PAIR, *_PAIR, *_SINGLE, *_SINGLE)
_PAIR_ADDS, _SINGLE_ADDS = (1.2, 0.4, 0.0, -0.5, -0.8, -1.0, -1.2), (0.5, -0.3, -0.5, -0.8, -1.0, -1.1, -1.2)
_ADDS = (*_PAIR_ADDS, *_PAIR_ADDS, *_SINGLE_ADDS, *_SINGLE_ADDS)
_ABSENT = (-1.7, -0.8)


def prior(bucket: int) -> float:
    """The probability to start from, for a bucket of evidence."""
    copy, table = divmod(bucket, TABLE)
    copied = _COPIED[copy]
    if table == 0 or (copied == 0 and table >= TABLE - 2):
        return copied
    if copied == 0:
        return _ALONE[table - 1]
    odds = math.log(copied / (1 - copied)) + (_ADDS + _ABSENT)[table - 1]
    return 1 / (1 + math.exp(-odds))

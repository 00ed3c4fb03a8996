"""What may come next, by everything that was seen: the text itself, earlier texts, and rows of the target."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias, TypeVar

import torch

from espalier.drafting.recycle import top_weights
from espalier.rows import Rows

Cursor: TypeAlias = "tuple[list[int], int, int, int]"  # a text, a place in it, how many tokens match before, 0 own 1 other
Key = TypeVar("Key")
Value = TypeVar("Value")
Entry: TypeAlias = "tuple[tuple[int, int], ...]"  # tokens with the class of their probability

_TOP = 8
_CLASSES = (0.9, 0.7, 0.5, 0.3, 0.15, 0.07, 0.03)  # least probability of each class; less is not worth a node
_LENGTHS = (0, 0, 1, 2, 3, 3, 4, 4, 4, 4, 5)  # classes of matching lengths 1, 2, 3, 4–5, 6–9, 10 and more
_REACH = 10
COPY = 13  # no copy; own text by length class; other texts by length class
TABLE = 3 + 2 * len(_CLASSES)  # nothing known; in the pair's row; in the token's row; absent from either
_KEEP = 400_000


class Memory:
    """Rows of the target by their last two tokens and by their last one, and the n-grams of everything written.

    Shared by all requests. `limit` bounds each of its tables; the older half of a full one is forgotten.
    """

    def __init__(self, limit: int = _KEEP) -> None:
        self.limit = limit
        self.pairs: dict[tuple[int, int], Entry] = {}
        self.singles: dict[int, Entry] = {}
        self.grams: dict[tuple[int, ...], tuple[list[int], int]] = {}

    def learn(self, rows: Rows, most: int) -> None:
        """Notes what the target said after the last one and two tokens of each of the first `most` rows' prefixes."""
        logits = rows.logits[:most]
        values, tokens = top_weights(logits, _TOP)
        p = torch.softmax(values.float(), -1).tolist()
        for prefix, ids, weights in zip(rows.prefixes, tokens.tolist(), p, strict=False):
            tail = prefix.tail(2)
            if not tail:
                continue
            entry = tuple((token, _class(w)) for token, w in zip(ids, weights, strict=True) if w >= _CLASSES[-1])
            self.singles[tail[-1]] = entry
            if len(tail) == 2:
                self.pairs[tail[0], tail[1]] = entry
        _halve(self.pairs, self.limit)

    def note(self, ids: list[int], start: int) -> None:
        """Indexes the tokens of a growing text from position `start` on, by the three before each."""
        for at in range(max(start, 3), len(ids)):
            self.grams[ids[at - 3], ids[at - 2], ids[at - 1]] = (ids, at)
        _halve(self.grams, self.limit)


def _class(p: float) -> int:
    return next(i for i, least in enumerate(_CLASSES) if p >= least)


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
        return self._find(self.ids[-_REACH:], len(self.ids))

    def _find(self, tail: Sequence[int], end: int) -> list[Cursor]:
        found: list[Cursor] = []
        for n in (3, 2, 1):
            if n <= len(tail) and (places := self._own.get(tuple(tail[-n:]))):
                found += [(self.ids, at, _match(self.ids, at, tail), 0) for at in places if at > 0]
                break
        if len(tail) >= 3 and (other := self.memory.grams.get(tuple(tail[-3:]))) and other[0] is not self.ids:
            found.append((other[0], other[1], _match(other[0], other[1], tail), 1))
        return found

    def candidates(self, tail: Sequence[int], cursors: list[Cursor]) -> list[tuple[int, int]]:
        """Tokens that may follow the last tokens of a path, each with its bucket."""
        memory = self.memory
        entry, base = memory.pairs.get((tail[-2], tail[-1])) if len(tail) > 1 else None, 1
        if entry is None:
            entry, base = memory.singles.get(tail[-1]), 1 + len(_CLASSES)
        copies: dict[int, int] = {}
        for ids, at, length, other in cursors:
            if at < len(ids):
                kind = 1 + 6 * other + _LENGTHS[min(length, _REACH)]
                copies[ids[at]] = max(copies.get(ids[at], 0), kind)
        if entry is None:
            return [(token, copy * TABLE) for token, copy in copies.items()]
        found = [(token, copies.pop(token, 0) * TABLE + base + kind) for token, kind in entry]
        absent = TABLE - 2 if base == 1 else TABLE - 1
        return found + [(token, copy * TABLE + absent) for token, copy in copies.items()]

    def below(self, tail: Sequence[int], cursors: list[Cursor], token: int) -> list[Cursor]:
        """The cursors after one more token: those that it continues, or where its context occurred before."""
        alive = [(ids, at + 1, n + 1, other) for ids, at, n, other in cursors if at < len(ids) and ids[at] == token]
        return alive or self._find([*tail, token][-_REACH:], -1)


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
_COPIED = (0.0, 0.3, 0.45, 0.6, 0.7, 0.85, 0.9, 0.0, 0.2, 0.35, 0.45, 0.6, 0.8)
_ALONE = (0.35, 0.3, 0.2, 0.12, 0.08, 0.04, 0.03, 0.12, 0.09, 0.08, 0.07, 0.05, 0.04, 0.03)
_ADDS = (1.2, 0.4, 0.0, -0.5, -0.8, -1.0, -1.2, 0.5, -0.3, -0.5, -0.8, -1.0, -1.1, -1.2)
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

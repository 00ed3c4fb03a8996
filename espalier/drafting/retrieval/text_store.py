"""A store of tokenised text that finds what followed any run of tokens, by a suffix array."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from espalier.errors import InvalidInput, LoadError, require
from espalier.text.vocab import Vocab

_DEPTH = 32  # tokens that decide the order of suffixes; runs longer than that are never looked for
_BREAK = 0xFFFFFFFF  # stands between two texts; no vocabulary has such an id


class TextStore:
    """Texts as token ids, in the order of their suffixes. Read-only; a run of tokens is found in O(log n).

    `vocab` is remembered by its fingerprint, so that a store made with one tokenizer is not used with another.

    >>> store = TextStore([[1, 2, 3, 4], [1, 2, 3, 5], [1, 2, 6]])
    >>> store.count([1, 2]), sorted(store.continuations([1, 2], tokens=2))
    (3, [(3, 4), (3, 5), (6,)])
    """

    def __init__(self, texts: Iterable[Sequence[int]], vocab: Vocab | None = None) -> None:
        parts: list[int] = []
        for text in texts:
            parts += [*text, _BREAK]
        require(len(parts) > 1, "the store was given no text; pass sequences of token ids")
        highest = max((t for t in parts if t != _BREAK), default=0)
        require(
            min(parts) >= 0 and (vocab is None or highest < vocab.size),
            f"the texts contain token {min(parts) if min(parts) < 0 else highest}, which is not in the vocabulary",
        )
        self.fingerprint = vocab.fingerprint if vocab is not None else None
        ids = np.array(parts, dtype=np.uint32)
        self._set(ids, _suffix_array(ids))

    def _set(self, ids: np.ndarray, order: np.ndarray) -> None:
        self._ids, self._order = ids, order
        self._bytes = ids.astype(">u4").tobytes()  # big-endian, so that bytes compare as the ids do

    def __len__(self) -> int:
        """How many tokens are stored."""
        return int((self._ids != _BREAK).sum())

    def check(self, vocab: Vocab | None) -> None:
        """Raise `InvalidInput` if the store was made with another vocabulary."""
        if vocab is not None and self.fingerprint is not None and vocab.fingerprint != self.fingerprint:
            raise InvalidInput(
                "the text store was built with another tokenizer, so its ids mean other words; build it again from the texts "
                "with this model's tokenizer"
            )

    def span(self, run: Sequence[int]) -> tuple[int, int]:
        """The range in suffix order of all places where this run of at most 32 tokens stands; empty if begin == end."""
        require(0 < len(run) <= _DEPTH, f"a run of {len(run)} tokens: between 1 and {_DEPTH} can be looked for")
        key = b"".join(token.to_bytes(4, "big") for token in run)

        def at(place: np.integer) -> bytes:
            return self._bytes[4 * int(place) : 4 * int(place) + len(key)]

        begin = bisect_left(self._order, key, key=at)
        return begin, bisect_right(self._order, key, lo=begin, key=at)

    def count(self, run: Sequence[int]) -> int:
        """How often this run of tokens stands in the texts."""
        begin, end = self.span(run)
        return end - begin

    def longest(self, ids: Sequence[int], most: int, least: int) -> Sequence[int]:
        """The longest suffix of `ids` with `least` to `most` tokens that is stored; empty if there is none."""
        low, high = least - 1, min(most, len(ids), _DEPTH)
        while low < high:  # a suffix of what is stored is stored, so halving the range finds the longest
            middle = (low + high + 1) // 2
            if self.count(ids[len(ids) - middle :]) > 0:
                low = middle
            else:
                high = middle - 1
        return ids[len(ids) - low :] if low >= least else []

    def continuations(self, run: Sequence[int], tokens: int, most: int = 5000) -> list[tuple[int, ...]]:
        """What follows each occurrence of a run, up to `tokens` tokens within its text; of more than `most`, evenly chosen."""
        begin, end = self.span(run)
        places = self._order[begin:end]
        if len(places) > most:
            places = places[np.linspace(0, len(places) - 1, most).astype(np.int64)]
        index = places[:, None].astype(np.int64) + len(run) + np.arange(tokens)
        found = np.where(index < len(self._ids), self._ids[np.minimum(index, len(self._ids) - 1)], _BREAK)
        ended = np.cumsum(found == _BREAK, axis=1) > 0
        lengths = np.where(ended.any(1), ended.argmax(1), tokens)
        return [tuple(row[:n]) for row, n in zip(found.tolist(), lengths.tolist(), strict=True) if n]

    def tree(self, run: Sequence[int], tokens: int, nodes: int, most: int = 5000) -> list[tuple[tuple[int, ...], int]]:
        """The `nodes` most frequent beginnings of what follows a run, with their counts; prefix closed, parents first."""
        counts: Counter[tuple[int, ...]] = Counter()
        for text, number in Counter(self.continuations(run, tokens, most)).items():
            for n in range(1, len(text) + 1):
                counts[text[:n]] += number
        # a beginning is at least as frequent as what it begins; of equals the shorter comes first: the choice is prefix closed
        return sorted(counts.items(), key=lambda entry: (-entry[1], len(entry[0]), entry[0]))[:nodes]

    def save(self, path: str | Path) -> None:
        """Writes the store to one .npz file."""
        np.savez_compressed(path, ids=self._ids, order=self._order, fingerprint=np.array(self.fingerprint or ""))

    @classmethod
    def load(cls, path: str | Path, vocab: Vocab | None = None) -> TextStore:
        """The store in a file. Raises LoadError if it is none, InvalidInput if it was made with another vocabulary."""
        try:
            with np.load(path) as file:
                ids, order, fingerprint = file["ids"], file["order"], str(file["fingerprint"])
        except (OSError, ValueError, KeyError) as error:
            raise LoadError(f"{path} is not a text store: {error}; write one with TextStore.save") from error
        store = cls.__new__(cls)
        store.fingerprint = fingerprint or None
        store._set(ids, order)
        store.check(vocab)
        return store


def _suffix_array(ids: np.ndarray) -> np.ndarray:
    """The places of `ids` in the order of the 32 tokens that begin there, by doubling (Manber, Myers 1990)."""
    n = len(ids)
    rank = np.unique(ids, return_inverse=True)[1].astype(np.int64)
    order = np.argsort(rank, kind="stable")
    length = 1
    while length < _DEPTH:
        after = np.zeros(n, dtype=np.int64)  # 0: past the end, before everything
        after[: n - length] = rank[length:] + 1
        order = np.lexsort((after, rank))
        step = (np.diff(rank[order]) != 0) | (np.diff(after[order]) != 0)
        fresh = np.zeros(n, dtype=np.int64)
        fresh[order[1:]] = np.cumsum(step)
        rank, length = fresh, 2 * length
        if rank[order[-1]] == n - 1:
            break
    return order.astype(np.uint32 if n < 2**32 else np.int64)

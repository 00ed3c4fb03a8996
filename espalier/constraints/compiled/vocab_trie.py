"""The byte tries of a vocabulary: the native one, and one that guides written in Python walk."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from espalier import _grammar
from espalier.constraints.special_bytes import bytes_of
from espalier.text.vocab import Vocab


def trie(vocab: Vocab) -> Any:
    """The native byte trie of a vocabulary, shared by all guides of the process."""
    return _trie(vocab, names_of(vocab))


def names_of(vocab: Vocab) -> tuple[str, ...]:
    """The names of the special tokens: vocabularies that differ in them alone are equal, but not for guides.

    >>> names_of(Vocab([b"a", None, None], end=[2], names={1: "<think>"}))
    ('<think>', '<2>')
    """
    return vocab.special_names


@lru_cache(maxsize=16)
def _trie(vocab: Vocab, names: tuple[str, ...]) -> Any:
    return _grammar.Vocabulary(bytes_of(vocab))


class Node(NamedTuple):
    """A node of the trie in depth-first order: the bytes of its edge, the tokens that end here, the node after its subtree."""

    above: int
    edge: bytes
    tokens: tuple[int, ...]
    end: int


@lru_cache(maxsize=16)
def nodes(vocab: Vocab) -> list[Node]:
    """The byte trie of a vocabulary in Python: nodes in depth-first order below a root at 0; edges that do not fork are one.

    >>> [(node.above, node.edge, node.tokens, node.end) for node in nodes(Vocab([b"a", b"abc", b"abd", None]))]
    [(0, b'', (), 5), (0, b'a', (0,), 5), (1, b'b', (), 5), (2, b'c', (1,), 4), (2, b'd', (2,), 5)]
    """
    ids: dict[bytes, list[int]] = {}
    for id, token in enumerate(vocab.tokens):
        if token and id not in vocab.end:
            ids.setdefault(token, []).append(id)
    found: list[tuple[int, bytes, tuple[int, ...]]] = [(0, b"", ())]
    ends: list[int] = [0]
    words = sorted(ids)
    _grow(words, ids, 0, len(words), 0, 0, found, ends)
    ends[0] = len(found)
    return [Node(*node, end) for node, end in zip(found, ends, strict=True)]


def _grow(
    words: list[bytes], ids: dict[bytes, list[int]], lo: int, hi: int, depth: int, above: int, found: list[Any], ends: list[int]
) -> None:
    """Adds the nodes of words[lo:hi], which agree on their first `depth` bytes, below the node `above`."""
    while lo < hi:
        if len(words[lo]) == depth:
            lo += 1
            continue
        mid = lo
        while mid < hi and words[mid][depth] == words[lo][depth]:
            mid += 1
        first, last = words[lo], words[mid - 1]
        shared = depth + 1
        while shared < min(len(first), len(last)) and first[shared] == last[shared]:
            shared += 1
        at = len(found)
        found.append((above, first[depth:shared], tuple(ids[first]) if len(first) == shared else ()))
        ends.append(0)
        _grow(words, ids, lo, mid, shared, at, found, ends)
        ends[at] = len(found)
        lo = mid

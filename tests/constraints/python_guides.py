"""Guides written in Python, for tests."""

from __future__ import annotations

import itertools

import espalier as es
from espalier.text.vocab import Vocab

VOCAB = Vocab([b"a", b"b", b"ab", b"ba", b"aab", b"bb", b"a", None, None], end=[7])


class Balanced(es.Guide):
    """As many b as a, never more: brackets."""

    exactness = "exact"

    def start(self) -> int:
        return 0

    def advance(self, state: int, data: bytes) -> int | None:
        for byte in data:
            state += {ord("a"): 1, ord("b"): -1}.get(byte, -99)
            if state < 0:
                return None
        return state

    def accepts(self, state: int) -> bool:
        return state == 0


class Modulo(es.Guide):
    """As many bytes as a multiple of n, of which the last is not another one than the first: over."""

    def __init__(self, n: int) -> None:
        self.n = n

    def start(self) -> tuple[int, int]:
        return (0, 0)

    def advance(self, state: tuple[int, int], data: bytes) -> tuple[int, int] | None:
        return ((state[0] + len(data)) % self.n, state[1] or data[0]) if data else state

    def accepts(self, state: tuple[int, int]) -> bool:
        return state[0] == 0


def balanced(text: bytes) -> bool:
    depths = list(itertools.accumulate((1 if byte == ord("a") else -1 for byte in text), initial=0))
    return min(depths) >= 0 and depths[-1] == 0

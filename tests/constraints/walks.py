"""Random texts of a guide, found by following it byte by byte."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

from espalier.constraints import Guide

_CLOSERS = b")]}'\"\n;, a1:(\\->?!="
_ALL = [*_CLOSERS, *(c for c in range(33, 127) if c not in _CLOSERS)]


def walk(guide: Guide, rng: random.Random, length: int) -> bytes | None:
    """Bytes drawn at random while the guide allows them, then the shortest end; None if none is found soon."""
    state: Any = guide.start()
    text = bytearray()
    for _ in range(length):
        pool = [*range(32, 127), 10]
        rng.shuffle(pool)
        for byte in pool:
            after = guide.advance(state, bytes([byte]))
            if after is not None:
                text.append(byte)
                state = after
                break
        else:
            break
    seen, queue = {state}, deque([(state, bytes(text))])
    while queue and len(seen) < 3_000:
        state, done = queue.popleft()
        if guide.accepts(state):
            return done
        for byte in _ALL:
            after = guide.advance(state, bytes([byte]))
            if after is not None and after not in seen:
                seen.add(after)
                queue.append((after, done + bytes([byte])))
    return None

"""Languages by brute force: what a guide accepts and allows, over all texts of a small alphabet up to a length."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import espalier as es
from espalier.text.vocab import Vocab


def texts(alphabet: bytes, length: int) -> list[bytes]:
    """All texts up to a length."""
    return [bytes(word) for n in range(length + 1) for word in itertools.product(alphabet, repeat=n)]


def check_language(
    guide: es.Guide, member: Callable[[bytes], bool], alphabet: bytes = b"ab", length: int = 6, ahead: int | None = None
) -> set[bytes]:
    """Assert that the guide accepts the members, follows their beginnings however they are cut, and, if it says it is exact,
    nothing else; returns the members. A beginning counts as alive if a member up to `ahead` bytes long begins with it."""
    ahead = length if ahead is None else ahead
    members = {text for text in texts(alphabet, ahead) if member(text)}
    alive = {text[:n] for text in members for n in range(len(text) + 1)}
    start = guide.start() if members else None
    for text in texts(alphabet, length):
        state = guide.advance(start, text) if start is not None else None
        accepted = state is not None and guide.accepts(state)
        assert accepted == (text in members), f"{guide!r}: {text!r} is{'' if text in members else ' not'} a member"
        if text in alive:
            assert state is not None, f"{guide!r} refuses {text!r}, a beginning of a member"
        elif guide.exactness == "exact" and ahead > length:
            assert state is None, f"{guide!r} allows {text!r}, which no member begins with"
        for cut in range(1, len(text)):
            half = guide.advance(start, text[:cut]) if start is not None else None
            whole = guide.advance(half, text[cut:]) if half is not None else None
            assert (whole is None) == (state is None)
            assert whole is None or guide.accepts(whole) == accepted, "states count, not how a text was cut"
        if state is not None and (forced := guide.forced(state)):
            goes_on = [m for m in members if m.startswith(text) and m != text]
            assert all(m[len(text) :].startswith(forced[: len(m) - len(text)]) for m in goes_on)
            assert not accepted
    return members


def check_masks(guide: es.Guide, vocab: Vocab, steps: int = 3) -> int:
    """Assert that in every state that some tokens lead to the mask is what the checks say; returns how many were looked at."""
    law = guide.over(vocab)
    seen, todo = 0, [(law.start(), 0)]
    while todo:
        state, depth = todo.pop()
        mask, seen = law.mask(state).tolist(), seen + 1
        assert mask == [law.allowed(state, token) for token in range(vocab.size)], f"{guide!r} in {state!r}"
        if depth < steps:
            todo += [(law.advance(state, token), depth + 1) for token in range(vocab.size) if mask[token]]
    return seen

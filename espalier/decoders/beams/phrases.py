"""Which tokens go on with what a text owes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from espalier.constraints.words.phrases import Tracker, absent
from espalier.text.vocab import Vocab


def trackers(guide: Any) -> list[Tracker]:
    """What follows the phrases of a guide made by `lexical` or `contains`; none for other guides."""
    watches = getattr(getattr(guide, "engine", None), "watches", ())
    return [watch for watch in watches if isinstance(watch, Tracker)]


def owed(clauses: Sequence[Sequence[str]], met: frozenset[int]) -> list[bytes]:
    """The phrases of the clauses that are not met yet."""
    return [p.encode() for c, ways in enumerate(clauses) if c not in met for p in ways if not isinstance(p, absent)]


def begun(text: bytes, phrase: bytes) -> int:
    """How many bytes of a phrase a text ends with.

    >>> begun(b"a cup of t", b"tea")
    1
    """
    return next((n for n in range(min(len(phrase) - 1, len(text)), 0, -1) if text.endswith(phrase[:n])), 0)


def continuations(text: bytes, phrases: Sequence[bytes], vocab: Vocab) -> dict[bytes, list[int]]:
    """The tokens that write what is left of each phrase, after a text; of a phrase not begun also with a space before it."""
    found = {}
    for phrase in phrases:
        done = begun(text, phrase)
        tokens = vocab.cut(phrase[done:])
        spaced = vocab.cut(b" " + phrase) if not done and text[-1:] not in (b"", b" ") else []
        if len(spaced) > 0 and vocab.join(spaced) == b" " + phrase and vocab[spaced[0]] != b" ":
            tokens = spaced
        if tokens and phrase.endswith(vocab.join(tokens)[-1:]):
            found[phrase] = tokens
    return found

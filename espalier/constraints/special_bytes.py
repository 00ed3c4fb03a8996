"""How a special token is spelled where guides follow bytes: by bytes that no text holds."""

from __future__ import annotations

from espalier.text.vocab import Vocab


def spelled(id: int, name: str) -> bytes:
    r"""The bytes that stand for a special token: 0xFF, its id in brackets, its name, 0xFF.

    >>> spelled(7, "<think>")
    b'\xff[7]<think>\xff'
    """
    return b"\xff[%d]" % id + name.encode() + b"\xff"


def bytes_of(vocab: Vocab) -> list[bytes]:
    """What each token is for guides: its bytes, the spelling of a special one, nothing for an end token."""
    return [b"" if id in vocab.end else token or spelled(id, vocab.name(id)) for id, token in enumerate(vocab.tokens)]

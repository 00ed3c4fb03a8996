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
    """What each token is for guides: its bytes, the spelling of a special one, nothing for an end token.

    A token that writes 0xFF (byte-level vocabularies have one) is nothing too: no text holds this byte, and the spelling of a
    special token could be put together from it.
    """
    return [
        b"" if id in vocab.end or b"\xff" in token else token or spelled(id, vocab.name(id))
        for id, token in enumerate(vocab.tokens)
    ]

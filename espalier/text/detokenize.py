"""Bytes to text while they arrive: no character is ever split, and none is replaced before it is certain to be broken."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator

from espalier.text.vocab import Vocab


class Detokenizer:
    """Turns tokens into text piece by piece: `write` returns the text that has become certain, `finish` what was held back.

    Guarantee: the pieces joined equal `vocab.join(all tokens).decode("utf-8", errors="replace")`, however the tokens are
    grouped; a byte that may still begin a character is held back until its character is whole (at most three bytes are);
    U+FFFD is written only for bytes that no continuation can make valid.

    >>> vocab = Vocab(["\u20ac".encode()[:2], "\u20ac".encode()[2:], b"!"])
    >>> text = Detokenizer(vocab)
    >>> text.write([0]), text.write([1]), text.write([0]), text.write([2]), text.finish()
    ('', '\u20ac', '', '\ufffd!', '')
    """

    def __init__(self, vocab: Vocab) -> None:
        self._vocab = vocab
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def write(self, tokens: Iterable[int]) -> str:
        """The text that these further tokens settle."""
        return self.feed(self._vocab.join(tokens))

    def feed(self, data: bytes) -> str:
        """The text that these further bytes settle."""
        return self._decode(data)

    def finish(self) -> str:
        """The text of the bytes that were held back, as U+FFFD if they are not a character."""
        return self._decode(b"", True)


def stream_text(vocab: Vocab, runs: Iterable[Iterable[int]]) -> Iterator[str]:
    """The non-empty pieces of text that these runs of tokens write, each as soon as it is certain.

    >>> list(stream_text(Vocab([b"Hi", b"\\xc3", b"\\xa9"]), [[0], [1], [2], [1]]))
    ['Hi', '\u00e9', '\ufffd']
    """
    text = Detokenizer(vocab)
    for run in runs:
        if piece := text.write(run):
            yield piece
    if piece := text.finish():
        yield piece

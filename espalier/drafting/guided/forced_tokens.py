"""What a guide says of the texts below a prefix, for drafters: which tokens are possible, and which bytes must come next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from espalier.errors import require
from espalier.scorer import Scorer
from espalier.text.vocab import Vocab
from espalier.token_constraint import states

if TYPE_CHECKING:
    from espalier.constraints.guide import Guide

Encode = Callable[[str], Sequence[int]]
_REMEMBERED = 4096  # states whose forced tokens are kept


class Outlook:
    """A guide over the tokens of a vocabulary, and its forced bytes written as tokens.

    The bytes are certain, their split into tokens is not (`{"` may be one token or two), so these tokens are a guess like any
    other. `encode` is the tokenizer's encoding of a text; without it each token is the longest that fits.

    >>> import espalier as es
    >>> from espalier.text import Vocab
    >>> vocab = Vocab([b"a", b"b", b"ab", b"c", None], end=[4])
    >>> outlook = Outlook(es.regex("ab(abc|abb)"), vocab)
    >>> outlook.forced(outlook.state(es.Prefix([0])))
    [2, 2]
    """

    def __init__(self, guide: Guide, vocab: Vocab, encode: Encode | None = None) -> None:
        from espalier.constraints.tokens import TokenGuide

        self.guide, self.vocab, self.encode = guide, vocab, encode
        self._law = TokenGuide(guide, vocab)
        self.state, self.advance = states(self._law), self._law.advance
        self._forced: dict[Any, list[int]] = {}

    def check(self, scorer: Scorer) -> None:
        """Raise `InvalidInput` if the scorer's tokens are others than the guide's."""
        require(
            scorer.vocab_size == self.vocab.size,
            f"the forced drafts are over {self.vocab.size} tokens, the scorer's rows over {scorer.vocab_size}; "
            "give Forced the scorer's own vocabulary",
        )

    def forced(self, state: Any | None) -> list[int]:
        """The tokens of the bytes that every continuation begins with; none where there is a choice, or no state."""
        if state is None:
            return []
        if state not in self._forced:
            if len(self._forced) >= _REMEMBERED:
                self._forced.clear()
            self._forced[state] = self._tokens(self._law.forced(state))
        return self._forced[state]

    def _tokens(self, data: bytes) -> list[int]:
        if not data:
            return []
        if self.encode is None:
            return self.vocab.cut(data)
        text = data.decode("utf-8", "ignore") if data[-1] < 128 else data.decode("utf-8", "replace").rstrip("\ufffd")
        tokens: list[int] = []
        done = 0
        for token in self.encode(text) if text else ():
            piece = self.vocab[token]
            if not piece or not data.startswith(piece, done):
                break  # the encoding writes something else (a special token, a changed blank): what comes after is useless
            tokens.append(token)
            done += len(piece)
        return tokens

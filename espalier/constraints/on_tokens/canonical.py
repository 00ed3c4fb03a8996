"""Canonical tokenization: only the tokens that the tokenizer itself would have made of the text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from espalier.errors import InvalidInput, require
from espalier.text.vocab import Vocab
from espalier.token_constraint import TokenConstraint

Encode = Callable[[str], Sequence[int]]
_ENDINGS = ("", "a", " ", "\n", "\ue000", " a", "1", ".", "'s")  # what may follow: a letter, a blank, what merges with nothing
_WINDOW = 64  # tokens that are encoded again


class Canonical(TokenConstraint):
    """The constraint that `canonical` makes. A state is the tokens that are encoded again with the next one."""

    exactness = "over"

    def __init__(self, vocab: Vocab, encode: Encode) -> None:
        self.vocab, self.encode = vocab, encode

    def start(self) -> tuple[int, ...]:
        return ()

    def __repr__(self) -> str:
        return f"canonical(<{self.vocab.size} tokens>)"

    def advance(self, state: tuple[int, ...], token: int) -> tuple[int, ...] | None:
        if token in self.vocab.end:
            return state if self._is(self.vocab.join(state), state, whole=True) else None
        if not 0 <= token < self.vocab.size or not self.vocab[token]:
            return None
        after = (*state, token)
        if not self._is(self.vocab.join(after), after, whole=False):
            return None
        return self._shortened(after)

    def _is(self, data: bytes, tokens: tuple[int, ...], whole: bool) -> bool:
        """Whether these tokens are those of the text, or of the beginning of a text that goes on."""
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            begun = error.end == len(data) and len(data) - error.start < 4 and error.reason == "unexpected end of data"
            if whole or not begun:
                return False
            text = data[: error.start].decode()  # a character that is not whole yet: it is looked at when it is
            known = list(self.encode(text))
            return list(tokens[: len(known)]) == known or self._begins(text, tokens, data)
        if list(self.encode(text)) == list(tokens):
            return True
        return not whole and any(list(self.encode(text + end))[: len(tokens)] == list(tokens) for end in _ENDINGS[1:])

    def _begins(self, text: str, tokens: tuple[int, ...], data: bytes) -> bool:
        return len(self.vocab.join(tokens)) == len(data) and self.vocab.join(tokens).startswith(text.encode())

    def _shortened(self, tokens: tuple[int, ...]) -> tuple[int, ...]:
        """Without what lies further back than the window, where the rest is made of its own text too."""
        if len(tokens) <= 2 * _WINDOW:
            return tokens
        for cut in range(len(tokens) - _WINDOW, 0, -1):
            rest = tokens[cut:]
            try:
                if list(self.encode(self.vocab.join(rest).decode())) == list(rest):
                    return rest
            except UnicodeDecodeError:
                continue
        return tokens


def canonical(vocab: Vocab, encode: Encode | None = None) -> Canonical:
    """The constraint that the written tokens are those that the tokenizer makes of the text they write.

    `encode` is the tokenizer's (`lm.tokenizer.encode`); a vocabulary that came from a tokenizer knows it.

    Guarantee: a text that ends has tokens `t` with `encode(text of t) == t`, for any tokenizer, with a pretokenizer or without;
    no canonical text is refused on its way, as far as one of the usual continuations (a letter, a blank, a digit, a sign)
    keeps its tokens. For BPE without a pretokenizer beginnings of canonical texts are canonical, so none is stuck; with one,
    blanks wait for what follows. It works by checks (no mask), so a row costs as many encodings as tokens it looks at. Texts
    of more than 128 tokens are encoded again from a later place. Vieira et al. 2025 (arXiv 2506.07956).

    >>> from espalier.models.load.builtin import BUILTIN  # doctest: +SKIP
    >>> lm.model * canonical(lm.vocab)  # doctest: +SKIP
    >>> toy = Vocab([b"a", b"b", b"ab", None], end=[3])
    >>> law = canonical(toy, lambda text: toy.cut(text.encode()))
    >>> law.advance(law.advance(law.start(), 0), 1), law.advance(law.start(), 2)
    (None, (2,))
    """
    found = encode or vocab.encode
    if found is None:
        raise InvalidInput("canonical: this vocabulary knows no tokenizer; write canonical(vocab, tokenizer.encode)")
    require(callable(found), f"canonical: {encode!r} is no function from a text to its tokens, such as lm.tokenizer.encode")
    return Canonical(vocab, found)

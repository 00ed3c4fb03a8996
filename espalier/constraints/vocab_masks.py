"""Token masks for people who bring their own loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from espalier.constraints.limits import teaching
from espalier.constraints.maskers import masker
from espalier.errors import InvalidInput
from espalier.text.vocab import Vocab

if TYPE_CHECKING:
    from espalier.constraints.guide import Guide


def masks(guide: Guide, vocab: Vocab) -> Masks:
    """The token masks of a guide over a vocabulary.

    A mask is a bitmap of ceil(V / 32) words of 32 bits: bit `t & 31` of word `t >> 5` is set iff token t may follow. All
    tokens that keep a completion possible are set, end tokens iff the text may end, special tokens never.

    >>> import torch
    >>> from espalier.constraints import regex
    >>> vocab = Vocab([b"a", b"b", b"ab", None], end=[3])
    >>> cursor = masks(regex("ab*"), vocab).start(buffer := torch.zeros(1, dtype=torch.int32))
    >>> cursor.commit(0), cursor.fill(), int(buffer[0])
    (True, None, 10)
    """
    return Masks(guide, vocab)


class Masks:
    """`masks(guide, vocab)`: states are immutable values, or a cursor moves along.

    >>> import espalier as es
    >>> masks = Masks(es.regex("ab*"), Vocab([b"a", b"b", b"ab", None], end=[3]))
    >>> state = masks.advance(masks.state(), 0)
    >>> masks.accepts(state), masks.advance(state, 0)
    (True, None)
    """

    def __init__(self, guide: Guide, vocab: Vocab) -> None:
        if not hasattr(guide, "engine") or not isinstance(vocab, Vocab):
            raise InvalidInput(f"masks({guide!r}, {vocab!r}): give a guide, such as es.regex(…), and a Vocab, such as lm.vocab")
        self.guide, self.vocab = guide, vocab
        self.words = (vocab.size + 31) // 32
        self._masker = masker(guide.engine, vocab)

    def start(self, buffer: Any) -> Cursor:
        """A cursor before the first token; `fill` writes into `buffer` (int32, ceil(V / 32) words, numpy or torch, CPU)."""
        return Cursor(self, buffer)

    def state(self) -> Any:
        """The state before the first token, for `advance` and `fill` without a cursor."""
        self.guide.engine.start()
        return self._masker.start()

    def advance(self, state: Any, token: int) -> Any | None:
        """The state after this token, None if it is refused."""
        with teaching():
            return self._masker.advance(state, token)

    def accepts(self, state: Any) -> bool:
        """Whether the text may end here."""
        with teaching():
            return self._masker.accepts(state)

    def ended(self, state: Any) -> bool:
        """Whether an end token was the last one."""
        return self._masker.ended(state)

    def fill(self, state: Any, buffer: Any) -> None:
        """Write the mask of `state` into `buffer`."""
        with teaching():
            self._masker.fill(state, buffer)


class Cursor:
    """A position in a text that moves token by token: `commit(token)`, then `fill()`; both are native calls."""

    def __init__(self, masks: Masks, buffer: Any) -> None:
        masks.guide.engine.start()
        self.buffer = buffer
        with teaching():
            self.commit, self.fill, self.accepts = masks._masker.cursor(buffer)

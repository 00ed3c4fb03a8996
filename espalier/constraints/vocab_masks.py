"""Token masks for people who bring their own loop."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch

from espalier import _grammar
from espalier.constraints.compile import Product
from espalier.constraints.guide import Guide, MachineGuide, teaching
from espalier.errors import InvalidInput
from espalier.text.vocab import Vocab


@lru_cache(maxsize=16)
def trie(vocab: Vocab) -> Any:
    """The native byte trie of a vocabulary, shared by all guides of the process."""
    vocabulary = _grammar.Vocabulary([token if id not in vocab.end else b"" for id, token in enumerate(vocab.tokens)])
    quote = _grammar.re_literal(b'"')
    anything = _grammar.re_codepoints([(0, 0x10FFFF)])
    longest = min(_LONGEST, vocab.longest)
    bounds = [(0, _grammar.INF), *((n, _grammar.INF) for n in range(1, longest + 2)), *((0, n) for n in range(1, longest + 2))]
    for lo, hi in bounds:  # the bodies of JSON strings are in nearly every schema: their masks are ready before the first
        vocabulary.warm(_grammar.re_cat(_grammar.re_json_string(_grammar.re_repeat(anything, lo, hi)), quote))
    return vocabulary


_LONGEST = 96  # code points: counts up to here are prepared


def masks(guide: Guide, vocab: Vocab) -> Masks:
    """The token masks of a guide over a vocabulary.

    A mask is a bitmap of ceil(V / 32) words of 32 bits: bit `t & 31` of word `t >> 5` is set iff token t may follow. All
    tokens that keep a completion possible are set, end tokens iff the text may end, special tokens never.

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
        if not isinstance(guide, Guide) or not isinstance(vocab, Vocab):
            raise InvalidInput(f"masks({guide!r}, {vocab!r}): give a guide, such as es.regex(…), and a Vocab, such as lm.vocab")
        self.guide, self.vocab = guide, vocab
        self.words = (vocab.size + 31) // 32
        self._masker = _masker(guide, vocab)

    def start(self, buffer: Any) -> Cursor:
        """A cursor before the first token; `fill` writes into `buffer` (int32, ceil(V / 32) words, numpy or torch, CPU)."""
        return Cursor(self, buffer)

    def state(self) -> Any:
        """The state before the first token, for `advance` and `fill` without a cursor."""
        self.guide.start()
        return self._masker.start()

    def advance(self, state: Any, token: int) -> Any | None:
        """The state after this token, None if it is refused."""
        with teaching():
            return self._masker.advance(state, token)

    def accepts(self, state: Any) -> bool:
        """Whether the text may end here."""
        with teaching():
            return self._masker.accepts(state)

    def fill(self, state: Any, buffer: Any) -> None:
        """Write the mask of `state` into `buffer`."""
        with teaching():
            self._masker.fill(state, buffer)


class Cursor:
    """A position in a text that moves token by token: `commit(token)`, then `fill()`; both are native calls."""

    def __init__(self, masks: Masks, buffer: Any) -> None:
        masks.guide.start()
        self.buffer = buffer
        with teaching():
            self.commit, self.fill, self.accepts = masks._masker.cursor(buffer)


class _Alone:
    """The masks of one machine: a state is a number of its matcher."""

    def __init__(self, native: Any) -> None:
        self.native = native

    def start(self) -> Any:
        return self.native.start()

    def advance(self, state: Any, token: int) -> Any | None:
        return self.native.advance(state, token) or None

    def accepts(self, state: Any) -> bool:
        return bool(self.native.accepts(state))

    def fill(self, state: Any, buffer: Any) -> None:
        self.native.fill(state, *_place(buffer))

    def cursor(self, buffer: Any) -> tuple[Any, Any, Any]:
        cursor = _grammar.Cursor(self.native, *_place(buffer), buffer)
        return cursor.commit, cursor.fill, cursor.accepts


class _Both:
    """The masks of two guides at once: a state is a pair of theirs."""

    def __init__(self, a: _Alone | _Both, b: _Alone | _Both) -> None:
        self.a, self.b = a, b

    def start(self) -> Any:
        return self.a.start(), self.b.start()

    def advance(self, state: Any, token: int) -> Any | None:
        x = self.a.advance(state[0], token)
        y = self.b.advance(state[1], token) if x is not None else None
        return None if x is None or y is None else (x, y)

    def accepts(self, state: Any) -> bool:
        return self.a.accepts(state[0]) and self.b.accepts(state[1])

    def fill(self, state: Any, buffer: Any) -> None:
        other = buffer.clone() if isinstance(buffer, torch.Tensor) else buffer.copy()
        self.a.fill(state[0], buffer)
        self.b.fill(state[1], other)
        buffer &= other

    def cursor(self, buffer: Any) -> tuple[Any, Any, Any]:
        state = self.start()

        def commit(token: int) -> bool:
            nonlocal state
            with teaching():
                after = self.advance(state, token)
            state = state if after is None else after
            return after is not None

        def fill() -> None:
            with teaching():
                self.fill(state, buffer)

        return commit, fill, lambda: self.accepts(state)


def _masker(guide: Guide, vocab: Vocab) -> _Alone | _Both:
    if isinstance(guide, Product):
        return _Both(_masker(guide.a, vocab), _masker(guide.b, vocab))
    assert isinstance(guide, MachineGuide)
    return _Alone(guide.masker(vocab))


def _place(buffer: Any) -> tuple[int, int]:
    """Address and words of a contiguous int32 buffer on the CPU."""
    if isinstance(buffer, torch.Tensor):
        fits = buffer.dtype == torch.int32 and buffer.is_contiguous() and buffer.device.type == "cpu"
        place = (buffer.data_ptr(), buffer.numel()) if fits else None
    else:
        fits = (
            hasattr(buffer, "ctypes") and str(buffer.dtype) == "int32" and buffer.flags.c_contiguous and buffer.flags.writeable
        )
        place = (buffer.ctypes.data, buffer.size) if fits else None
    if place is None:
        raise InvalidInput(
            "a mask buffer must be a contiguous, writable int32 array on the CPU: numpy.zeros(words, dtype=numpy.int32)"
        )
    return place

"""Masks of engines that run in Python: the vocabulary's byte trie is walked."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy

from espalier.constraints.compiled.engines import Engine
from espalier.constraints.compiled.mask_buffers import Masker, as_tensor, is_tensor, place
from espalier.constraints.compiled.vocab_trie import nodes
from espalier.constraints.compiled.watched import Timed, Watched
from espalier.errors import InvalidInput
from espalier.text.vocab import Vocab

_KEPT = 512, 1 << 17  # masks and steps that are remembered


class Walked(Masker):
    """The masks of an engine that runs in Python: its byte trie is walked, and each state's mask is made once."""

    _END = "the text has ended"

    def __init__(self, engine: Engine, vocab: Vocab) -> None:
        self.engine, self.vocab = engine, vocab
        self._masks: dict[Any, Any] = {}
        self._steps: dict[Any, Any] = {}

    def start(self) -> Any:
        return self.engine.start()

    def advance(self, state: Any, token: int) -> Any | None:
        if state is self._END:
            return None
        if token in self.vocab.end:
            return self._END if self.engine.accepts(state) else None
        data = self.vocab[token]
        return self._step(state, data) if data else None

    def _step(self, state: Any, data: bytes) -> Any | None:
        key = state, data
        if key not in self._steps:
            if len(self._steps) >= _KEPT[1]:
                self._steps.clear()
            self._steps[key] = self.engine.advance(state, data)
        return self._steps[key]

    def accepts(self, state: Any) -> bool:
        return state is self._END or self.engine.accepts(state)

    def ended(self, state: Any) -> bool:
        return state is self._END

    def fill(self, state: Any, buffer: Any) -> None:
        words = self.words(state)
        if place(buffer)[1] < len(words):
            raise InvalidInput(f"a mask buffer of {len(buffer)} words of 32 bits; this vocabulary needs {len(words)}")
        buffer[: len(words)] = words if not is_tensor(buffer) else as_tensor(words)

    def fill_known(self, state: Any, buffer: Any) -> None:
        if self.engine.lazy:
            buffer[:] = -1  # every bit is set
        else:
            self.fill(state, buffer)

    def words(self, state: Any) -> Any:
        """The bitmap of the tokens that may follow, as int32 words."""
        if state not in self._masks:
            if len(self._masks) >= _KEPT[0]:
                self._masks.clear()
            bits = numpy.zeros((self.vocab.size + 31) // 32 * 32, dtype=bool)
            if state is not self._END:
                bits[self._allowed(state)] = True
            self._masks[state] = numpy.packbits(bits, bitorder="little").view(numpy.int32)
        return self._masks[state]

    def _allowed(self, state: Any) -> list[int]:
        found = list(self.vocab.end) if self.engine.accepts(state) else []
        trie = nodes(self.vocab)
        states, at = [state] * len(trie), 1
        while at < len(trie):
            above, edge, tokens, end = trie[at]
            after = self._step(states[above], edge)
            if after is None:
                at = end
                continue
            states[at] = after
            found += tokens
            at += 1
        return found


class TimedMasks(Walked):
    """The masks of an engine with a deadline: those of the engine within while no token can miss it, else a walk."""

    def __init__(self, engine: Timed, inner: Masker, vocab: Vocab) -> None:
        super().__init__(engine, vocab)
        self.timed, self.inner = engine, inner

    def words(self, state: Any) -> Any:
        if state is self._END or not self.timed.careless(state, self.vocab.longest):
            return super().words(state)
        return self._inner(state)

    def _inner(self, state: Any) -> Any:
        words = numpy.zeros((self.vocab.size + 31) // 32, dtype=numpy.int32)
        self.inner.fill(state[0], words)
        return words

    def _allowed(self, state: Any) -> list[int]:
        """Tokens that fit into the room that is left whatever they say, and longer ones that say some of what is owed."""
        room = self.timed.room(state)
        if room is None:
            return super()._allowed(state)
        bits = numpy.unpackbits(self._inner(state).view(numpy.uint8), bitorder="little")[: self.vocab.size].astype(bool)
        ends = sorted(self.vocab.end)
        bits[ends] = False
        found = numpy.flatnonzero(bits & (self._most <= room)).tolist()
        ending: dict[bytes, int] = {}
        for token in numpy.flatnonzero(bits & (self._most > room)).tolist():
            data = self.vocab[token]
            if self.timed.plain(state, data):
                tail = self._tails[token]
                if tail not in ending:
                    ending[tail] = self.timed.room(state, tail) or 0
                fits = len(data) <= ending[tail]
            else:
                fits = self._step(state, data) is not None
            if fits:
                found.append(token)
        return found + (ends if self.engine.accepts(state) else [])

    @cached_property
    def _most(self) -> Any:
        """The bytes that each token takes, at most: one that ends inside a character may owe three more."""
        return numpy.array([len(token or b"") + 3 * ((token or b"a")[-1] >= 128) for token in self.vocab.tokens])

    @cached_property
    def _tails(self) -> list[bytes]:
        return [self.timed.tail(token or b"") for token in self.vocab.tokens]


class WatchedMasks(Masker):
    """The masks of an engine beside which something counts."""

    def __init__(self, engine: Watched, inner: Masker, vocab: Vocab) -> None:
        self.engine, self.inner, self.vocab = engine, inner, vocab

    def start(self) -> Any:
        return self.inner.start(), self.engine.start()[1]

    def advance(self, state: Any, token: int) -> Any | None:
        after = self.inner.advance(state[0], token)
        if after is None:
            return None
        return after, state[1] if self.inner.ended(after) else self.engine.watched(state[1], self.vocab[token])

    def accepts(self, state: Any) -> bool:
        return self.inner.accepts(state[0])

    def ended(self, state: Any) -> bool:
        return self.inner.ended(state[0])

    def fill(self, state: Any, buffer: Any) -> None:
        self.inner.fill(state[0], buffer)

    def fill_known(self, state: Any, buffer: Any) -> None:
        self.inner.fill_known(state[0], buffer)

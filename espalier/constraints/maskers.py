"""The token masks of what guides compile to: native ones, and those of engines that run in Python."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy

from espalier import _grammar
from espalier.constraints.engines import Branches, Engine, NativeMachine, Side
from espalier.constraints.leaf import Leaf
from espalier.constraints.limits import teaching
from espalier.constraints.vocab_trie import nodes, trie
from espalier.constraints.watched import Timed, Watched
from espalier.errors import InvalidInput
from espalier.text.vocab import Vocab


class Masker(ABC):
    """The masks of one engine over a vocabulary: immutable states, a step by a token, and a bitmap of all."""

    @abstractmethod
    def start(self) -> Any: ...
    @abstractmethod
    def advance(self, state: Any, token: int) -> Any | None: ...
    @abstractmethod
    def accepts(self, state: Any) -> bool: ...
    @abstractmethod
    def ended(self, state: Any) -> bool: ...  # whether an end token was the last one
    @abstractmethod
    def fill(self, state: Any, buffer: Any) -> None: ...

    def fill_batch(self, states: Sequence[Any], out: Any, threads: int) -> None:
        _rows(out, len(states))
        for row, state in enumerate(states):
            self.fill(state, out[row])

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


class _Alone(Masker):
    """The masks of one native machine."""

    def __init__(self, native: Any) -> None:
        self.native = native

    def start(self) -> Any:
        return self.native.start()

    def advance(self, state: Any, token: int) -> Any | None:
        return self.native.advance(state, token)

    def accepts(self, state: Any) -> bool:
        return bool(self.native.accepts(state))

    def ended(self, state: Any) -> bool:
        return bool(state == _grammar.ENDED)

    def fill(self, state: Any, buffer: Any) -> None:
        self.native.fill(state, *place(buffer))

    def fill_batch(self, states: Sequence[Any], out: Any, threads: int) -> None:
        self.native.fill_batch(list(states), _rows(out, len(states))[0], out.shape[1], threads)

    def cursor(self, buffer: Any) -> tuple[Any, Any, Any]:
        cursor = _grammar.Cursor(self.native, *place(buffer), buffer)
        return cursor.commit, cursor.fill, cursor.accepts


class _Both(Masker):
    """The masks of two engines at once: a state is a pair of theirs."""

    def __init__(self, a: Masker, b: Masker) -> None:
        self.a, self.b = a, b

    def start(self) -> Any:
        return self.a.start(), self.b.start()

    def advance(self, state: Any, token: int) -> Any | None:
        x = self.a.advance(state[0], token)
        y = self.b.advance(state[1], token) if x is not None else None
        return None if x is None or y is None else (x, y)

    def accepts(self, state: Any) -> bool:
        return self.a.accepts(state[0]) and self.b.accepts(state[1])

    def ended(self, state: Any) -> bool:
        return self.a.ended(state[0])

    def fill(self, state: Any, buffer: Any) -> None:
        other = _copy(buffer)
        self.a.fill(state[0], buffer)
        self.b.fill(state[1], other)
        buffer &= other


class _Watched(Masker):
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


class _Either(Masker):
    """The masks of engines of which one is enough: a state holds those of the ones that still go on, None for the others."""

    def __init__(self, engine: Branches, parts: Sequence[Masker]) -> None:
        self.engine, self.parts = engine, parts

    def start(self) -> Any:
        return self.engine.start()

    def advance(self, state: Any, token: int) -> Any | None:
        after = tuple(self.parts[i].advance(at, token) if at is not None else None for i, at in enumerate(state))
        return after if any(at is not None for at in after) else None

    def accepts(self, state: Any) -> bool:
        return any(at is not None and self.parts[i].accepts(at) for i, at in enumerate(state))

    def ended(self, state: Any) -> bool:
        return any(at is not None and self.parts[i].ended(at) for i, at in enumerate(state))

    def fill(self, state: Any, buffer: Any) -> None:
        other = _copy(buffer)
        buffer[:] = 0
        for i, at in enumerate(state):
            if at is not None:
                self.parts[i].fill(at, other)
                buffer |= other


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
        buffer[: len(words)] = words if not _is_tensor(buffer) else _tensor(words)

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


class _Timed(Walked):
    """The masks of an engine with a deadline: those of the engine within while no token can miss it, else a walk."""

    def __init__(self, engine: Timed, inner: Masker, vocab: Vocab) -> None:
        super().__init__(engine, vocab)
        self.timed, self.inner = engine, inner

    def words(self, state: Any) -> Any:
        if state is self._END or not self.timed.careless(state, self.vocab.longest):
            return super().words(state)
        words = numpy.zeros((self.vocab.size + 31) // 32, dtype=numpy.int32)
        self.inner.fill(state[0], words)
        return words


def _is_tensor(buffer: Any) -> bool:
    return type(buffer).__module__.partition(".")[0] == "torch"


def _tensor(words: Any) -> Any:
    import torch

    return torch.from_numpy(words)


def _copy(buffer: Any) -> Any:
    return buffer.clone() if _is_tensor(buffer) else buffer.copy()


def masker(engine: Engine, vocab: Vocab) -> Masker:
    if isinstance(engine, Side):
        return _Both(masker(engine.a, vocab), masker(engine.b, vocab))
    if isinstance(engine, Branches):
        return _Either(engine, [masker(part, vocab) for part in engine.parts])
    if isinstance(engine, NativeMachine):
        return _Alone(_native_masker(engine, vocab))
    if isinstance(engine, Leaf) and hasattr(engine.guide, "token_masks"):
        own: Masker = engine.guide.token_masks(engine, vocab)
        return own
    if isinstance(engine, Timed):
        return _Timed(engine, masker(engine.inner, vocab), vocab)
    if isinstance(engine, Watched):
        return _Watched(engine, masker(engine.inner, vocab), vocab)
    return Walked(engine, vocab)


def _native_masker(engine: NativeMachine, vocab: Vocab) -> Any:
    """The native masks of a machine over a vocabulary, made once."""
    key = vocab.fingerprint
    if key not in engine.maskers:
        engine.maskers[key] = _grammar.Masker(engine.native(), trie(vocab), sorted(vocab.end))
    return engine.maskers[key]


def fill_rows(maskers: Sequence[Masker], states: Sequence[Any], out: Any, threads: int) -> None:
    """Row i of `out` becomes the mask of `states[i]` by `maskers[i]`; the native ones are written by several threads."""
    address, _ = _rows(out, len(states))
    native = [at for at, masker in enumerate(maskers) if isinstance(masker, _Alone)]
    if len(native) == len(maskers):
        _grammar.fill_batch([m.native for m in maskers if isinstance(m, _Alone)], list(states), address, out.shape[1], threads)
        return
    for at, (masker, state) in enumerate(zip(maskers, states, strict=True)):
        masker.fill(state, out[at])


def _rows(out: Any, rows: int) -> tuple[int, int]:
    """Address and words of a contiguous int32 matrix of so many rows on the CPU."""
    if getattr(out, "ndim", 0) != 2 or out.shape[0] != rows:
        raise InvalidInput(
            f"fill_batch: {rows} states need an int32 matrix of {rows} rows and masks.words columns, such as "
            f"numpy.zeros(({rows}, masks.words), dtype=numpy.int32); this is of shape {tuple(getattr(out, 'shape', ()))}"
        )
    return place(out)


def place(buffer: Any) -> tuple[int, int]:
    """Address and words of a contiguous int32 buffer on the CPU."""
    if _is_tensor(buffer):
        fits = str(buffer.dtype) == "torch.int32" and buffer.is_contiguous() and buffer.device.type == "cpu"
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

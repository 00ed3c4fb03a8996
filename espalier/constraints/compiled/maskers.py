"""The token masks of what guides compile to: native ones, and those of engines that run in Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from espalier import _grammar
from espalier.constraints.compiled.engines import Branches, Engine, NativeMachine, Side
from espalier.constraints.compiled.leaf import Leaf
from espalier.constraints.compiled.mask_buffers import Masker, copied, place, word_rows
from espalier.constraints.compiled.trie_masks import TimedMasks, Walked, WatchedMasks
from espalier.constraints.compiled.vocab_trie import names_of, trie
from espalier.constraints.compiled.watched import Timed, Watched
from espalier.text.vocab import Vocab


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
        self.native.fill_batch(list(states), word_rows(out, len(states))[0], out.shape[1], threads)

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
        other = copied(buffer)
        self.a.fill(state[0], buffer)
        self.b.fill(state[1], other)
        buffer &= other

    def fill_known(self, state: Any, buffer: Any) -> None:
        other = copied(buffer)
        self.a.fill_known(state[0], buffer)
        self.b.fill_known(state[1], other)
        buffer &= other


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
        self._joined(state, buffer, known=False)

    def fill_known(self, state: Any, buffer: Any) -> None:
        self._joined(state, buffer, known=True)

    def _joined(self, state: Any, buffer: Any, known: bool) -> None:
        other = copied(buffer)
        buffer[:] = 0
        for i, at in enumerate(state):
            if at is not None:
                (self.parts[i].fill_known if known else self.parts[i].fill)(at, other)
                buffer |= other


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
        return TimedMasks(engine, masker(engine.inner, vocab), vocab)
    if isinstance(engine, Watched):
        return WatchedMasks(engine, masker(engine.inner, vocab), vocab)
    return Walked(engine, vocab)


def _native_masker(engine: NativeMachine, vocab: Vocab) -> Any:
    """The native masks of a machine over a vocabulary, made once."""
    key = f"{vocab.fingerprint} {names_of(vocab)}"
    if key not in engine.maskers:
        engine.maskers[key] = _grammar.Masker(engine.native(), trie(vocab), sorted(vocab.end))
    return engine.maskers[key]


def fill_rows(maskers: Sequence[Masker], states: Sequence[Any], out: Any, threads: int) -> None:
    """Row i of `out` becomes the mask of `states[i]` by `maskers[i]`; the native ones are written by several threads."""
    address, _ = word_rows(out, len(states))
    native = [at for at, masker in enumerate(maskers) if isinstance(masker, _Alone)]
    if len(native) == len(maskers):
        _grammar.fill_batch([m.native for m in maskers if isinstance(m, _Alone)], list(states), address, out.shape[1], threads)
        return
    for at, (masker, state) in enumerate(zip(maskers, states, strict=True)):
        masker.fill(state, out[at])

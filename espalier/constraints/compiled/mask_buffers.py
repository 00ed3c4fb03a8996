"""Where masks are written: int32 words, NumPy's or torch's, and what every maker of masks answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import prod
from sys import byteorder
from typing import Any

from espalier.constraints.limits import teaching
from espalier.errors import InvalidInput

_WORD = "<i4" if byteorder == "little" else ">i4"


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
        word_rows(out, len(states))
        for row, state in enumerate(states):
            self.fill(state, out[row])

    def fill_known(self, state: Any, buffer: Any) -> None:
        """The mask of the parts that are not lazy."""
        self.fill(state, buffer)

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


def is_tensor(buffer: Any) -> bool:
    return type(buffer).__module__.partition(".")[0] == "torch"


def as_tensor(words: Any) -> Any:
    import torch

    return torch.from_numpy(words)


def copied(buffer: Any) -> Any:
    return buffer.clone() if is_tensor(buffer) else buffer.copy()


def word_rows(out: Any, rows: int) -> tuple[int, int]:
    """Address and words of a contiguous int32 matrix of so many rows on the CPU."""
    if getattr(out, "ndim", 0) != 2 or out.shape[0] != rows:
        raise InvalidInput(
            f"fill_batch: {rows} states need an int32 matrix of {rows} rows and masks.words columns, such as "
            f"numpy.zeros(({rows}, masks.words), dtype=numpy.int32); this is of shape {tuple(getattr(out, 'shape', ()))}"
        )
    return place(out)


def place(buffer: Any) -> tuple[int, int]:
    """Address and words of a contiguous int32 buffer on the CPU."""
    if is_tensor(buffer):
        fits = str(buffer.dtype) == "torch.int32" and buffer.is_contiguous() and buffer.device.type == "cpu"
        place = (buffer.data_ptr(), buffer.numel()) if fits else None
    else:
        made = getattr(buffer, "__array_interface__", {})  # one look: this runs for every mask
        address, locked = made.get("data") or (0, True)
        fits = made.get("typestr") == _WORD and made.get("strides") is None and not locked
        place = (address, prod(made["shape"])) if fits else None
    if place is None:
        raise InvalidInput(
            "a mask buffer must be a contiguous, writable int32 array on the CPU: numpy.zeros(words, dtype=numpy.int32)"
        )
    return place

"""Engines beside which something counts what has been written: phrases that are owed, and by when."""

from __future__ import annotations

from typing import Any

from espalier.constraints.compiled.engines import Engine
from espalier.errors import Unsatisfiable


class Watched:
    """A native engine beside something that refuses nothing and counts: a state is a pair of theirs."""

    def __init__(self, inner: Engine, *watches: Any) -> None:
        self.inner, self.watches = inner, watches
        self.limits, self.lazy = getattr(inner, "limits", None), inner.lazy

    @property
    def exactness(self) -> str:
        return self.inner.exactness

    @property
    def expression(self) -> Any | None:
        return self.inner.expression

    @property
    def label(self) -> str:
        return self.inner.label

    def machine(self) -> Any | None:
        return self.inner.machine()

    def start(self) -> Any:
        return self.inner.start(), tuple(watch.start() for watch in self.watches)

    def advance(self, state: Any, data: bytes) -> Any | None:
        after = self.inner.advance(state[0], data)
        return None if after is None else (after, self.watched(state[1], data))

    def watched(self, states: Any, data: bytes) -> Any:
        return tuple(watch.advance(at, data) for watch, at in zip(self.watches, states, strict=True))

    def accepts(self, state: Any) -> bool:
        return self.inner.accepts(state[0])

    def forced(self, state: Any) -> bytes:
        return self.inner.forced(state[0])

    def progress(self, state: Any) -> Any:
        found = [watch.progress(at) for watch, at in zip(self.watches, state[1], strict=True)]
        return found[0] if len(found) == 1 else tuple(found)


class Timed(Watched):
    """An engine under a deadline: what the watch says is owed is in the first `within` bytes. A state has those left.

    What is owed does not count what the engine refuses: where it refuses more than bytes that are no text, it is "over".
    """

    def __init__(self, inner: Engine, watch: Any, within: int, free: bool) -> None:
        super().__init__(inner, watch)
        self.within, self.free = within, free

    @property
    def exactness(self) -> str:
        return self.inner.exactness if self.free else "over"

    expression = None

    def machine(self) -> None:
        return None

    def start(self) -> Any:
        state = (*super().start(), self.within)
        if self.slack(state) < 0:
            owed = self.watches[0].owed(state[1][0])
            raise Unsatisfiable(f"{self.label}: {owed} bytes are owed, which do not fit within {self.within}")
        return state

    def advance(self, state: Any, data: bytes) -> Any | None:
        for at in range(len(data)):
            byte = data[at : at + 1]
            inner = self.inner.advance(state[0], byte)
            if inner is None:
                return None
            state = inner, self.watched(state[1], byte), max(state[2] - 1, 0)
            if self.slack(state) < 0:
                return None
        return state

    def careless(self, state: Any, size: int) -> bool:
        """Whether no `size` bytes can miss the deadline, even if they break off a phrase that has begun."""
        return self.slack(state) >= size + int(self.watches[0].longest) + 3  # a character that begins owes three bytes

    def slack(self, state: Any) -> int:
        """The bytes that may be written before what is owed must begin; negative if it is too late."""
        left: int = state[2] - self.watches[0].owed(state[1][0])
        return left

    def room(self, state: Any, tail: bytes | None = None) -> int | None:
        """How many bytes of any kind may be written, or, with `tail`, of those that end so; None if that is not known."""
        fresh = self.watches[0].fresh(state[1][0], tail)
        if fresh is None:
            return None
        return int(state[2] - fresh) if fresh else 1 << 30  # with nothing owed, the deadline does not matter

    def tail(self, data: bytes) -> bytes:
        """The end of some bytes with which something owed may begin."""
        found: bytes = self.watches[0].tail(data)
        return found

    def plain(self, state: Any, data: bytes) -> bool:
        """Whether some bytes meet nothing and go on with nothing that the text ends with: only their tail counts."""
        return bool(self.watches[0].plain(state[1][0], data))

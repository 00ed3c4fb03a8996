"""What a guide compiles to: a native machine, or guides run side by side in Python where one of them is written in Python."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Protocol

from espalier import _grammar
from espalier.constraints.limits import Limits, teaching
from espalier.errors import LimitExceeded, Unsatisfiable

State = Hashable
_THREADS = 10_000  # readings of a text that one state may hold


class Engine(Protocol):
    """What follows a text byte by byte. `expression`: its regular expression (of the native store) if it has one."""

    @property
    def exactness(self) -> str: ...
    @property
    def expression(self) -> Any | None: ...
    @property
    def label(self) -> str: ...
    @property
    def lazy(self) -> bool: ...  # whether its checks are dear: rows check tokens in order, and no mask is made
    def machine(self) -> Any | None: ...  # the native machine, None if there is none
    def start(self) -> Any: ...
    def advance(self, state: Any, data: bytes) -> Any | None: ...
    def accepts(self, state: Any) -> bool: ...
    def forced(self, state: Any) -> bytes: ...


class NativeMachine:
    """A native machine, followed in the generations of the engine. States are values; equal situations have equal states."""

    _FORCED = 1 << 16  # bytes looked ahead at most
    lazy = False

    def __init__(self, machine: Any, name: str, *, limits: Limits | None = None, expression: Any | None = None) -> None:
        self.name, self.limits, self._expression = name, limits or Limits(), expression
        self.maskers: dict[str, Any] = {}  # by the fingerprint of the vocabulary
        with teaching():
            self._matcher = _grammar.Matcher(machine, name, self.limits.native())

    @property
    def expression(self) -> Any | None:
        """The regular expression of the machine, if it is regular."""
        return self._expression

    @property
    def label(self) -> str:
        """How the guide is named in messages."""
        return self.name

    @property
    def exactness(self) -> str:
        """Whether a beginning that is allowed can always be finished: "exact" or "over"."""
        return "exact" if self._matcher.machine.exact else "over"

    def native(self) -> Any:
        """The matcher, from which token masks are made."""
        return self._matcher

    def machine(self) -> Any:
        """The native machine, for what composes machines."""
        return self.native().machine

    def start(self) -> Any:
        """The state before the first byte. Raises `Unsatisfiable` if no text satisfies the guide."""
        with teaching():
            state = self._matcher.start()
        if state is None:
            raise Unsatisfiable(f"{self.name}: no text at all satisfies this")
        return state

    def advance(self, state: Any, data: bytes) -> Any | None:
        """The state after these bytes, None if no text goes on like this."""
        with teaching():
            return self._matcher.advance(state, data)

    def accepts(self, state: Any) -> bool:
        """Whether the text may end here."""
        with teaching():
            accepts: bool = self._matcher.accepts(state)
        return accepts

    def forced(self, state: Any) -> bytes:
        """The bytes with which every continuation begins."""
        with teaching():
            data: bytes = self._matcher.forced(state, self._FORCED)
        return data

    def matches(self, data: bytes) -> bool:
        """Whether the text is in the set."""
        with teaching():
            found: bool = self._matcher.matches(data)
        return found


class Side:
    """Two engines side by side: what both allow. A state is a pair of theirs. As a part of another guide two native ones go
    byte by byte in step, which is right but slower to mask."""

    exactness, expression = "over", None

    def __init__(self, a: Engine, b: Engine, label: str) -> None:
        self.a, self.b, self.label = a, b, label
        self.lazy = a.lazy or b.lazy

    def machine(self) -> Any | None:
        x, y = self.a.machine(), self.b.machine()
        return None if x is None or y is None else _grammar.both_machine(x, y)

    def start(self) -> Any:
        return self.a.start(), self.b.start()

    def advance(self, state: Any, data: bytes) -> Any | None:
        x = self.a.advance(state[0], data)
        y = self.b.advance(state[1], data) if x is not None else None
        return None if x is None or y is None else (x, y)

    def accepts(self, state: Any) -> bool:
        return self.a.accepts(state[0]) and self.b.accepts(state[1])

    def forced(self, state: Any) -> bytes:
        x, y = self.a.forced(state[0]), self.b.forced(state[1])
        longest = max(x, y, key=len)
        return longest if self.advance(state, longest) is not None else b""


class _Python:
    """What the engines that run in Python have in common: no expression, no machine, as exact as their parts."""

    expression = None

    def __init__(self, parts: Sequence[Engine], label: str) -> None:
        self.parts, self.label = tuple(parts), label
        self.lazy = any(part.lazy for part in parts)

    @property
    def exactness(self) -> str:
        return "exact" if all(part.exactness == "exact" for part in self.parts) else "over"

    def machine(self) -> None:
        return None


class Branches(_Python):
    """Either of two engines: a state holds the state of each that still goes on, None for the other."""

    def start(self) -> Any:
        states = tuple(_begun(part) for part in self.parts)
        if not any(state is not None for state in states):
            raise Unsatisfiable(f"{self.label}: no text at all satisfies this")
        return states

    def advance(self, state: Any, data: bytes) -> Any | None:
        after = tuple(part.advance(at, data) if at is not None else None for part, at in zip(self.parts, state, strict=True))
        return after if any(at is not None for at in after) else None

    def accepts(self, state: Any) -> bool:
        return any(at is not None and part.accepts(at) for part, at in zip(self.parts, state, strict=True))

    def forced(self, state: Any) -> bytes:
        return _common([part.forced(at) for part, at in zip(self.parts, state, strict=True) if at is not None])


class Chain(_Python):
    """One engine after the other: a state holds where the first is, and everywhere the second may be."""

    def start(self) -> Any:
        return self._with_seconds(self.parts[0].start(), frozenset())

    def advance(self, state: Any, data: bytes) -> Any | None:
        first, seconds = state
        for at in range(len(data)):
            byte = data[at : at + 1]
            first = self.parts[0].advance(first, byte) if first is not None else None
            after = (self.parts[1].advance(second, byte) for second in seconds)
            first, seconds = self._with_seconds(first, frozenset(second for second in after if second is not None))
            if first is None and not seconds:
                return None
        return first, seconds

    def _with_seconds(self, first: Any, seconds: frozenset[Any]) -> tuple[Any, frozenset[Any]]:
        if first is not None and self.parts[0].accepts(first):
            seconds |= {self.parts[1].start()}
        return first, _bounded(seconds, self.label)

    def accepts(self, state: Any) -> bool:
        return any(self.parts[1].accepts(second) for second in state[1])

    def forced(self, state: Any) -> bytes:
        ways = [self.parts[1].forced(second) for second in state[1]]
        return _common(ways if state[0] is None else [*ways, self.parts[0].forced(state[0])])


_EMPTY = (-1, None)  # the reading that has begun no repetition, where none is needed


class Repetition(_Python):
    """One engine `lo` to `hi` times: a state holds the readings, each the repetitions that are whole and where this one is."""

    def __init__(self, part: Engine, lo: int, hi: int | None, label: str) -> None:
        super().__init__([part], label)
        self.part, self.lo, self.hi = part, lo, hi
        begun = _begun(part) if hi != 0 else None
        if begun is not None and part.accepts(begun):
            self.lo = 0  # what may be empty fills up any count

    def start(self) -> Any:
        empty = [_EMPTY] if self.lo == 0 else []
        return self._pruned({(0, self.part.start()), *empty} if self.hi != 0 else set(empty))

    def advance(self, state: Any, data: bytes) -> Any | None:
        for at in range(len(data)):
            readings = set()
            for whole, inner in state:
                after = self.part.advance(inner, data[at : at + 1]) if inner is not None else None
                if after is not None:
                    readings.add((whole, after))
                    if self.part.accepts(after) and (self.hi is None or whole + 1 < self.hi):
                        readings.add((whole + 1, self.part.start()))
            state = self._pruned(readings)
            if not state:
                return None
        return state

    def _pruned(self, readings: set[Any]) -> frozenset[Any]:
        """Without the readings that another outdoes: by more repetitions if there is no end, by fewer if there is no need."""
        if self.hi is None:
            best = {inner: min(whole, self.lo) for whole, inner in sorted(readings, key=lambda reading: reading[0])}
        elif self.lo == 0:
            best = {inner: whole for whole, inner in sorted(readings, key=lambda reading: -reading[0])}
        else:
            return _bounded(frozenset(readings), self.label)
        return _bounded(frozenset((whole, inner) for inner, whole in best.items()), self.label)

    def accepts(self, state: Any) -> bool:
        return any(inner is None or (whole + 1 >= self.lo and self.part.accepts(inner)) for whole, inner in state)

    def forced(self, state: Any) -> bytes:
        return b"" if _EMPTY in state else _common([self.part.forced(inner) for _, inner in state])


def _begun(part: Engine) -> Any | None:
    try:
        return part.start()
    except Unsatisfiable:
        return None


def _common(ways: Sequence[bytes]) -> bytes:
    first, last = min(ways, default=b""), max(ways, default=b"")
    differ = (at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b)
    return first[: next(differ, len(first))]


def _bounded(threads: frozenset[Any], label: str) -> frozenset[Any]:
    if len(threads) > _THREADS:
        raise LimitExceeded(
            f"{label}: a text can be read in more than {_THREADS} ways at once; make its parts easier to tell apart"
        )
    return threads

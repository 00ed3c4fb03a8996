"""Lists without repetition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from espalier.constraints.guide import Guide
from espalier.errors import InvalidInput, require


@dataclass(frozen=True)
class unique(Guide):
    """The guide of a list of texts of `item`, no two the same, with the separator between them.

    Guarantee: "over": where `item` has few texts, or an end that only a text already written has, they may run out; decoders
    then back up. `at_least` and `at_most` bound the length of the list. A text of `item` may hold the separator itself.

    >>> import espalier.constraints as es
    >>> guide = unique(es.regex("[a-z]+"), separator=", ")
    >>> guide.matches(b"tea, milk"), guide.matches(b"tea, milk, tea"), guide.matches(b"tea, teas")
    (True, False, True)
    """

    item: Guide
    separator: str = ", "
    at_least: int = 0
    at_most: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.item, Guide):
            raise InvalidInput(f"unique({self.item!r}): give the guide of one item, such as es.regex('[a-z]+')")
        most = self.at_most if self.at_most is not None else self.at_least
        require(0 <= self.at_least <= most, f"unique: at_least={self.at_least}, at_most={self.at_most} cannot be")
        require(self.separator != "", "unique: the separator is empty, so nothing tells where an item ends; write ', '")

    def start(self) -> Any:
        return frozenset([(frozenset(), b"", self.item.engine.start(), -1)])

    def advance(self, state: Any, data: bytes) -> Any | None:
        """Readings: the items that are whole, the one that is written, its state, and the bytes of the separator after it."""
        for at in range(len(data)):
            state = frozenset(after for reading in state for after in self._step(reading, data[at : at + 1]))
            if not state:
                return None
        return state

    def _step(self, reading: Any, byte: bytes) -> Any:
        done, text, inner, between = reading
        separator, engine = self.separator.encode(), self.item.engine
        if between < 0:
            after = engine.advance(inner, byte)
            if after is not None:
                yield done, text + byte, after, -1
            if self._ends(done, text, inner) and (self.at_most is None or len(done) + 1 < self.at_most):
                done, between = done | {text}, 0
        if between >= 0 and separator[between : between + 1] == byte:
            whole = between + 1 == len(separator)
            yield (done, b"", engine.start(), -1) if whole else (done, b"", None, between + 1)

    def _ends(self, done: Any, text: bytes, inner: Any) -> bool:
        return self.at_most != 0 and self.item.engine.accepts(inner) and text not in done

    def accepts(self, state: Any) -> bool:
        return any(
            (self.at_least == 0 and not done and text == b"" and between < 0)
            or (between < 0 and self._ends(done, text, inner) and len(done) + 1 >= self.at_least)
            for done, text, inner, between in state
        )

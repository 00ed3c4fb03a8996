"""Spans of a given text: extractive answers."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from espalier.constraints.guide import Guide
from espalier.errors import InvalidInput, require

_EDGE = 256  # between a word and what is none: a symbol of its own beside the bytes


class substring(Guide):
    r"""The guide of the spans of some texts that are not empty: what an extractive answer may be.

    Guarantee: exact, over bytes; spans begin and end between characters. With `whole_words` they begin and end where words do
    (letters, digits, underscores and characters beyond ASCII). The automaton has at most two states per byte of the texts.
    Blumer et al. 1985, "The smallest automaton recognizing the subwords of a text". Raises `InvalidInput` for no text.

    >>> guide = substring("The cat sat.", whole_words=True)
    >>> guide.matches(b"cat sat"), guide.matches(b"at sat"), guide.advance(guide.start(), b"cat T")
    (True, False, None)
    >>> guide.forced(guide.advance(guide.start(), b"c"))
    b'at'
    """

    def __init__(self, *texts: str, whole_words: bool = False) -> None:
        require(len(texts) > 0, "substring(): give the text of which spans are wanted")
        for text in texts:
            if not isinstance(text, str) or text == "":
                raise InvalidInput(f"substring: {text!r} is no text with a span; give a str that is not empty")
        self.texts, self.whole_words = texts, whole_words

    @property
    def exactness(self) -> str:
        return "exact"

    @cached_property
    def _automaton(self) -> list[dict[int, int]]:
        """The states of the suffix automaton of all texts: for each the state after each symbol."""
        ways, links, longest = [dict[int, int]()], [-1], [0]
        for text in self.texts:
            last = 0
            for symbol in self._symbols(text.encode()):
                last = _extend(ways, links, longest, last, symbol)
        return ways

    def _symbols(self, data: bytes) -> list[int]:
        symbols, inside = [], False
        for byte in data:
            if self.whole_words and _letter(byte) != inside:
                symbols.append(_EDGE)
                inside = not inside
            symbols.append(byte)
        return [*symbols, _EDGE] if inside else symbols

    def start(self) -> tuple[int, int]:
        return 0, -1

    def advance(self, state: tuple[int, int], data: bytes) -> tuple[int, int] | None:
        """A state is one of the automaton's, and the last byte (-1 at the beginning)."""
        at, last = state
        for byte in data:
            if last < 0 and 128 <= byte < 192:  # a span does not begin inside a character
                return None
            ways = self._automaton
            if self.whole_words and (last < 0 or _letter(last) != _letter(byte)):
                if last < 0 and not _letter(byte):
                    return None
                at = ways[at].get(_EDGE, -1)
            at = ways[at].get(byte, -1) if at >= 0 else -1
            if at < 0:
                return None
            last = byte
        return at, last

    def accepts(self, state: tuple[int, int]) -> bool:
        at, last = state
        ways = self._automaton[at]
        if last < 0 or any(128 <= symbol < 192 for symbol in ways):
            return False
        return not self.whole_words or (_letter(last) and _EDGE in ways)

    def forced(self, state: tuple[int, int]) -> bytes:
        written = bytearray()
        while not self.accepts(state) and len(written) < 256:
            symbols = list(self._automaton[state[0]])
            if symbols == [_EDGE] and state[1] >= 0:
                symbols = list(self._automaton[self._automaton[state[0]][_EDGE]])
            after = [self.advance(state, bytes([symbol])) for symbol in symbols if symbol != _EDGE]
            if len(symbols) != 1 or len(after) != 1 or after[0] is None:
                break
            written.append(symbols[0])
            state = after[0]
        return bytes(written)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, substring) and (self.texts, self.whole_words) == (other.texts, other.whole_words)

    def __hash__(self) -> int:
        return hash((self.texts, self.whole_words))

    def __repr__(self) -> str:
        shown = ", ".join(repr(text if len(text) <= 60 else text[:50] + "…") for text in self.texts)
        return f"substring({shown}{', whole_words=True' if self.whole_words else ''})"

    def __getstate__(self) -> dict[str, Any]:
        return {"texts": self.texts, "whole_words": self.whole_words}


def _letter(byte: int) -> bool:
    return byte >= 128 or chr(byte).isalnum() or byte == ord("_")


def _extend(ways: list[dict[int, int]], links: list[int], longest: list[int], last: int, symbol: int) -> int:
    """Adds a symbol after the state `last`; the state of the whole text so far. Several texts may share the automaton."""
    at = ways[last].get(symbol, -1)
    if at >= 0:  # another text had this already
        return at if longest[at] == longest[last] + 1 else _split(ways, links, longest, last, at, symbol)
    made = len(ways)
    ways.append({})
    links.append(0)
    longest.append(longest[last] + 1)
    at = last
    while at >= 0 and symbol not in ways[at]:
        ways[at][symbol] = made
        at = links[at]
    if at >= 0:
        following = ways[at][symbol]
        exact = longest[following] == longest[at] + 1
        links[made] = following if exact else _split(ways, links, longest, at, following, symbol)
    return made


def _split(ways: list[dict[int, int]], links: list[int], longest: list[int], at: int, state: int, symbol: int) -> int:
    """A copy of `state` for the shorter texts that end there: those that come from `at`."""
    copy = len(ways)
    ways.append(dict(ways[state]))
    links.append(links[state])
    longest.append(longest[at] + 1)
    links[state] = copy
    while at >= 0 and ways[at].get(symbol) == state:
        ways[at][symbol] = copy
        at = links[at]
    return copy

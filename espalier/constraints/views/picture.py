"""Small guides as graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from espalier.constraints.guide import Guide
from espalier.errors import InvalidInput, LimitExceeded, require


def picture(guide: Guide, states: int = 60) -> str:
    """The automaton of a guide as a graph in the language of Graphviz: `dot -Tsvg`.

    States are those that a text can be in, double circles where it may end; edges are labelled by the bytes they take, in
    ranges. Raises `LimitExceeded` for a guide with more than so many states.

    >>> import espalier as es
    >>> print(picture(es.regex("ab*")))
    digraph {
      rankdir=LR; node [shape=circle, label=""]; start [shape=none]; start -> 0;
      1 [shape=doublecircle];
      0 -> 1 [label="a"];
      1 -> 1 [label="b"];
    }
    """
    if not isinstance(guide, Guide):
        raise InvalidInput(f"picture({guide!r}): give a guide, such as es.regex('ab*')")
    require(states > 0, f"picture(states={states}): at least one")
    engine = guide.engine
    numbers: dict[Any, int] = {engine.start(): 0}
    found, lines, at = [engine.start()], list[str](), 0
    while at < len(found):
        ways: dict[int, list[int]] = {}
        for byte in range(256):
            after = engine.advance(found[at], bytes([byte]))
            if after is None:
                continue
            if after not in numbers:
                if len(numbers) == states:
                    raise LimitExceeded(
                        f"{guide!r} has more than {states} states; a picture shows small guides, or say states=…"
                    )
                numbers[after] = len(found)
                found.append(after)
            ways.setdefault(numbers[after], []).append(byte)
        lines += [f'  {at} -> {to} [label="{_label(taken)}"];' for to, taken in ways.items()]
        at += 1
    ends = [f"  {number} [shape=doublecircle];" for number, state in enumerate(found) if engine.accepts(state)]
    head = '  rankdir=LR; node [shape=circle, label=""]; start [shape=none]; start -> 0;'
    return "\n".join(["digraph {", head, *ends, *lines, "}"])


def _label(taken: Sequence[int]) -> str:
    if len(taken) >= 255:  # 0xFF stands in no text: it marks special tokens
        return "any"
    runs: list[list[int]] = []
    for byte in taken:
        if runs and byte == runs[-1][1] + 1:
            runs[-1][1] = byte
        else:
            runs.append([byte, byte])
    shown = [_name(lo) if lo == hi else f"{_name(lo)}{'' if hi == lo + 1 else '-'}{_name(hi)}" for lo, hi in runs]
    return " ".join(shown)


def _name(byte: int) -> str:
    special = {34: '\\"', 92: "\\\\", 32: "␣"}
    return special.get(byte, chr(byte) if 32 < byte < 127 else f"x{byte:02X}")

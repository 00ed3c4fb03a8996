"""Decoders as the loop holds them: stacks of generators."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from types import GeneratorType
from typing import TYPE_CHECKING, Any, cast

from espalier.errors import expect
from espalier.scorer import Ask, Scorer

if TYPE_CHECKING:
    from espalier.prefix import Prefix
    from espalier.rows import Rows


class Task:
    """A decoder (or one of several asks of one) as a stack of generators: scorers are asked in its name."""

    __slots__ = ("missing", "number", "parent", "parts", "slot", "stack")

    def __init__(self, generator: Generator[Any, Any, Any], number: int, parent: Task | None = None, slot: int = 0) -> None:
        self.stack = [generator]
        self.number, self.parent, self.slot = number, parent, slot
        self.parts: list[Any] = []
        self.missing = 0


def asking(ask: Ask) -> Generator[Ask, Rows, Rows]:
    """A generator that asks one question and returns the answer."""
    return (yield ask)


def answering(ask: Ask) -> Generator[Any, Any, Rows]:
    """The generator by which a scorer answers. Raises InvalidInput if there is none."""
    try:
        answer = ask.scorer.answer(cast("Sequence[Prefix]", ask.prefixes), ask.want)
    except AttributeError:
        expect(ask.scorer, Scorer, "the scorer of an Ask", "a scorer, such as lm.scorer | es.temperature(0.7)")
        raise
    if type(answer) is not GeneratorType:
        expect(answer, Generator, f"{type(ask.scorer).__name__}.answer(…)", "a generator: rows = yield Ask(…); return rows")
    return answer

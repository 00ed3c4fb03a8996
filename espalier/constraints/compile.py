"""What a guide made of guides compiles to: one regular expression, one native machine, or its parts run side by side."""

from __future__ import annotations

from typing import Any

from espalier import _grammar
from espalier.constraints.compiled.engines import Branches, Chain, Engine, NativeMachine, Repetition, Side
from espalier.constraints.compiled.watched import Timed, Watched
from espalier.constraints.limits import Limits, teaching
from espalier.errors import InvalidInput, require


def both(a: Engine, b: Engine, label: str) -> Engine:
    """The texts in a and in b: exact if both are regular.

    Otherwise the two run side by side: no text outside the intersection is accepted, but a beginning of one text of a and of
    another text of b may be allowed, so the engine says "over".
    """
    counting = [part for part in (a, b) if isinstance(part, Watched) and not isinstance(part, Timed)]
    watches = [watch for part in counting for watch in part.watches]
    a, b = (part.inner if part in counting else part for part in (a, b))
    if a.expression is not None and b.expression is not None:
        with teaching():
            made: Engine = regular_machine(_grammar.re_both(a.expression, b.expression), label, limits(a))
    else:
        made = Side(a, b, label)
    return Watched(made, *watches) if watches else made


def either(a: Engine, b: Engine, label: str) -> Engine:
    """The texts in a or in b: as exact as both."""
    if a.expression is not None and b.expression is not None:
        return regular_machine(_grammar.re_alt([a.expression, b.expression]), label, limits(a))
    x, y = a.machine(), b.machine()
    if x is None or y is None:
        return Branches([a, b], label)
    return NativeMachine(_grammar.either_machine([x, y]), label, limits=limits(a))


def then(a: Engine, b: Engine, label: str) -> Engine:
    """A text of a followed by a text of b: as exact as both."""
    if a.expression is not None and b.expression is not None:
        return regular_machine(_grammar.re_cat(a.expression, b.expression), label, limits(a))
    for part in (a, b):
        part.start()  # an empty part would leave beginnings that cannot be finished
    x, y = a.machine(), b.machine()
    if x is None or y is None:
        return Chain([a, b], label)
    return NativeMachine(_grammar.then_machine([x, y]), label, limits=limits(a))


def repeat(a: Engine, lo: int, hi: int | None, label: str) -> Engine:
    """`lo` to `hi` texts of a, one after the other (None: any number): as exact as a."""
    require(lo >= 0 and (hi is None or lo <= hi), f"repeat({lo}, {hi}): the bounds must satisfy 0 <= lo <= hi")
    top = _grammar.INF if hi is None else hi
    if a.expression is not None:
        return regular_machine(_grammar.re_repeat(a.expression, lo, top), label, limits(a))
    a.start()
    machine = a.machine()
    if machine is None:
        return Repetition(a, lo, hi, label)
    return NativeMachine(_grammar.repeat_machine(machine, lo, top), label, limits=limits(a))


def complement(a: Engine, label: str) -> Engine:
    """All well-formed UTF-8 texts that are not in a; only where a is regular."""
    if a.expression is None:
        raise InvalidInput(
            f"~ {a.label}: the complement is only decidable for regular guides (regex, choices and what &, |, +, repeat "
            "and ~ make of them); for a schema write {'not': …} in it, for your own guide one that accepts the opposite"
        )
    return regular_machine(_grammar.re_both(_grammar.re_text(), _grammar.re_negate(a.expression)), label, limits(a))


def regular_machine(expression: Any, label: str, limits: Limits) -> NativeMachine:
    """The native machine of an expression of the native store."""
    with teaching():
        machine = _grammar.regular_machine(expression, limits.native(), label)
    return NativeMachine(machine, label, limits=limits, expression=expression)


def limits(engine: Engine) -> Limits:
    """The limits of an engine that has some, else the default ones."""
    found = getattr(engine, "limits", None)
    return found if isinstance(found, Limits) else Limits()


def embedded(engine: Engine) -> Any:
    """The native machine of an engine, for grammars and tags that hold it."""
    machine = engine.machine()
    if machine is None:
        raise InvalidInput(
            f"{engine.label} is written in Python, in whole or in part, so it cannot be inside a grammar or a tag; "
            "put it beside them with &, |, + and repeat"
        )
    return machine

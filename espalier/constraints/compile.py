"""Guides made of guides: both, either, then, repeat, complement."""

from __future__ import annotations

from typing import Any

from espalier import _grammar
from espalier.constraints.guide import Guide, MachineGuide, teaching
from espalier.constraints.regex import regular
from espalier.errors import InvalidInput, require


def both(a: Guide, b: Guide) -> Guide:
    """The guide of the texts in a and in b.

    Exact if both are regular. Otherwise the two run side by side: no text outside the intersection is accepted, but a
    beginning of one text of a and of another text of b may be allowed, so the guide says "over".

    >>> from espalier.constraints import regex
    >>> (regex("a*b*") & regex(".{3}")).matches(b"aab")
    True
    """
    x, y = expression(a), expression(b)
    if x is not None and y is not None:
        with teaching():
            return regular(_grammar.re_both(x, y), f"({name(a)}) & ({name(b)})", limits(a))
    return Product(a, b)


def either(a: Guide, b: Guide) -> Guide:
    """The guide of the texts in a or in b; exact if both are.

    >>> from espalier.constraints import regex
    >>> (regex("a+") | regex("b")).matches(b"b")
    True
    """
    label = f"({name(a)}) | ({name(b)})"
    x, y = expression(a), expression(b)
    if x is not None and y is not None:
        return regular(_grammar.re_alt([x, y]), label, limits(a))
    return MachineGuide(_grammar.either_machine([machine(a), machine(b)]), label, limits=limits(a))


def then(a: Guide, b: Guide) -> Guide:
    """The guide of a text of a followed by a text of b; exact if both are.

    >>> from espalier.constraints import regex
    >>> (regex("a+") + regex("b")).matches(b"aab")
    True
    """
    label = f"({name(a)}) + ({name(b)})"
    x, y = expression(a), expression(b)
    if x is not None and y is not None:
        return regular(_grammar.re_cat(x, y), label, limits(a))
    for part in (a, b):
        part.start()  # an empty part would leave beginnings that cannot be finished
    return MachineGuide(_grammar.then_machine([machine(a), machine(b)]), label, limits=limits(a))


def repeat(a: Guide, lo: int = 0, hi: int | None = None) -> Guide:
    """The guide of `lo` to `hi` texts of a, one after the other (None: any number); exact if a is.

    >>> from espalier.constraints import regex
    >>> regex("ab").repeat(2, 3).matches(b"abab")
    True
    """
    require(lo >= 0 and (hi is None or lo <= hi), f"repeat({lo}, {hi}): the bounds must satisfy 0 <= lo <= hi")
    label = f"({name(a)}){{{lo},{'' if hi is None else hi}}}"
    top = _grammar.INF if hi is None else hi
    x = expression(a)
    if x is not None:
        return regular(_grammar.re_repeat(x, lo, top), label, limits(a))
    a.start()
    return MachineGuide(_grammar.repeat_machine(machine(a), lo, top), label, limits=limits(a))


def complement(a: Guide) -> Guide:
    """The guide of all well-formed UTF-8 texts that are not in a; only for regular guides.

    >>> from espalier.constraints import regex
    >>> (~regex("a*")).matches(b"ab")
    True
    """
    x = expression(a)
    if x is None:
        raise InvalidInput(
            f"~ {name(a)}: the complement is only decidable for regular guides (regex, choices and what &, |, +, repeat "
            "and ~ make of them); for a schema write {'not': …} in it"
        )
    return regular(_grammar.re_both(_grammar.re_text(), _grammar.re_negate(x)), f"~({name(a)})", limits(a))


class Product(Guide):
    """Two guides side by side; a state is a pair of their states. As a part of another guide they go byte by byte in step,
    which is right but slower to mask."""

    def __init__(self, a: Guide, b: Guide) -> None:
        self.a, self.b = a, b

    @property
    def exactness(self) -> str:
        return "over"

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

    def native(self) -> Any:
        return self.a.native(), self.b.native()

    def __repr__(self) -> str:
        return f"<over guide ({name(self.a)}) & ({name(self.b)})>"


def expression(guide: Guide) -> int | None:
    """The regular expression of a guide that has one."""
    return guide.expression if isinstance(guide, MachineGuide) else None


def name(guide: Guide) -> str:
    return guide.name if isinstance(guide, MachineGuide) else repr(guide)


def limits(guide: Guide) -> Any:
    return guide.limits if isinstance(guide, MachineGuide) else None


def machine(guide: Guide) -> Any:
    """The native machine of a guide, for what composes machines."""
    if isinstance(guide, MachineGuide):
        return guide.native().machine
    if isinstance(guide, Product):
        return _grammar.both_machine(machine(guide.a), machine(guide.b))
    raise InvalidInput(
        f"{guide!r} was not made by this library's constructors; it can restrict a scorer but not be a part of a guide"
    )


__all__ = ["Product", "both", "complement", "either", "repeat", "then"]

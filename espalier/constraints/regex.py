"""Regular expressions as guides."""

from __future__ import annotations

from typing import Any

from espalier import _grammar
from espalier.constraints.guide import Limits, MachineGuide, teaching
from espalier.errors import InvalidInput, utf8


def regex(pattern: str, *, search: bool = False, limits: Limits | None = None) -> MachineGuide:
    r"""The guide of all texts that match the whole pattern (with `search=True`: that contain a match).

    The dialect is documented in docs/constraints.md: Unicode classes and properties, groups, counted repeats (a count
    costs nothing, 10,000 is fine), anchors, look-ahead and look-behind anywhere, and two extensions: `a&b` (both) and `~a`
    (any well-formed UTF-8 text that is not in a). With `search=True` it is ECMA-262 as JSON Schema's `pattern` uses it, where
    `&` and `~` are ordinary characters. Back-references, atomic groups and possessive repeats are refused.

    Raises `InvalidInput` for a pattern that cannot be read, naming the offset; `LimitExceeded` past a limit.
    Reference: J. Brzozowski, "Derivatives of regular expressions" (1964); look-around: A. Morihata, "Translation of
    regular expression with lookahead into finite state automaton" (2012).

    >>> code = regex(r"[A-Z]{2,10000}&~(.*SQL.*)")
    >>> code.matches(b"MYSQ"), code.matches(b"MYSQLX")
    (True, False)
    >>> regex(r"/\*(\*(?!/)|[^*])*\*/").matches(b"/* a * b */")
    True
    >>> regex(r"\bcat\b", search=True).matches(b"a cat!")
    True
    """
    if not isinstance(pattern, str):
        raise InvalidInput(f"regex({pattern!r}): a pattern is a str, such as regex(r'[0-9]+')")
    utf8(pattern, "the regex")
    given, limits = limits, limits or Limits()
    with teaching():
        expression = _grammar.re_parse(pattern, search, limits.native())
    return regular(expression, f"regex {pattern[:200]}", limits).by(regex, pattern, search=search, limits=given)


def regular(expression: Any, name: str, limits: Limits | None = None) -> MachineGuide:
    """The guide of an expression of the native store."""
    limits = limits or Limits()
    with teaching():
        machine = _grammar.regular_machine(expression, limits.native(), name)
    return MachineGuide(machine, name, limits=limits, expression=expression)

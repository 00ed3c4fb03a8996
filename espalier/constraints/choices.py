"""A choice among given texts."""

from __future__ import annotations

from collections.abc import Iterable

from espalier import _grammar
from espalier.constraints.guide import Limits, MachineGuide, teaching
from espalier.constraints.regex import regular
from espalier.errors import InvalidInput, utf8


def choices(texts: Iterable[str | bytes], *, limits: Limits | None = None) -> MachineGuide:
    """The guide of exactly these texts (10,000 are fine: they become one trie).

    Raises `InvalidInput` if there are none, or one that is no text; `LimitExceeded` past a limit.

    >>> colour = choices(["red", "green"])
    >>> colour.matches(b"green"), colour.advance(colour.start(), b"b"), colour.forced(colour.advance(colour.start(), b"r"))
    (True, None, b'ed')
    """
    if not isinstance(texts, Iterable):
        raise InvalidInput(f"choices({texts!r}): give a list of texts, such as choices(['yes', 'no'])")
    listed = [texts] if isinstance(texts, (str, bytes)) else list(texts)
    if not listed:
        raise InvalidInput("choices([]): there is nothing to choose from; give at least one text")
    for text in listed:
        if not isinstance(text, (str, bytes)):
            raise InvalidInput(f"choices: {text!r} is no text; write {str(text)!r} if its text is meant")
    words = [utf8(text, "choices: the text") if isinstance(text, str) else text for text in listed]
    shown = ", ".join(repr(text) for text in listed[:5])
    name, given, limits = f"choices [{shown}{', …' if len(listed) > 5 else ''}]", limits, limits or Limits()
    with teaching():
        expression = _grammar.re_literals(words, limits.native(), name)
    return regular(expression, name, limits).by(choices, listed, limits=given)

"""Words that a text must or must not contain."""

from __future__ import annotations

from collections.abc import Sequence

from espalier import _grammar
from espalier.constraints.guide import Limits, MachineGuide
from espalier.constraints.regex import regular
from espalier.errors import require


def contains(*phrases: str, limits: Limits | None = None) -> MachineGuide:
    """The guide of the texts in which every phrase occurs, in any order, overlapping or not.

    Guarantee: exact, over bytes: no tokenization of a phrase is missed. States are the phrases still to come and how far
    each has begun (Hokamp and Liu 2017, "Lexically constrained decoding", arXiv 1704.07138, keep the same in banks of
    beams). Nothing makes the model *want* to write a phrase: give it room to, or search with a beam.

    >>> guide = contains("tea", "eat")
    >>> guide.matches(b"I teat."), guide.matches(b"I eat.")
    (True, False)
    """
    _check(phrases)
    wanted = _grammar.re_text()
    for phrase in phrases:
        wanted = _grammar.re_both(wanted, _around(_grammar.re_literal(phrase.encode())))
    return regular(wanted, f"contains {', '.join(map(repr, phrases))}", limits).by(contains, *phrases, limits=limits)


def avoids(*phrases: str, limits: Limits | None = None) -> MachineGuide:
    """The guide of the texts in which no phrase occurs. Exact, over bytes, however a phrase may be split into tokens.

    >>> guide = avoids("http", "www")
    >>> guide.matches(b"ht tp"), guide.advance(guide.start(), b"see http")
    (True, None)
    """
    _check(phrases)
    there = _around(_grammar.re_alt([_grammar.re_literal(phrase.encode()) for phrase in phrases]))
    without = _grammar.re_both(_grammar.re_text(), _grammar.re_negate(there))
    return regular(without, f"avoids {', '.join(map(repr, phrases))}", limits).by(avoids, *phrases, limits=limits)


def _around(expression: int) -> int:
    anything = _grammar.re_negate(_grammar.re_alt([]))
    whole: int = _grammar.re_cat(anything, _grammar.re_cat(expression, anything))
    return whole


def _check(phrases: Sequence[str]) -> None:
    require(len(phrases) > 0, "give at least one phrase: contains('tea'), avoids('http', 'www')")
    require(all(phrases), "a phrase is empty: the empty text occurs everywhere")

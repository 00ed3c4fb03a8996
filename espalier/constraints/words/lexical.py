"""Phrases that a text must or must not contain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from espalier import _grammar
from espalier.constraints.compiled.watched import Timed, Watched
from espalier.constraints.guide import Guide, Limits, MachineGuide
from espalier.constraints.regex import regular
from espalier.constraints.words.phrases import Progress, Tracker, absent
from espalier.errors import InvalidInput, Unsatisfiable, require, utf8


class Lexical(Guide):
    """The guide that `lexical` and `contains` make: a regular one that also knows how far each text has got."""

    def __init__(self, inner: MachineGuide, tracker: Tracker, within: int | None = None, free: bool = True) -> None:
        self.inner = inner
        self._engine = Watched(inner, tracker) if within is None else Timed(inner, tracker, within, free)

    @property
    def engine(self) -> Watched:
        return self._engine

    @property
    def exactness(self) -> str:
        return self.engine.exactness

    def start(self) -> Any:
        return self.engine.start()

    def advance(self, state: Any, data: bytes) -> Any | None:
        return self.engine.advance(state, data)

    def accepts(self, state: Any) -> bool:
        return self.engine.accepts(state)

    def forced(self, state: Any) -> bytes:
        return self.engine.forced(state)

    def progress(self, state: Any) -> Progress:
        """Which clauses the text satisfies, of how many, and how many bytes of an unmet phrase it ends with."""
        found: Progress = self.engine.progress(state)
        return found

    def __repr__(self) -> str:
        return repr(self.inner)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lexical) and self.inner == other.inner

    def __hash__(self) -> int:
        return hash(self.inner)

    def __reduce__(self) -> Any:
        return self.inner.__reduce__()


def lexical(
    *clauses: str | Sequence[str],
    must_not: Sequence[str] = (),
    in_order: bool = False,
    whole_words: bool = False,
    within: int | None = None,
    limits: Limits | None = None,
) -> Lexical:
    """The guide of the texts that satisfy every clause: a phrase that appears, or one of several (inflected forms, say).

    A clause is a phrase or a sequence of alternatives, of which `absent("…")` is one that must not appear: a formula in
    conjunctive normal form. No phrase of `must_not` appears. With `in_order` each clause's phrase comes after the one before,
    else they come in any order and may overlap. With `whole_words` no letter, digit, underscore or character beyond ASCII
    stands right before or after a phrase. With `within` everything is there in the first `within` bytes (so also within as
    many tokens): a text that owes more bytes than are left is refused in time, so none ends without its phrases. With more
    than sixteen phrases that overlap, what is owed is counted one phrase after the other.

    Guarantee: exact, over bytes: no tokenization of a phrase is missed; "over" with `within`, more than five clauses and any
    phrase that must not appear: the shortest end may be one that is forbidden, and a text that counts on it can get stuck.
    Nothing makes the model *want* to write a phrase: say `within`, or search with a beam. `progress(state)` tells what is met
    (NeuroLogic's clauses: Lu et al. 2021, arXiv 2010.12884; banks of beams: Hokamp and Liu 2017, arXiv 1704.07138, Post and
    Vilar 2018, arXiv 1804.06609). Raises `Unsatisfiable` for clauses that contradict each other.

    >>> guide = lexical(["tea", "teas"], "cup", must_not=["coffee"], whole_words=True)
    >>> guide.matches(b"a cup of teas"), guide.matches(b"a cup of steam"), guide.matches(b"no coffee, a cup of tea")
    (True, False, False)
    >>> guide.progress(guide.advance(guide.start(), b"a cup of te"))
    Progress(clauses=frozenset({1}), of=2, begun=2)
    """
    ways = [[clause] if isinstance(clause, str) else list(clause) for clause in clauses]
    _check([phrase for way in ways for phrase in way] + list(must_not), "lexical('tea', ['cup', 'cups'])")
    require(all(ways), "a clause is an empty list, which nothing satisfies; give at least one phrase in each")
    inner = _guide(ways, must_not, in_order, whole_words, within, limits)
    inner.by(
        lexical,
        *clauses,
        must_not=list(must_not) or None,
        in_order=in_order,
        whole_words=whole_words,
        within=within,
        limits=limits,
    )
    return _lexical(inner, ways, must_not, in_order, whole_words, within)


def contains(*phrases: str, within: int | None = None, limits: Limits | None = None) -> Lexical:
    """The guide of the texts in which every phrase occurs, in any order, overlapping or not.

    Guarantee: exact, over bytes: no tokenization of a phrase is missed. Nothing makes the model *want* to write a phrase. With
    `within=n` all occur in the first n bytes: what is owed is written in time, so a budget of n tokens is always enough.

    >>> guide = contains("tea", "eat")
    >>> guide.matches(b"I teat."), guide.matches(b"I eat.")
    (True, False)
    >>> short = contains("tea", within=5)
    >>> short.advance(short.start(), b"I t") is not None, short.advance(short.start(), b"I a")
    (True, None)
    """
    _check(phrases, "contains('tea')")
    ways = [[phrase] for phrase in phrases]
    inner = _guide(ways, (), False, False, within, limits).by(contains, *phrases, within=within, limits=limits)
    return _lexical(inner, ways, (), False, False, within)


def avoids(*phrases: str, limits: Limits | None = None) -> MachineGuide:
    """The guide of the texts in which no phrase occurs. Exact, over bytes, however a phrase may be split into tokens.

    >>> guide = avoids("http", "www")
    >>> guide.matches(b"ht tp"), guide.advance(guide.start(), b"see http")
    (True, None)
    """
    _check(phrases, "avoids('http', 'www')")
    there = _cat(_ANY, _grammar.re_alt([_grammar.re_literal(phrase.encode()) for phrase in phrases]), _ANY)
    without = _grammar.re_both(_grammar.re_text(), _grammar.re_negate(there))
    return regular(without, f"avoids {', '.join(map(repr, phrases))}", limits).by(avoids, *phrases, limits=limits)


_EXACT = 5  # clauses up to which a deadline is part of the regular expression


def _lexical(
    inner: MachineGuide, ways: list[list[str]], must_not: Sequence[str], in_order: bool, words: bool, within: int | None
) -> Lexical:
    free = not must_not and not any(isinstance(way, absent) for clause in ways for way in clause)
    made = Lexical(inner, Tracker(ways, in_order, words), within if len(ways) > _EXACT and not in_order else None, free)
    try:
        made.start()
    except Unsatisfiable:
        for phrase, bad in ((phrase, bad) for clause in ways for phrase in clause for bad in must_not):
            if bad in phrase:
                raise Unsatisfiable(f"{inner!r}: {phrase!r} must appear and {bad!r}, which is in it, must not") from None
        raise Unsatisfiable(f"{inner!r}: no text at all satisfies this; drop a clause, or give more room with within") from None
    return made


_ANY = _grammar.re_negate(_grammar.re_alt([]))  # every byte string
_NO_LETTER = _grammar.re_bytes([(0, 47), (58, 64), (91, 94), (96, 96), (123, 127)])
_NOTHING = _grammar.re_literal(b"")
_BEFORE = _grammar.re_alt([_NOTHING, _grammar.re_cat(_ANY, _NO_LETTER)])
_AFTER = _grammar.re_alt([_NOTHING, _grammar.re_cat(_NO_LETTER, _ANY)])
_BETWEEN = _grammar.re_alt([_NO_LETTER, _grammar.re_cat(_grammar.re_cat(_NO_LETTER, _ANY), _NO_LETTER)])


def _guide(
    ways: list[list[str]], must_not: Sequence[str], in_order: bool, words: bool, within: int | None, limits: Limits | None
) -> MachineGuide:
    require(within is None or within >= 0, f"within={within}: a number of bytes, such as within=40")
    before, between, after = (_BEFORE, _BETWEEN, _AFTER) if words else (_ANY, _ANY, _ANY)

    room = (
        _ANY
        if within is None or (len(ways) > _EXACT and not in_order)
        else _grammar.re_repeat(_grammar.re_bytes([(0, 255)]), 0, within)
    )

    def there(phrase: str, room: Any = _ANY) -> Any:
        return _cat(_grammar.re_both(_cat(before, _grammar.re_literal(phrase.encode())), room), after)

    wanted = _ANY
    if in_order:
        alternatives = [way for clause in ways for way in clause if isinstance(way, absent)]
        if alternatives:
            raise InvalidInput(f"in_order: {alternatives[0]!r} has no place in an order; put it into must_not")
        links = [_grammar.re_alt([_grammar.re_literal(way.encode()) for way in clause]) for clause in ways]
        chain = [before, *(part for link in links for part in (link, between))][:-1]
        wanted = _cat(_grammar.re_both(_cat(*chain), room), after) if ways else _ANY
    else:
        for clause in ways:
            met = [_grammar.re_negate(there(way)) if isinstance(way, absent) else there(way, room) for way in clause]
            wanted = _grammar.re_both(wanted, _grammar.re_alt(met))
    for phrase in must_not:
        wanted = _grammar.re_both(wanted, _grammar.re_negate(there(phrase)))
    shown = ", ".join(repr(clause[0] if len(clause) == 1 else clause) for clause in ways)
    return regular(_grammar.re_both(_grammar.re_text(), wanted), f"contains {shown}", limits)


def _cat(*parts: Any) -> Any:
    whole = _NOTHING
    for part in parts:
        whole = _grammar.re_cat(whole, part)
    return whole


def _check(phrases: Sequence[str], example: str) -> None:
    require(len(phrases) > 0, f"give at least one phrase: {example}")
    for phrase in phrases:
        if not isinstance(phrase, str):
            raise InvalidInput(f"{phrase!r} is no phrase; phrases are texts: {example}")
        require(phrase != "", "a phrase is empty: the empty text occurs everywhere")
    for phrase in phrases:
        utf8(phrase, "the phrase")

"""Linear temporal logic on finite traces: read, progress, decide."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn

from espalier.errors import InvalidInput, LimitExceeded

Formula = tuple[Any, ...]
"""("true",), ("false",), ("name", s), ("not", ("name", s)), ("and", frozenset), ("or", frozenset), ("X", f), ("N", f),
("U", f, g), ("R", f, g)."""
TRUE: Formula = ("true",)
FALSE: Formula = ("false",)
_TOKEN = re.compile(r"\s*(->|<->|[()!&|]|[A-Za-z_][\w-]*)")
_UNARY, _STATES = ("X", "N", "F", "G"), 10_000


def read(text: str, names: Sequence[str]) -> Formula:
    """The formula of a text: names of segments, `!` `&` `|` `->` `<->`, and
    `X f` (there is a next segment, and f holds from it), `N f` (f holds from the next, if there is one), `F f` (at some time),
    `G f` (always), `f U g` (f until g, and g comes), `f W g` (or f for ever), `true`, `false`, `last`.

    >>> read("G(a -> X b)", ["a", "b"])[0]
    'R'
    """
    reader = _Reader(text, names)
    formula = reader.implication()
    if reader.at < len(reader.tokens):
        reader.fail(f"{reader.tokens[reader.at]!r} is one too many")
    return formula


class _Reader:
    def __init__(self, text: str, names: Sequence[str]) -> None:
        self.text, self.names, self.tokens, self.at, place = text, names, list[str](), 0, 0
        while text[place:].strip():
            found = _TOKEN.match(text, place)
            if found is None:
                raise InvalidInput(f"the formula {text!r} cannot be read at {text[place:][:20]!r}")
            self.tokens.append(found[1])
            place = found.end()

    def fail(self, message: str) -> NoReturn:
        raise InvalidInput(f"the formula {self.text!r}: {message}; write for example 'G(Action -> X Observation) & F Answer'")

    def _next(self, *wanted: str) -> str | None:
        if self.at < len(self.tokens) and self.tokens[self.at] in wanted:
            self.at += 1
            return self.tokens[self.at - 1]
        return None

    def implication(self) -> Formula:
        left = self.alternative()
        sign = self._next("->", "<->")
        if sign is None:
            return left
        right = self.implication()
        forward = either(negated(left), right)
        return forward if sign == "->" else both(forward, either(negated(right), left))

    def alternative(self) -> Formula:
        parts = [self.conjunction()]
        while self._next("|"):
            parts.append(self.conjunction())
        return either(*parts)

    def conjunction(self) -> Formula:
        parts = [self.binary()]
        while self._next("&"):
            parts.append(self.binary())
        return both(*parts)

    def binary(self) -> Formula:
        left = self.unary()
        sign = self._next("U", "W")
        if sign is None:
            return left
        right = self.binary()
        until: Formula = ("U", left, right)
        return until if sign == "U" else either(until, ("R", FALSE, left))

    def unary(self) -> Formula:
        if self._next("!"):
            return negated(self.unary())
        if sign := self._next(*_UNARY):
            inner = self.unary()
            return {"X": ("X", inner), "N": ("N", inner), "F": ("U", TRUE, inner), "G": ("R", FALSE, inner)}[sign]
        if self._next("("):
            inner = self.implication()
            if not self._next(")"):
                self.fail("a bracket is not closed")
            return inner
        if self.at >= len(self.tokens):
            self.fail("it ends too early")
        name, self.at = self.tokens[self.at], self.at + 1
        known = {"true": TRUE, "false": FALSE, "last": ("N", FALSE)}
        if name in known:
            return known[name]
        if name not in self.names:
            self.fail(f"there is no segment {name!r}; there are {', '.join(self.names)}")
        return ("name", name)


def both(*parts: Formula) -> Formula:
    """All of the formulas, simplified."""
    return _joined("and", "or", TRUE, FALSE, parts)


def either(*parts: Formula) -> Formula:
    """One of the formulas, simplified."""
    return _joined("or", "and", FALSE, TRUE, parts)


def _joined(kind: str, other: str, neutral: Formula, strong: Formula, parts: Sequence[Formula]) -> Formula:
    flat: set[Formula] = set()
    for part in parts:
        flat |= part[1] if part[0] == kind else {part}
    flat.discard(neutral)
    if strong in flat or any(negated(part) in flat for part in flat):
        return strong
    # what another part implies is left out: a & (a | b) is a
    flat = {part for part in flat if not (part[0] == other and any(one in part[1] for one in flat if one != part))}
    return neutral if not flat else next(iter(flat)) if len(flat) == 1 else (kind, frozenset(flat))


_DUALS = {"and": "or", "or": "and", "X": "N", "N": "X", "U": "R", "R": "U"}


@lru_cache(maxsize=1 << 16)
def negated(f: Formula) -> Formula:
    """The opposite of a formula, with `not` before names only."""
    if f in (TRUE, FALSE):
        return FALSE if f == TRUE else TRUE
    if f[0] == "name":
        return ("not", f)
    if f[0] == "not":
        return f[1]  # type: ignore[no-any-return]
    if f[0] in ("and", "or"):
        return (either if f[0] == "and" else both)(*map(negated, f[1]))
    return (_DUALS[f[0]], *map(negated, f[1:]))


@lru_cache(maxsize=1 << 16)
def progressed(f: Formula, name: str) -> Formula:
    """What the rest of a trace must satisfy if its first segment is `name` (Bacchus and Kabanza 1998)."""
    kind = f[0]
    if kind in ("true", "false"):
        return f
    if kind == "name":
        return TRUE if f[1] == name else FALSE
    if kind == "not":
        return negated(progressed(f[1], name))
    if kind in ("and", "or"):
        return (both if kind == "and" else either)(*(progressed(part, name) for part in f[1]))
    if kind == "X":
        return both(f[1], NONEMPTY)
    if kind == "N":
        return either(f[1], EMPTY)
    now = progressed(f[1], name), progressed(f[2], name)
    if kind == "U":
        return either(now[1], both(now[0], f, NONEMPTY))
    return both(now[1], either(now[0], f, EMPTY))


NONEMPTY: Formula = ("U", TRUE, TRUE)  # there is a segment
EMPTY: Formula = ("R", FALSE, FALSE)  # there is none


@lru_cache(maxsize=1 << 16)
def holds_at_end(f: Formula) -> bool:
    """Whether the trace may end here: what is left holds of no segments at all."""
    if f[0] in ("and", "or"):
        return (all if f[0] == "and" else any)(map(holds_at_end, f[1]))
    return f[0] in ("true", "not", "N", "R")


@dataclass(frozen=True)
class Automaton:
    """The states of a formula that can still be satisfied: `ways[state][name]` is the state after a segment."""

    ways: tuple[dict[str, int], ...]
    ends: tuple[bool, ...]


def automaton(f: Formula, names: Sequence[str]) -> Automaton | None:
    """The automaton of a formula over traces of these names, without states that reach no end; None if the first is one."""
    numbers, ways, at = {f: 0}, list[dict[str, int]](), 0
    formulas = [f]
    while at < len(formulas):
        ways.append({})
        for name in names:
            after = progressed(formulas[at], name)
            if after not in numbers:
                if len(numbers) >= _STATES:
                    raise LimitExceeded(f"the formula has more than {_STATES} situations; make it smaller")
                numbers[after] = len(formulas)
                formulas.append(after)
            ways[at][name] = numbers[after]
        at += 1
    ends = [holds_at_end(formula) for formula in formulas]
    alive = {at for at, end in enumerate(ends) if end}
    while more := {at for at in range(len(ways)) if at not in alive and alive & set(ways[at].values())}:
        alive |= more
    if 0 not in alive:
        return None
    kept = sorted(alive)
    place = {state: at for at, state in enumerate(kept)}
    trimmed = tuple({name: place[to] for name, to in ways[state].items() if to in alive} for state in kept)
    return Automaton(trimmed, tuple(ends[state] for state in kept))

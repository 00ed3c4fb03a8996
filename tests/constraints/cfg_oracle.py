"""The language of a small grammar by its definition: all texts up to a length, and all beginnings of texts up to it.

An expression is a string (a terminal), a tuple `("seq", ...)`, `("or", ...)`, `("rep", lo, hi, x)` or `("ref", name)`.
Sets of texts grow until nothing is added (the least fixed point), which needs no parsing algorithm.
"""

from __future__ import annotations

import itertools
import random
from typing import Any

Expression = Any
Grammar = dict[str, Expression]


def _cat(a: set[str], b: set[str], n: int) -> set[str]:
    return {x + y for x in a for y in b if len(x) + len(y) <= n}


def _texts(e: Expression, of: dict[str, set[str]], n: int, ignore: set[str]) -> set[str]:
    if isinstance(e, str):
        return _cat({e} if len(e) <= n else set(), ignore, n) if e else {""}
    kind = e[0]
    if kind == "ref":
        return of[e[1]]
    if kind == "or":
        return set().union(*(_texts(x, of, n, ignore) for x in e[1:]))
    if kind == "seq":
        made = {""}
        for x in e[1:]:
            made = _cat(made, _texts(x, of, n, ignore), n)
        return made
    _, lo, hi, x = e
    one = _texts(x, of, n, ignore)
    made = {""}
    for _ in range(lo):
        made = _cat(made, one, n)
    total, times = set(made), lo
    while hi is None or times < hi:
        made = _cat(made, one, n)
        times += 1
        if made <= total and hi is None:
            break
        if times > lo + n + 1 and hi is None:
            break
        total |= made
    return total


def language(g: Grammar, n: int, ignore: set[str] | None = None) -> dict[str, set[str]]:
    """Per rule, its texts of length n or less. `ignore` = all sequences of ignored texts up to length n."""
    of: dict[str, set[str]] = {name: set() for name in g}
    while True:
        new = {name: _texts(e, of, n, ignore or {""}) for name, e in g.items()}
        if new == of:
            return of
        of = new


def productive(g: Grammar) -> set[str]:
    """The rules that have any text at all."""

    def has(e: Expression, known: set[str]) -> bool:
        if isinstance(e, str):
            return True
        if e[0] == "ref":
            return e[1] in known
        if e[0] == "or":
            return any(has(x, known) for x in e[1:])
        if e[0] == "seq":
            return all(has(x, known) for x in e[1:])
        return e[1] == 0 or has(e[3], known)

    known: set[str] = set()
    while True:
        new = {name for name, e in g.items() if has(e, known)}
        if new == known:
            return known
        known = new


def _alive(e: Expression, known: set[str]) -> Expression | None:
    """The expression without what has no text; None if nothing is left."""
    if isinstance(e, str):
        return e
    if e[0] == "ref":
        return e if e[1] in known else None
    if e[0] == "rep":
        x = _alive(e[3], known)
        return ("rep", e[1], e[2], x) if x is not None else ("" if e[1] == 0 else None)
    parts = [_alive(x, known) for x in e[1:]]
    if e[0] == "or":
        parts = [x for x in parts if x is not None]
        return ("or", *parts) if parts else None
    return None if any(x is None for x in parts) else ("seq", *parts)


def _beginnings(e: Expression, full: dict[str, set[str]], of: dict[str, set[str]], n: int, ignore: set[str]) -> set[str]:
    if isinstance(e, str):
        if not e:
            return {""}
        begun = {e[:i] for i in range(len(e) + 1)}
        rest = {i[:k] for i in ignore for k in range(len(i) + 1)}
        return {x for x in begun if len(x) <= n} | _cat({e}, rest, n)
    if e[0] == "ref":
        return of[e[1]]
    if e[0] == "or":
        return set().union(*(_beginnings(x, full, of, n, ignore) for x in e[1:]))
    if e[0] == "seq":
        parts = list(e[1:])
    else:
        count = e[1] + n + 2 if e[2] is None else e[2]
        parts = [e[3]] * min(count, n + 2)
    made, before = {""}, {""}
    for x in parts:
        made |= _cat(before, _beginnings(x, full, of, n, ignore), n)
        before = _cat(before, _texts(x, full, n, ignore), n)
    return made


def beginnings(g: Grammar, start: str, n: int, ignore: set[str] | None = None) -> set[str]:
    """All texts up to length n that some text of the language begins with, however long that one is."""
    known = productive(g)
    g = {name: e for name, e in ((name, _alive(e, known)) for name, e in g.items()) if e is not None}
    full = language(g, n, ignore)
    of: dict[str, set[str]] = {name: set() for name in g}
    while True:
        new = {name: _beginnings(e, full, of, n, ignore or {""}) for name, e in g.items()}
        if new == of:
            return of[start]
        of = new


def write(e: Expression) -> str:
    """The expression in the library's EBNF."""
    if isinstance(e, str):
        return f'"{e}"'
    if e[0] == "ref":
        return str(e[1])
    if e[0] == "or":
        return "(" + " | ".join(write(x) for x in e[1:]) + ")"
    if e[0] == "seq":
        return "(" + " ".join(write(x) for x in e[1:]) + ")"
    return f"({write(e[3])}){{{e[1]},{'' if e[2] is None else e[2]}}}"


def text_of(g: Grammar) -> str:
    return "\n".join(f"{name} ::= {write(e)}" for name, e in g.items())


def strings(alphabet: str, n: int) -> list[str]:
    """All strings over an alphabet up to length n."""
    return ["".join(t) for k in range(n + 1) for t in itertools.product(alphabet, repeat=k)]


def random_expression(rng: random.Random, names: list[str], depth: int, alphabet: str) -> Expression:
    roll = rng.random()
    if depth == 0 or roll < 0.25:
        pick = rng.random()
        if pick < 0.45:
            return ("ref", rng.choice(names))
        return "".join(rng.choice(alphabet) for _ in range(rng.choice([0, 1, 1, 1, 2])))
    parts = [random_expression(rng, names, depth - 1, alphabet) for _ in range(rng.choice([1, 2, 2, 3]))]
    if roll < 0.55:
        return ("or", *parts)
    if roll < 0.85:
        return ("seq", *parts)
    lo, hi = rng.choice([(0, 1), (0, None), (1, None), (2, 2), (1, 3), (2, None), (0, 2)])
    return ("rep", lo, hi, parts[0])


def random_grammar(rng: random.Random, alphabet: str = "ab", depth: int = 3) -> Grammar:
    names = [f"r{i}" for i in range(rng.randint(1, 4))]
    return {name: random_expression(rng, names, depth, alphabet) for name in names}

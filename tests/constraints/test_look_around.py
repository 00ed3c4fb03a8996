"""Look-around anywhere in a pattern, against a matcher that tries every way on every text up to a length."""

import itertools
import random
import re
from collections.abc import Iterator
from typing import Any

import pytest

from espalier.constraints import Limits, cfg, json_schema, regex
from espalier.errors import InvalidInput, Unsatisfiable

TEXTS = ["".join(w) for n in range(7) for w in itertools.product("ab,", repeat=n)]
Node = tuple[Any, ...]


def node(rng: random.Random, depth: int, behind: bool = False) -> Node:
    """A random pattern; `behind`: as it may stand in a look-behind."""
    if depth == 0:
        return ("set", rng.choice(["a", "b", ",", "ab", "a,", "ab,"]))
    kind = rng.choice(["cat", "cat", "cat", "or", "repeat", "repeat", "set"] + ["ahead", "behind", "edge"] * (not behind))
    if kind == "set":
        return node(rng, 0)
    if kind == "edge":
        return ("edge", rng.choice(["^", "$", r"\b", "not b"]))
    if kind == "ahead":
        return ("ahead", rng.random() < 0.5, node(rng, depth - 1))
    if kind == "behind":
        begin = rng.choice([("cat", ("edge", rng.choice(["^", r"\b"])), node(rng, 0)), node(rng, 0), node(rng, 0)])
        return (
            "behind",
            rng.random() < 0.5,
            ("cat", begin, node(rng, rng.randrange(3), True)) if rng.random() < 0.7 else begin,
        )
    if kind == "repeat":
        return ("repeat", *rng.choice([(0, None), (1, None), (0, 1), (2, 2), (1, 3), (2, None)]), node(rng, depth - 1, behind))
    return (kind, node(rng, depth - 1, behind), node(rng, depth - 1, behind))


def spelled(n: Node) -> str:
    match n:
        case ("set", letters):
            return letters if len(letters) == 1 else f"[{letters}]"
        case ("cat", a, b):
            return spelled(a) + spelled(b)
        case ("or", a, b):
            return f"(?:{spelled(a)}|{spelled(b)})"
        case ("edge", e):
            return r"(?!\b)" if e == "not b" else e  # before 3.14 \B is wrong on the empty text
        case ("ahead", wanted, a):
            return f"(?{'=' if wanted else '!'}{spelled(a)})"
        case ("behind", wanted, a):
            return f"(?<{'=' if wanted else '!'}{spelled(a)})"
        case ("repeat", low, high, a):
            return f"(?:{spelled(a)}){{{low},{'' if high is None else high}}}"
    raise AssertionError(n)


def word(text: str, i: int) -> bool:
    return 0 <= i < len(text) and text[i] in "ab"


def ends(n: Node, text: str, i: int) -> set[int]:
    """Where a match that begins at i may end."""
    match n:
        case ("set", letters):
            return {i + 1} if i < len(text) and text[i] in letters else set()
        case ("cat", a, b):
            return {k for j in ends(a, text, i) for k in ends(b, text, j)}
        case ("or", a, b):
            return ends(a, text, i) | ends(b, text, i)
        case ("edge", e):
            edge = word(text, i - 1) != word(text, i)
            return {i} if {"^": i == 0, "$": i == len(text), r"\b": edge, "not b": not edge}[e] else set()
        case ("ahead", wanted, a):
            return {i} if bool(ends(a, text, i)) == wanted else set()
        case ("behind", wanted, a):
            return {i} if any(i in ends(a, text, j) for j in range(i + 1)) == wanted else set()
        case ("repeat", low, high, a):
            found, layer = set(), {i}
            for count in itertools.count():
                if count >= low:
                    found |= layer
                if count == high or (count > low + len(text) + 1 and high is None) or not layer:
                    return found
                layer = {k for j in layer for k in ends(a, text, j)}
    raise AssertionError(n)


def matches(pattern: str, texts: list[str], search: bool = False) -> set[str]:
    guide = regex(pattern, search=search)
    try:
        return {t for t in texts if guide.matches(t.encode())}
    except Unsatisfiable:
        return set()


def looking(rng: random.Random) -> Iterator[Node]:
    while True:
        n = node(rng, rng.randrange(2, 6))
        if any(mark in str(n) for mark in ("ahead", "behind", "edge")):
            yield n


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("search", [False, True])
def test_the_language_is_that_of_every_way_to_match(seed: int, search: bool) -> None:
    rng = random.Random(seed)
    texts = rng.sample(TEXTS, 150) + TEXTS[:121]
    for n in itertools.islice(looking(rng), 40):
        want = {t for t in texts if (any(ends(n, t, i) for i in range(len(t) + 1)) if search else len(t) in ends(n, t, 0))}
        assert matches(spelled(n), texts, search) == want, spelled(n)


@pytest.mark.parametrize("seed", range(3))
def test_the_matcher_of_this_test_is_pythons(seed: int) -> None:
    rng = random.Random(seed)
    for n in itertools.islice(looking(rng), 60):
        try:
            compiled = re.compile(spelled(n).replace("$", r"\Z"))
        except re.error:  # a look-behind of several lengths
            continue
        assert all(bool(compiled.fullmatch(t)) == (len(t) in ends(n, t, 0)) for t in TEXTS[:200]), spelled(n)


@pytest.mark.parametrize(
    ("pattern", "texts", "others"),
    [
        (r"/\*(\*(?!/)|[^*])*\*/", ["/**/", "/* a * b */", "/***/", "/*/*/"], ["/*", "/* */ */", "/**"]),
        ("<b>(?:(?!</b>).)*</b>", ["<b></b>", "<b>a<b></b>"], ["<b></b></b>", "<b>"]),
        ("(?:(?!--)[a-z-])+", ["a-b", "-a-"], ["a--b", ""]),
        ("(?:(?!</b>).){0,300}", ["x" * 300, "</b"], ["x" * 301, "</b>"]),
        (r"(?<!\d)\d{3}(?:(?<=0),\d{3})*", ["100,200", "123", "120,345"], ["123,456", "1000"]),
        (r"(?:(?<=^|,)[^,]*(?=,|$),?)+", ["a,b", ",,", ""], []),
        (r"(?:\b\w+\b[ .]?)+", ["one two.", "é a"], ["one  two", " a"]),
        (r"(?:(?<=ab|é)c|[abé])*", ["abc", "éc", "abéc", ""], ["ac", "c", "abcc"]),
        ("(?m)(?:(?!^---$).*\n)*---", ["a\n----\n---", "---"], ["---\n---"]),
        (r"(?:(?<!a{2})b|a)*", ["abab", "aa"], ["aab", "baab"]),
        (r"(^)?a(?:$){0,2}", ["a"], ["aa"]),
    ],
)
def test_what_people_write(pattern: str, texts: list[str], others: list[str]) -> None:
    guide = regex(pattern)
    assert [t for t in texts if not guide.matches(t.encode())] == []
    assert [t for t in others if guide.matches(t.encode())] == []
    again = guide.__reduce__()
    assert again[0](*again[1]).matches(texts[0].encode())


def test_schemas_and_grammars_read_them_too() -> None:
    slug = json_schema({"type": "string", "pattern": "^(?:(?!--)[a-z-])+$", "maxLength": 5})
    assert [slug.matches(t) for t in (b'"a-b"', rb'"a\u002db"', b'"a--b"', b'"a-b-c-"')] == [True, True, False, False]
    comment = cfg('start: C "x" C\nC: /\\/\\*(\\*(?!\\/)|[^*])*\\*\\//\n')
    assert [comment.matches(t) for t in (b"/* * */x/**/", b"/**/ */x/**/")] == [True, False]
    assert json_schema({"type": "string", "pattern": r"(?<!\w)cat"}).matches(b'"a cat"')
    with pytest.raises(InvalidInput, match="pattern"):  # when the guide is made, not in the middle of a text
        json_schema({"properties": {"a": {"pattern": "(?:(?<=a.{12})b|a)*"}}})


def test_they_stay_within_their_limits() -> None:
    from espalier.errors import LimitExceeded

    tight = Limits(compile_ms=200, states=20_000, memory_mb=20)
    guide = regex("(?:(?=(?:.{2}){1,30}c)a|b|c){0,300}", limits=tight)
    with pytest.raises(LimitExceeded):
        guide.advance(guide.start(), b"aab" * 60)
